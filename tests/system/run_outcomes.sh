#!/bin/sh
# How calls end: exit statuses, error types and their texts, in each privilege mode. The tables are those of fsbox(1) and
# of Lambda.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

UUID='[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

# The document of a failed call on stdout, one line: TYPE and MESSAGE (an extended regular expression).
check_document() {
	check_eq "$(wc -l <"$T/out")" 1
	check_ask .errorType "$1"
	ask .errorMessage >"$T/message"
	grep -qE -e "^$2\$" "$T/message" || {
		show
		fail "[$MODE] the message is '$(cat "$T/message")', wanted $2"
	}
}

platform_says() { # TYPE TEXT: the document of what the platform found out
	check_document "$1" "RequestId: $UUID Error: $2"
}

check_success() {
	cell_status 0 "$FUNCTIONS/echo.so" --event '{"name":"ada"}'
	check_eq "$(cat "$T/out")" '{"name":"ada"}'
}
test_success_is_0() {
	watch_world
	each_mode check_success
	check_world
}

test_a_failure_that_the_function_reports_is_1_with_its_own_type_and_message() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/fail.so"
	check_ask .errorType Test.Failed
	check_ask .errorMessage "$(printf 'it was asked to: "fail"\nä')"
	check_true '.stackTrace == []'
	check_lacks "$T/err" "Status: error"
	check_world
}

test_a_status_without_words_is_1_with_a_type_all_the_same() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/result.so" --event 17
	check_true '.errorType | length > 0'
	check_true '.errorMessage | length > 0'
	cell_status 0 "$FUNCTIONS/result.so" --event 0
	check_eq "$(wc -c <"$T/out")" 0
	check_world
}

check_exit_0() {
	cell_status 1 "$FUNCTIONS/exit0.so"
	platform_says Runtime.ExitError 'Runtime exited without providing a reason'
	check_matches "$T/err" "^REPORT RequestId: .*Status: error	Error Type: Runtime.ExitError	\$"
}
test_exit_with_status_0_in_a_call_is_a_failure_without_a_reason() {
	watch_world
	each_mode check_exit_0
	check_world
}

check_exit_3() {
	cell_status 1 "$FUNCTIONS/exit_status.so" --event 3
	platform_says Runtime.ExitError 'Runtime exited with error: exit status 3'
	# what was printed without an end of line stands in the log before END all the same
	check_matches "$T/err" '^leaving$'
	check_contains "$T/err" 'Runtime exited with error: exit status 3'
}
test_exit_with_a_status_names_it() {
	watch_world
	each_mode check_exit_3
	check_world
}

test_exit_with_a_status_that_means_something_elsewhere_is_1() {
	watch_world
	need_root
	for code in 2 124 125 137 255; do
		cell_status 1 "$FUNCTIONS/exit_status.so" --event "$code"
		platform_says Runtime.ExitError "Runtime exited with error: exit status $code"
	done
	check_world
}

check_segv() {
	cell_status 139 "$FUNCTIONS/crash_segv.so"
	platform_says Runtime.ExitError 'Runtime exited with error: signal: segmentation fault'
}
test_a_wild_pointer_is_139_and_names_the_signal() {
	watch_world
	each_mode check_segv
	check_world
}

check_abort() {
	cell_status 134 "$FUNCTIONS/crash_abort.so"
	platform_says Runtime.ExitError 'Runtime exited with error: signal: aborted'
}
test_abort_is_134_and_names_the_signal() {
	watch_world
	each_mode check_abort
	check_world
}

check_timeout() {
	begin=$(now_ms)
	FSBOX_SLOWER=1
	cell_status 124 "$FUNCTIONS/sleep_forever.so" --timeout 0.25
	took=$(($(now_ms) - begin))
	platform_says Sandbox.Timedout 'Task timed out after 0.25 seconds'
	check_matches "$T/err" "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z $UUID Task timed out after 0\.25 seconds\$"
	check_matches "$T/err" "	Status: timeout	\$"
	duration=$(sed -n 's/^REPORT.*	Duration: \([0-9.]*\) ms.*/\1/p;s/^REPORT RequestId: [^	]*	Duration: \([0-9.]*\) ms.*/\1/p' "$T/err" | head -n 1)
	check_between "$duration" 250 "$(slow 900)" "duration of a call that timed out"
	check_between "$took" 240 "$(slow 2500)" "wall time of a call that timed out"
}
test_a_timeout_is_124_and_says_after_how_many_seconds() {
	watch_world
	each_mode check_timeout
	check_world
}

test_the_default_timeout_is_3_seconds() {
	watch_world
	need_root
	FSBOX_SLOWER=1
	cell_status 124 "$FUNCTIONS/sleep_forever.so"
	platform_says Sandbox.Timedout 'Task timed out after 3.00 seconds'
	check_world
}

