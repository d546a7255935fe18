#!/bin/sh
# What comes out of `fsbox run`: the answer's bytes on stdout, Lambda's lines on stderr, the JSON document, the JSON log.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

MAX=6291456
UUID='[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
MS='[0-9]+\.[0-9]{2} ms'

echoes() { # FILE: comes back byte by byte
	cell_status 0 --event "@$1" --timeout 20 "$FUNCTIONS/echo.so"
	cmp "$1" "$T/out" >"$T/cmp" 2>&1 || fail "[$MODE] $(cat "$T/cmp")"
}

check_bytes() {
	chmod 755 "$TAP_DIR" "$T"
	: >"$T/0"
	printf x >"$T/1"
	printf '\n' >"$T/newline"
	printf 'a\000b\377\376\n\000' >"$T/binary"
	head -c 100000 /dev/urandom >"$T/random"
	head -c "$MAX" /dev/urandom >"$T/max"
	chmod 644 "$T"/0 "$T"/1 "$T"/newline "$T"/binary "$T"/random "$T"/max
	for name in 0 1 newline binary random max; do
		echoes "$T/$name"
	done
}
test_events_and_answers_of_any_bytes_and_sizes_go_through_unchanged() {
	watch_world
	each_mode check_bytes
	check_world
}

test_an_event_comes_from_stdin_and_text_from_the_command_line() {
	need_root
	watch_world
	printf 'from\000stdin' >"$T/in"
	status=0
	"$FSBOX" run --event - "$FUNCTIONS/echo.so" <"$T/in" >"$T/out" 2>"$T/err" || status=$?
	check_eq "$status" 0
	check cmp "$T/in" "$T/out"
	cell_status 0 "$FUNCTIONS/echo.so" --event=text
	check_eq "$(cat "$T/out")" text
	cell_status 0 "$FUNCTIONS/echo.so"
	check_eq "$(cat "$T/out")" '{}'
	cell_status 0 --event '' "$FUNCTIONS/echo.so"
	check_eq "$(wc -c <"$T/out")" 0
	check_world
}

test_an_answer_over_6_mb_is_an_error_of_the_function() {
	need_root
	watch_world
	cell_status 0 --timeout 20 "$FUNCTIONS/big_answer.so" --event "$MAX"
	check_eq "$(wc -c <"$T/out")" "$MAX"
	cell --timeout 20 "$FUNCTIONS/big_answer.so" --event $((MAX + 1))
	check_eq "$status" 1
	check_true '.errorType | length > 0'
	check_world
}

test_one_event_adds_no_newline_and_several_add_one_each() {
	need_root
	watch_world
	cell_status 0 "$FUNCTIONS/echo.so" --event a
	check_eq "$(od -An -c "$T/out" | tr -d ' ')" 'a'
	cell_status 0 "$FUNCTIONS/echo.so" --event a --event b
	check_eq "$(od -An -c "$T/out" | tr -d ' ')" 'a\nb\n'
	cell_status 0 "$FUNCTIONS/echo.so" --event '' --event ''
	check_eq "$(od -An -c "$T/out" | tr -d ' ')" '\n\n'
	check_world
}

test_on_a_terminal_the_answer_ends_with_a_newline() {
	need_root
	command -v script >/dev/null 2>&1 || skip "script(1) is missing: install bsdutils"
	script -qec "'$FSBOX' run '$FUNCTIONS/echo.so' --event abc 2>/dev/null" /dev/null </dev/null | tr -d '\r\004\010^D' >"$T/out"
	check_eq "$(od -An -c "$T/out" | tr -d ' ')" 'abc\n'
}

test_streamed_parts_arrive_in_their_order() {
	need_root
	watch_world
	cell_status 0 --timeout 10 "$FUNCTIONS/stream.so" --event 2000
	awk '$2 != NR - 1 { exit 1 }' "$T/out" || fail "parts are missing or out of order"
	check_eq "$(grep -c part "$T/out")" 2000
	check_world
}