check_out_of_memory() {
	has_limits || return 0
	cell_status 137 --mem 64 --timeout "$LONG" "$FUNCTIONS/memory_bomb.so"
	platform_says Runtime.OutOfMemory 'Runtime exited with error: signal: killed.*memory limit of 64 MB.*'
	check_matches "$T/err" "Max Memory Used: 6[2-4] MB"
}
test_the_memory_limit_is_137_and_is_not_called_a_crash() {
	watch_world
	each_mode check_out_of_memory
	check_world
}

check_child_out_of_memory() {
	has_limits || return 0
	cell_status 137 --mem 64 --timeout "$LONG" "$FUNCTIONS/memory_bomb.so" --event '"fork"'
	platform_says Runtime.OutOfMemory 'Runtime exited with error: signal: killed.*'
}
test_a_child_that_takes_all_memory_ends_the_cell_too() {
	watch_world
	each_mode check_child_out_of_memory
	check_world
}

test_init_that_returns_an_error_fails_twice_and_then_the_call() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/init_fail.so"
	check_document Runtime.InitError 'fsbox_init returned 3'
	check_eq "$(grep -c '^init gives up$' "$T/err")" 2
	check_eq "$(grep -c '^INIT_REPORT ' "$T/err")" 2
	check_matches "$T/err" "^INIT_REPORT Init Duration: [0-9]+\.[0-9]{2} ms	Phase: init	Status: error	Error Type: Runtime.InitError\$"
	check_matches "$T/err" "^INIT_REPORT Init Duration: [0-9]+\.[0-9]{2} ms	Phase: invoke	Status: error	Error Type: Runtime.InitError\$"
	check_lacks "$T/err" "REPORT RequestId: .*Init Duration"
	check_world
}

check_init_exit() {
	cell_status 1 "$FUNCTIONS/init_exit.so"
	platform_says Runtime.ExitError 'Runtime exited with error: exit status 5'
	check_eq "$(grep -c '^INIT_REPORT ' "$T/err")" 2
}
test_init_that_exits_names_its_status() {
	watch_world
	each_mode check_init_exit
	check_world
}

test_init_that_crashes_is_139() {
	watch_world
	need_root
	cell_status 139 "$FUNCTIONS/init_crash.so"
	platform_says Runtime.ExitError 'Runtime exited with error: signal: segmentation fault'
	check_world
}

# time-limit: 120 (the init phase has 10 seconds)
test_init_that_never_ends_has_10_seconds_and_then_the_timeout_of_the_call() {
	watch_world
	need_root
	cell_status 124 "$FUNCTIONS/init_sleep.so" --timeout 0.5
	platform_says Sandbox.Timedout 'Task timed out after 0.50 seconds'
	check_matches "$T/err" "^INIT_REPORT Init Duration: 1[0-9]{4}\.[0-9]{2} ms	Phase: init	Status: timeout"
	check_matches "$T/err" "^INIT_REPORT Init Duration: [4-9][0-9]{2}\.[0-9]{2} ms	Phase: invoke	Status: timeout"
	check_world
}

test_init_slower_than_the_timeout_but_within_10_seconds_is_fine() {
	watch_world
	need_root
	cell_status 0 "$FUNCTIONS/init_slow.so" --timeout 0.3 --env FSBOX_TEST_MS=700
	check_matches "$T/err" "Init Duration: (7|8|9|1[0-9])[0-9]{2}\.[0-9]{2} ms"
	check_world
}

test_a_library_without_handler_is_named_and_so_is_what_it_lacks() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/no_handler.so"
	check_document Runtime.HandlerNotFound ".*no_handler.so.*fsbox_handler.*"
	check_world
}

test_an_unresolved_symbol_is_named() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/unresolved.so"
	check_document Runtime.ImportModuleError ".*unresolved.so.*fsbox_test_nobody_defines_this.*"
	check_world
}

test_under_strict_the_refused_call_is_named_and_the_status_is_159() {
	watch_world
	need_root
	cell_status 159 --policy strict "$FUNCTIONS/after_strict.so" --event '"socket"'
	platform_says Runtime.ExitError "Runtime exited with error: signal: bad system call.*strict.*socket.*"
	check_contains "$T/err" "socket"
	check_world
}

# ---- Several events ----

check_warm() {
	cell_status 0 "$FUNCTIONS/counter.so" --event 1 --event 2 --event 3
	check_eq "$(cat "$T/out")" "$(printf '1\n2\n3')"
	check_eq "$(grep -c '^START ' "$T/err")" 3
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
	check_matches "$T/err" '^REPORT RequestId'
}
test_events_go_to_the_same_warm_cell_with_one_init() {
	watch_world
	each_mode check_warm
	check_world
}