test_options_may_stand_before_and_after_the_target_and_double_dash_ends_them() {
	need_root
	cell_status 0 --mem 64 "$FUNCTIONS/metadata.so" --name after
	check_ask .memoryMB 64
	check_ask .name after
	cell_status 0 -m 96 -t 5 -e A=1 "$FUNCTIONS/metadata.so"
	check_ask .memoryMB 96
	cell_status 0 --mem 64 -- "$FUNCTIONS/metadata.so"
	check_ask .memoryMB 64
	(cd "$FUNCTIONS" && cell_status 0 metadata.so) # a name without a directory
}

# ---- Lambda's lines ----

check_lines() {
	cell_status 0 --mem 256 "$FUNCTIONS/log_lines.so"
	check_eq "$(cat "$T/out")" logged
	memory=
	! has_limits || memory='Max Memory Used: [0-9]+ MB	'
	sed -n 1p "$T/err" | grep -qE "^START RequestId: $UUID Version: \\\$LATEST\$" || fail "[$MODE] $(sed -n 1p "$T/err")"
	check_eq "$(grep -cE "^END RequestId: $UUID\$" "$T/err")" 1
	tail -n 1 "$T/err" >"$T/report"
	check_matches "$T/report" "^REPORT RequestId: $UUID	Duration: $MS	Billed Duration: [0-9]+ ms	Memory Size: 256 MB	${memory}Init Duration: $MS	\$"
	# one request id in all three
	check_eq "$(grep -oE "^(START|END|REPORT) RequestId: $UUID" "$T/err" | sed 's/.*: //' | sort -u | wc -l)" 1
	# the function's output stands between START and END, each platform line on a line of its own
	sed '1d;$d' "$T/err" >"$T/middle"
	check_matches "$T/middle" '^to stdout$'
	check_matches "$T/middle" 'to stderr$'
	check_contains "$T/middle" 'no newline'
	check_eq "$(tail -n 1 "$T/middle" | cut -c1-4)" "END "
}
test_start_end_and_report_have_lambdas_form_and_surround_the_functions_output() {
	watch_world
	each_mode check_lines
	check_world
}

test_billed_duration_is_the_duration_rounded_up_to_milliseconds() {
	need_root
	for ms in 0 3 60; do
		cell_status 0 "$FUNCTIONS/remaining.so" --event "$ms"
		report=$(sed -n 's/^REPORT.*	Duration: \([0-9.]*\) ms	Billed Duration: \([0-9]*\) ms.*/\1 \2/p' "$T/err")
		echo "$report" | awk -v ms="$ms" '{
			up = int($1); if (up < $1) up++
			# two decimals may round 3.0004 down to 3.00
			exit !($1 >= ms && ($2 == up || ($2 == up + 1 && $1 == int($1))) && $2 >= 1) }' ||
			fail "Duration and Billed Duration of a call of $ms ms: $report"
	done
}

test_remaining_time_starts_at_the_timeout_and_falls() {
	need_root
	cell_status 0 --timeout 2 "$FUNCTIONS/remaining.so"
	check_between "$(cat "$T/out")" $((2000 - $(slow 300))) 2000 "remaining milliseconds at the start of a call with --timeout 2"
	cell_status 0 --timeout 2 "$FUNCTIONS/remaining.so" --event 500
	check_between "$(cat "$T/out")" $((1500 - $(slow 400))) 1500 "remaining milliseconds after 500 ms"
}

test_init_duration_is_that_of_the_init() {
	need_root
	cell_status 0 --env FSBOX_TEST_MS=120 "$FUNCTIONS/init_slow.so"
	init=$(sed -n 's/^REPORT.*	Init Duration: \([0-9.]*\) ms	$/\1/p' "$T/err")
	check_between "$init" 120 "$(slow 400)" "Init Duration of an init of 120 ms"
}

test_the_report_of_a_failure_the_function_reported_looks_like_that_of_a_success() {
	need_root
	cell_status 1 "$FUNCTIONS/fail.so"
	check_matches "$T/err" "^REPORT RequestId: $UUID	Duration: $MS	Billed Duration: [0-9]+ ms	Memory Size: 128 MB	Max Memory Used: [0-9]+ MB	Init Duration: $MS	\$"
}

test_the_report_of_a_timeout_and_of_a_crash_tell_their_status() {
	need_root
	cell_status 124 --timeout 0.1 "$FUNCTIONS/sleep_forever.so"
	check_matches "$T/err" "^REPORT RequestId: $UUID	Duration: $MS	Billed Duration: [0-9]+ ms	Memory Size: 128 MB	Max Memory Used: [0-9]+ MB	Init Duration: $MS	Status: timeout	\$"
	cell_status 139 "$FUNCTIONS/crash_segv.so"
	check_matches "$T/err" "^REPORT RequestId: $UUID	Duration: $MS	Billed Duration: [0-9]+ ms	Memory Size: 128 MB	Max Memory Used: [0-9]+ MB	Init Duration: $MS	Status: error	Error Type: Runtime.ExitError	\$"
}

test_all_output_is_in_the_log_before_end_even_a_lot_of_it() {
	need_root
	watch_world
	cell_status 0 --timeout 20 --mem 512 "$FUNCTIONS/log_flood.so" --event 8
	check_eq "$(grep -cx 'l\{127\}' "$T/err")" $((8388608 / 128))
	check_eq "$(tail -n 2 "$T/err" | cut -d' ' -f1 | tr '\n' ' ')" "END REPORT "
	check_world
}

# ---- The JSON document ----

check_json() {
	cell_status 1 --json "$FUNCTIONS/stream.so" --event 1 --event '"fail"' --event 2
	check_ask '.calls | length' 3
	check_ask '[.calls[].status] | join(" ")' "success failure success"
	check_ask 'keys | join(" ")' calls
	check_true '[.calls[] | .requestId | test("^[0-9a-f-]{36}$")] | all'
	check_true '.calls[1] | has("errorType") and has("errorMessage") and (has("response") | not) and (has("responseBase64") | not)'
	check_true '[.calls[].metrics | .durationMs >= 0 and .billedDurationMs >= .durationMs and .memorySizeMB == 128] | all'
	check_ask '[.calls[].metrics | has("initDurationMs")] | join(" ")' "true false false"
	if has_limits; then
		check_true '[.calls[].metrics.maxMemoryUsedMB | . > 0 and . <= 128] | all'
	else
		check_true '[.calls[].metrics | has("maxMemoryUsedMB") | not] | all'
	fi
	check_matches "$T/err" '^REPORT ' # the log is as without it
}
test_json_is_one_document_about_all_calls() {
	watch_world
	each_mode check_json
	check_world
}

test_json_shows_an_answer_as_json_where_it_is_json_and_as_base64_where_not() {
	need_root
	watch_world
	cell_status 0 --json "$FUNCTIONS/echo.so" --event '{"a":[1,2.5,"\u00e4"],"b":null}' --event 'no json' --event '' \
		--event '"text"' --event 17 --event '{"a":1}{"b":2}' --event 'nan'
	check_ask '.calls[0].response | tojson' '{"a":[1,2.5,"ä"],"b":null}'
	check_ask '.calls[1].responseBase64' "$(printf 'no json' | base64)"
	check_ask '.calls[2].responseBase64' ""
	check_ask '.calls[3].response' text
	check_ask '.calls[4].response' 17
	check_true '.calls[5] | has("responseBase64")'
	check_true '.calls[6] | has("responseBase64")'
	head -c 1000 /dev/urandom >"$T/random"
	cell_status 0 --json "$FUNCTIONS/echo.so" --event "@$T/random"
	ask '.calls[0].responseBase64' | base64 -d | cmp - "$T/random" || fail "base64"
	check_world
}

test_json_names_timeouts_crashes_and_memory() {
	need_root
	watch_world
	cell_status 124 --json --timeout 0.2 "$FUNCTIONS/sleep_forever.so"
	check_ask '.calls[0].status' timeout
	check_ask '.calls[0].errorType' Sandbox.Timedout
	check_true '.calls[0].metrics.durationMs >= 200'
	cell_status 139 --json "$FUNCTIONS/crash_segv.so"
	check_ask '.calls[0].status' failure
	check_ask '.calls[0].errorType' Runtime.ExitError
	cell_status 137 --json --mem 48 --timeout 20 "$FUNCTIONS/memory_bomb.so"
	check_ask '.calls[0].errorType' Runtime.OutOfMemory
	check_between "$(ask '.calls[0].metrics.maxMemoryUsedMB')" 46 48 "maxMemoryUsedMB of a bomb in 48 MB"
	check_world
}