test_after_a_crash_the_next_event_gets_a_new_cell_and_the_first_failure_is_the_status() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/exit_status.so" --event 7 --event 8
	check_eq "$(grep -c 'Init Duration' "$T/err")" 2
	check_eq "$(wc -l <"$T/out")" 2
	check_contains "$T/out" "exit status 7"
	check_contains "$T/out" "exit status 8"
	check_world
}

test_after_a_reported_failure_the_cell_goes_on() {
	watch_world
	need_root
	cell_status 1 "$FUNCTIONS/result.so" --event 0 --event 1 --event 0
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
	check_world
}

test_with_mixed_results_the_first_that_is_not_0_counts() {
	watch_world
	need_root
	cell_status 124 --timeout 0.3 "$FUNCTIONS/stream.so" --event 1 --event '"hang"' --event '"fail"' --event 1
	check_eq "$(grep -c '^REPORT ' "$T/err")" 4
	# the second is over, so the third had a cold start
	check_eq "$(grep -c 'Init Duration' "$T/err")" 2
	cell_status 1 --timeout 0.3 "$FUNCTIONS/stream.so" --event 1 --event '"fail"' --event '"hang"'
	check_world
}

test_each_result_has_its_own_request_id() {
	watch_world
	need_root
	cell_status 0 --json "$FUNCTIONS/echo.so" --event 1 --event 2 --event 3
	check_ask '[.calls[].requestId] | unique | length' 3
	check_world
}

# ---- A cell that does not keep to the contract ----

check_channel() { # STATUS TYPE EVENT of forge_frames
	cell_status "$1" --timeout 1 "$FUNCTIONS/forge_frames.so" --event "\"$3\""
	check_ask .errorType "$2"
}
test_frames_out_of_place_end_the_cell_with_a_protocol_error() {
	watch_world
	need_root
	for what in ready other-call huge host-type; do
		check_channel 1 Runtime.ProtocolError "$what"
	done
	check_channel 124 Sandbox.Timedout half
	check_world
}

test_a_second_end_of_the_same_call_is_no_answer_to_the_next() {
	watch_world
	need_root
	cell --timeout 0.5 "$FUNCTIONS/forge_frames.so" --event '"double-done"' --event '"double-done"'
	check_ne "$status" 0
	check_matches "$T/out" 'Runtime.ProtocolError|Sandbox.Timedout'
	check_world
}

test_a_forged_exit_record_is_not_believed() {
	watch_world
	need_root
	cell_status 1 --timeout 5 "$FUNCTIONS/forge_exit.so" --event '"exit"'
	platform_says Runtime.ExitError 'Runtime exited with error: exit status 7'
	cell_status 124 --timeout 0.3 "$FUNCTIONS/forge_exit.so"
	check_world
}

test_closing_the_channel_ends_the_call_by_its_exit_or_its_timeout() {
	watch_world
	need_root
	cell_status 124 --timeout 0.5 "$FUNCTIONS/close_channel.so" --event '"hang"'
	cell --timeout 2 "$FUNCTIONS/close_channel.so"
	check_ne "$status" 0
	check_ask '.errorType | startswith("Runtime.") or startswith("Sandbox.")' true
	check_world
}

test_flooding_the_channel_ends_the_call_and_not_the_host() {
	watch_world
	need_root
	cell_status 1 --timeout 5 "$FUNCTIONS/flood_channel.so"
	check_ask .errorType Runtime.ProtocolError
	cell_status 1 --timeout 10 --mem 1024 "$FUNCTIONS/flood_frames.so"
	check_ask .errorType Function.ResponseSizeTooLarge
	check_world
}

test_an_exit_record_comes_through_a_full_channel() {
	watch_world
	need_root
	cell_status 1 --timeout 5 "$FUNCTIONS/nonblock_channel.so"
	check_world
}

test_a_child_that_returns_from_the_handler_does_not_answer_twice() {
	watch_world
	need_root
	cell --timeout 5 "$FUNCTIONS/fork_return.so" --event 1 --event 2
	check [ "$(wc -l <"$T/out")" -eq 2 ]
	check_world
}

# ---- fsbox's own failures ----

test_what_fsbox_cannot_do_is_125() {
	watch_world
	need_root
	mkdir "$T/bin"
	cp "$FSBOX" "$T/bin/fsbox"
	check_status 125 "$T/bin/fsbox" run "$FUNCTIONS/echo.so"
	check_contains "$T/err" "no runtime"
	check_contains "$T/err" "hint:"
	check_world
}

test_what_cannot_be_executed_is_126_and_what_is_not_there_is_127() {
	need_root
	echo text >"$T/text.so"
	cell_status 126 "$T/text.so"
	cell_status 126 "$T"
	cell_status 127 "$T/nothing.so"
	cell_status 127 "$T/text.so/below.so"
}

run_tests "$@"