test_json_stays_json_whatever_bytes_a_function_fails_with() {
	need_root
	cell_status 1 --json "$FUNCTIONS/fail.so" --event '"long"'
	check_true '.calls[0].errorMessage | length > 1000'
	cell_status 1 --json "$FUNCTIONS/fail.so" --event '"null"'
	check_true '.calls[0].errorType | length > 0'
}

# ---- The JSON log ----

check_json_log() {
	cell_status 0 --log-format json "$FUNCTIONS/log_lines.so" --event 1 --event 2
	jq -s . "$T/err" >"$T/log" || fail "a line of the log is no JSON"
	check_eq "$(jq -r '[.[] | .type // "line"] | join(" ")' "$T/log" | tr ' ' '\n' | grep -v line | tr '\n' ' ')" \
		"platform.start platform.report platform.start platform.report "
	check_ask '[.[] | select(.type == "platform.start") | .record.version] | unique | join(" ")' '$LATEST' "$T/log"
	check_true '[.[] | select(.type) | .time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z$")] | all' "$T/log"
	check_ask '[.[] | select(.message)] | length' 6 "$T/log"
	check_true '[.[] | select(.message) | .level == "INFO" and (.timestamp | test("Z$"))] | all' "$T/log"
	check_true '[.[] | select(.type == "platform.report") | .record | .status == "success" and .metrics.durationMs > 0 and .metrics.billedDurationMs >= 1 and .metrics.memorySizeMB == 128] | all' "$T/log"
	check_ask '[.[] | select(.type == "platform.report") | .record.metrics | has("initDurationMs")] | join(" ")' "true false" "$T/log"
	# every line of a call carries that call's id
	check_true '[.[] | select(.message) | .requestId] | unique | length == 2' "$T/log"
}
test_the_json_log_has_lambdas_records_and_wraps_other_lines() {
	watch_world
	each_mode check_json_log
	check_world
}

test_the_json_log_tells_of_failures() {
	need_root
	cell_status 124 --log-format json --timeout 0.1 "$FUNCTIONS/sleep_forever.so"
	jq -s . "$T/err" >"$T/log"
	check_ask '.[-1].record | "\(.status) \(.errorType)"' "timeout Sandbox.Timedout" "$T/log"
	cell_status 1 --log-format json "$FUNCTIONS/init_fail.so"
	jq -s . "$T/err" >"$T/log"
	check_ask '[.[] | select(.type == "platform.initReport") | .record.phase] | join(" ")' "init invoke" "$T/log"
	check_ask '[.[] | select(.type == "platform.initReport") | .record.status] | unique | join(" ")' error "$T/log"
}

# ---- The spec file ----

test_a_spec_file_says_what_options_say_and_the_command_line_wins() {
	need_root
	watch_world
	cat >"$T/cell.json" <<-END
		{"target": "$FUNCTIONS/metadata.so", "mem": 192, "timeout": 1.5, "name": "from-file",
		 "env": {"A": "1", "B": 2}, "event": {"x": [1, 2]}}
	END
	cell_status 0 --spec "$T/cell.json"
	check_ask .memoryMB 192
	check_ask .name from-file
	cell_status 0 --spec "$T/cell.json" --mem 64 --name cli
	check_ask .memoryMB 64
	check_ask .name cli
	cell_status 0 --spec "$T/cell.json" "$FUNCTIONS/echo.so"
	check_eq "$(cat "$T/out")" '{"x":[1,2]}'
	cell_status 0 --spec "$T/cell.json" --event own "$FUNCTIONS/echo.so"
	check_eq "$(cat "$T/out")" own
	cell_status 0 --spec "$T/cell.json" "$FUNCTIONS/env.so" --event B
	check_eq "$(cat "$T/out")" 2
	check_world
}

test_a_trace_is_json_with_every_stage() {
	need_root
	watch_world
	cell_status 0 --trace "$T/trace.json" "$FUNCTIONS/echo.so"
	for stage in slot plan cgroup netns rootfs pipes spawn budget handover arrival namespaces net ids mounts pivot session limits \
		caps filter exec init call release; do
		check_true "[.. | .name? // empty] | index(\"$stage\") != null" "$T/trace.json"
	done
	check_world
}

run_tests "$@"
