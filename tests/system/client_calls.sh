#!/bin/sh
# fsbox deploy, invoke, logs, events, stats and top against a stand-in for fsboxd: what they send, descriptors and seals
# included, what they make of each answer, and how a signal ends them.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/fake_fsboxd.sh
. "$(dirname "$0")/../lib/fake_fsboxd.sh"

DEPLOYED='{"Deploy":[{"parameters":{"digest":"sha256:00112233","created":true}}]}'
USAGE='"usage":{"durationUs":120,"billedMs":1,"memoryMb":128,"maxMemoryMb":2}'

# ---- deploy ----

test_deploy_sends_what_was_said_and_nothing_more() {
	fake "$DEPLOYED"
	echo code >"$T/code" && chmod 600 "$T/code" && mkdir "$T/l1" "$T/l2"
	cd "$T"
	check_status 0 fsbox deploy --mem 512 f -e A=b --env C=d=e code --layer l1 --timeout 2.5 -e A=c --layer l2 --no-limits \
		--secret key=@k --policy p.json --provisioned 2 --reserved 3 --max-cells 4 --replace --net none
	check_eq "$(cat "$T/out")" "f sha256:00112233"
	check_asked 1 '.parameters.spec | tojson | fromjson | to_entries | sort_by(.key) | from_entries' \
		"{\"env\":{\"A\":\"c\",\"C\":\"d=e\"},\"layer\":[\"l1\",\"l2\"],\"mem\":512,\"net\":\"none\",\"no-limits\":true,\
\"policy\":\"$T/p.json\",\"secret\":[\"key=@$T/k\"],\"target\":\"code\",\"timeout\":2.5}"
	check_asked 1 '.parameters | del(.spec)' '{"name":"f","codeFd":0,"layerFds":[1,2],"provisioned":2,"reserved":3,"maxCells":4,"replace":true}'
	check_asked 1 '[.fds[] | .kind, .access, .path]' "[\"file\",\"r\",\"$T/code\",\"dir\",\"r\",\"$T/l1\",\"dir\",\"r\",\"$T/l2\"]"
	check_asked 1 '.fds[0].text' 'code'
}

test_deploy_of_little_is_little() {
	fake "$DEPLOYED"
	echo code >"$T/code"
	check_status 0 fsbox deploy --json f "$T/code"
	check_eq "$(cat "$T/out")" '{"digest":"sha256:00112233","created":true}'
	check_asked 1 .parameters "{\"name\":\"f\",\"spec\":{\"target\":\"$T/code\"},\"codeFd\":0}"
}

test_deploy_sends_the_root_of_an_image() {
	fake '{"Deploy":[{"parameters":{"digest":"7","created":false}}]}'
	mkdir "$T/image"
	check_status 0 fsbox deploy f --rootfs "$T/image"
	check_eq "$(cat "$T/out")" "f 7 (was there already)"
	check_asked 1 .parameters "{\"name\":\"f\",\"spec\":{\"rootfs\":\"$T/image\"},\"rootfsFd\":0}"
	check_asked 1 '.fds[0].path' "$T/image"
	check_status 1 fsbox deploy f --rootfs /dev/null
	check_said "--rootfs '/dev/null': Not a directory"
}

test_deploy_takes_a_spec_file_and_the_command_line_wins() {
	fake "$DEPLOYED"
	echo code >"$T/code"
	printf 'E=3\n# no\nF=g h\n' >"$T/env"
	printf '{"target":"%s","mem":256,"timeout":9,"env":{"A":"1","B":"2"},"no-limits":true,"layer":["/usr"]}' "$T/code" >"$T/spec"
	check_status 0 fsbox deploy f --spec "$T/spec" --mem 64 -e B=3 --env-file "$T/env" --layer /tmp
	check_asked 1 '.parameters.spec | to_entries | sort_by(.key) | from_entries' \
		"{\"env\":{\"A\":\"1\",\"B\":\"3\",\"E\":\"3\",\"F\":\"g h\"},\"layer\":[\"/usr\",\"/tmp\"],\"mem\":64,\"no-limits\":true,\
\"target\":\"$T/code\",\"timeout\":9}"
	check_asked 1 '[.fds[].path]' "[\"$T/code\",\"/usr\",\"/tmp\"]"
	echo '{"mem":1}' >"$T/bad"
	check_status 2 fsbox deploy f --spec "$T/bad"
	check_contains "$T/err" '$.mem: --mem: expected megabytes'
	echo '{"replace":true}' >"$T/bad"
	check_status 2 fsbox deploy f --spec "$T/bad"
	check_contains "$T/err" '$.replace: unknown key'
}

test_deploy_cannot_send_what_the_caller_cannot_read() {
	fake "$DEPLOYED"
	check_status 1 fsbox deploy f "$T/none"
	check_said "TARGET '$T/none': No such file or directory"
	check_status 1 fsbox deploy f /dev/null --layer "$T/none"
	check_said "--layer '$T/none': No such file or directory"
	check [ ! -s "$T/asked" ]
	[ "$(id -u)" = 0 ] || return 0
	chmod 755 "$TAP_DIR" "$T"
	echo code >"$T/secret" && chmod 600 "$T/secret" && chmod 666 "$T/s"
	setpriv --reuid 12345 --clear-groups test -x "$FSBOX" || return 0
	check_status 1 setpriv --reuid 12345 --clear-groups "$FSBOX" deploy f "$T/secret"
	check_said "TARGET '$T/secret': Permission denied"
}

test_deploy_tells_what_the_daemon_does_not_take() {
	fake '{"Deploy 1":[{"error":"org.fsbox.Sandbox.InvalidSpec","parameters":{"field":"spec.mem","reason":"too much","hint":"8 GiB"}}],
		"Deploy 2":[{"parameters":{"created":true}}]}'
	check_status 1 fsbox deploy f /dev/null
	check_said "spec.mem: too much" "8 GiB"
	check_status 1 fsbox deploy f /dev/null
	check_contains "$T/err" "it has no digest"
}

# ---- invoke ----

result() { # STATUS MEMBERS [KEYS-OF-THE-ANSWER]
	printf '{"parameters":{"kind":"result","invocation":"i-1","status":"%s",%s,%s}%s}' "$1" "$2" "$USAGE" "${3-}"
}

test_invoke_prints_the_answer_and_reports() {
	fake "{\"Invoke\":[$(result success '"startKind":"cold","cell":"0123456789ab","payload":{"text":"{\"a\": 1.0}"},
		"phases":{"queueUs":10,"buildUs":3000,"initUs":700,"callUs":120}')]}"
	check_status 0 fsbox invoke f
	check_eq "$(cat "$T/out")" '{"a": 1.0}'
	check_eq "$(wc -c <"$T/out")" 10
	printf 'REPORT RequestId: i-1\tDuration: 0.12 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 2 MB\t' >"$T/wanted"
	printf 'Init Duration: 0.70 ms\tStart: cold\tQueue Duration: 0.01 ms\tBuild Duration: 3.00 ms\t\n' >>"$T/wanted"
	check cmp "$T/err" "$T/wanted"
	check_asked 1 .parameters '{"function":"f","event":{"text":"{}"},"cancelOnClose":true,"answerFd":true}'
	check_status 0 fsbox invoke --event '["x"]' --invocation i-1 --deadline 2.5 --trace-id Root=1 --logs f
	check_asked 2 .parameters '{"function":"f","invocation":"i-1","event":{"text":"[\"x\"]"},"deadlineMs":2500,"traceId":"Root=1","cancelOnClose":true,"logs":true,"answerFd":true}'
	check_asked 2 .more false
}

test_invoke_has_a_json_document() {
	fake "{\"Invoke 1\":[$(result success '"startKind":"warm","cell":"0123456789ab","payload":{"text":"[1]"},"log":"out\n","phases":{"queueUs":10}')],
		\"Invoke 2\":[$(result failure '"errorType":"E","errorMessage":"m","payload":{"text":"{\"x\":1}"}')],
		\"Invoke 3\":[$(result success '"payload":{"base64":"/w=="}')]}"
	check_status 0 fsbox invoke --json --logs f
	check_eq "$(jq -S -c . "$T/out")" '{"cell":"0123456789ab","log":"out\n","metrics":{"billedDurationMs":1,"durationMs":0.12,"maxMemoryUsedMB":2,"memorySizeMB":128},"phases":{"queueUs":10},"requestId":"i-1","response":[1],"startKind":"warm","status":"success"}'
	check_eq "$(head -n 1 "$T/err")" out
	check_status 1 fsbox invoke --json f
	check_eq "$(jq -c '[.status, .errorType, .errorMessage, .errorDocument]' "$T/out")" '["failure","E","m",{"x":1}]'
	check_status 0 fsbox invoke --json f
	check_eq "$(jq -r .responseBase64 "$T/out")" "/w=="
}

try_payload() { # PAYLOAD WANTED-BYTES-AS-HEX [KEYS]
	rm -rf "${T:?}"/* && fake "{\"Invoke\":[$(result success "\"payload\":$1" "${3-}")]}"
	note "$1"
	check_status 0 fsbox invoke f
	check_eq "$(od -An -v -tx1 "$T/out" | tr -d ' \n')" "$2"
	exec 8>&-
}

test_answers_come_in_every_form() {
	try_payload '{"text":""}' ''
	try_payload '{"text":"\u00e4\\u0000"}' 'c3a45c7530303030' # an escaped backslash stays one
	try_payload '{"json":{"b":[1,null]}}' '7b2262223a5b312c6e756c6c5d7d'
	try_payload '{"base64":""}' ''
	try_payload '{"base64":"AA=="}' '00'
	try_payload '{"base64":"AP8="}' '00ff'
	try_payload '{"base64":"+/+A"}' 'fbff80'
	try_payload '{"fd":0}' '66616b65' ',"fd":"fake"'
	try_payload '{"fd":0}' '' ',"fd":""'
	try_payload '{"fd":1}' '78' ',"fds":2'
	try_payload '{"text":"a","later":{}}' '61'
}

try_bad_payload() { # PAYLOAD MESSAGE [KEYS]
	rm -rf "${T:?}"/* && fake "{\"Invoke\":[$(result success "\"payload\":$1" "${3-}")]}"
	note "$1"
	check_status 125 fsbox invoke f
	check_contains "$T/err" "fsboxd's answer is not understood: $2"
	check [ ! -s "$T/out" ]
	exec 8>&-
}

test_answers_in_no_form_are_refused() {
	try_bad_payload '{}' 'its payload is empty'
	try_bad_payload 'null' 'it has no payload'
	try_bad_payload '{"base64":"AA="}' 'its payload is not base64'
	try_bad_payload '{"base64":"A==="}' 'its payload is not base64'
	try_bad_payload '{"base64":"AB=="}' 'its payload is not base64'
	try_bad_payload '{"base64":"AA==AA=="}' 'its payload is not base64'
	try_bad_payload '{"base64":"A A="}' 'its payload is not base64'
	try_bad_payload '{"fd":0}' 'its payload is in a descriptor that did not come'
	try_bad_payload '{"fd":1}' 'its payload is in a descriptor that did not come' ',"fd":"x"'
	try_bad_payload '{"fd":-1}' 'its payload is in a descriptor that did not come' ',"fd":"x"'
	try_bad_payload '{"fd":0}' 'its descriptor is no file' ',"pipe":true'
}

try_status() { # EXIT STATUS MEMBERS OUT
	rm -rf "${T:?}"/* && fake "{\"Invoke\":[$(result "$2" "$3")]}"
	note "$2 $3"
	check_status "$1" fsbox invoke f
	check_eq "$(cat "$T/out")" "$4"
	check_contains "$T/err" "REPORT RequestId: i-1"
	exec 8>&-
}

test_ends_have_the_exit_statuses_of_fsbox_run() {
	try_status 1 failure '"errorType":"Oops","errorMessage":"no","payload":{"text":"{\"errorMessage\":\"no\",\"x\":1}"}' \
		'{"errorMessage":"no","x":1}'
	check_lacks "$T/err" "Status: error"
	try_status 1 failure '"errorType":"Oops","errorMessage":"n\"o"' '{"errorMessage":"n\"o","errorType":"Oops"}'
	try_status 1 failure '"errorType":"Runtime.ExitError","errorMessage":"Runtime exited with error: exit status 7"' \
		'{"errorMessage":"Runtime exited with error: exit status 7","errorType":"Runtime.ExitError"}'
	check_contains "$T/err" "Status: error	Error Type: Runtime.ExitError"
	try_status 139 failure '"errorType":"Runtime.ExitError","errorMessage":"RequestId: i-1 Error: Runtime exited with error: signal: segmentation fault"' \
		'{"errorMessage":"RequestId: i-1 Error: Runtime exited with error: signal: segmentation fault","errorType":"Runtime.ExitError"}'
	try_status 159 failure '"errorType":"Runtime.ExitError","errorMessage":"Runtime exited with error: signal: bad system call (x)"' \
		'{"errorMessage":"Runtime exited with error: signal: bad system call (x)","errorType":"Runtime.ExitError"}'
	try_status 137 failure '"errorType":"Runtime.OutOfMemory","errorMessage":"m"' \
		'{"errorMessage":"m","errorType":"Runtime.OutOfMemory"}'
	try_status 124 timeout '"errorType":"Sandbox.Timedout","errorMessage":"m"' \
		'{"errorMessage":"m","errorType":"Sandbox.Timedout"}'
	check_contains "$T/err" "Status: timeout"
	try_status 126 error '"errorType":"Runtime.InvalidEntrypoint","errorMessage":"m"' \
		'{"errorMessage":"m","errorType":"Runtime.InvalidEntrypoint"}'
	try_status 125 error '"errorType":"Sandbox.Failed","errorMessage":"m"' \
		'{"errorMessage":"m","errorType":"Sandbox.Failed"}'
}

try_refusal() { # EXIT ERROR PARAMETERS
	rm -rf "${T:?}"/* && fake "{\"Invoke\":[{\"error\":\"org.fsbox.Sandbox.$2\",\"parameters\":$3}]}"
	note "$2"
	check_status "$1" fsbox invoke f
	check [ ! -s "$T/out" ]
	check_contains "$T/err" "fsbox: "
	exec 8>&-
}

test_refused_calls_have_exit_statuses_too() {
	try_refusal 127 NotFound '{"what":"function","id":"f"}'
	try_refusal 125 NotFound '{"what":"lease","id":"f"}'
	try_refusal 124 DeadlineExceeded '{"phase":"queue","ranMs":3}'
	try_refusal 2 InvalidSpec '{"field":"event","reason":"too large","hint":""}'
	try_refusal 125 Busy '{"retryAfterMs":3,"queueDepth":3}'
	try_refusal 125 Cancelled '{}'
	try_refusal 125 TooLarge '{"maxBytes":131072}'
	try_refusal 125 SystemFailure '{"stage":"spawn","reason":"r","hint":""}'
}

test_events_that_are_no_text_go_as_sealed_memfds() {
	fake "{\"Invoke\":[$(result success '"payload":{"text":"ok"}')]}"
	printf 'a\377b' >"$T/binary"
	printf 'a\000b' >"$T/nul"
	head -c 98293 /dev/zero | tr '\000' x >"$T/most"
	head -c 98304 /dev/zero | tr '\000' x >"$T/large"
	head -c 100000 /dev/zero | tr '\000' '\001' >"$T/escapes" # six bytes each as JSON
	head -c 6291456 /dev/urandom >"$T/largest"
	for event in binary nul most large escapes largest; do
		check_status 0 fsbox invoke f --event "@$T/$event"
		check_eq "$(cat "$T/out")" ok
	done
	for n in 1 2 4 5 6; do
		check_asked "$n" .parameters.event '{"fd":0}'
		check_asked "$n" '[.fds[] | .kind, .access]' '["file","rw"]'
		# seal, shrink, grow, write; and, where the kernel has it, exec
		check_asked "$n" '.fds[0].seals % 16' 15
	done
	check_asked 1 '.fds[0].size' 3
	for pair in 1:binary 2:nul 4:large 5:escapes 6:largest; do
		check_asked "${pair%%:*}" '.fds[0].sha256' "$(sha256sum <"$T/${pair#*:}" | cut -d ' ' -f 1)"
	done
	# What comes with its quotes and key to 96 KiB is sent inline.
	check_asked 3 '.fds | length' 0
	check_asked 3 '.parameters.event.text | length' 98293
	printf x >>"$T/largest"
	check_status 2 fsbox invoke f --event "@$T/largest"
	check_contains "$T/err" "over 6291456 bytes"
}

test_events_come_from_files_and_stdin() {
	fake "{\"Invoke\":[$(result success '"payload":{"text":"ok"}')]}"
	printf '{"q":"\\u00e4 \\"\n"}' >"$T/event"
	check_status 0 fsbox invoke f --event "@$T/event"
	check_asked 1 '.parameters.event.text' "$(cat "$T/event")"
	fsbox invoke f --event - <"$T/event" >"$T/out" 2>"$T/err"
	check_asked 2 '.parameters.event.text' "$(cat "$T/event")"
	printf '' | fsbox invoke f --event - >"$T/out" 2>"$T/err"
	check_asked 3 '.parameters.event.text' ''
}

test_a_stream_is_printed_as_it_comes() {
	fake "{\"Invoke\":[
		{\"parameters\":{\"kind\":\"log\",\"invocation\":\"i-1\",\"log\":\"one\\n\"},\"continues\":true},
		{\"parameters\":{\"kind\":\"data\",\"invocation\":\"i-1\",\"payload\":{\"text\":\"he\"}},\"continues\":true},
		{\"parameters\":{\"kind\":\"newer\",\"invocation\":\"i-1\"},\"continues\":true},
		{\"parameters\":{\"kind\":\"log\",\"invocation\":\"i-1\",\"log\":\"two\"},\"continues\":true},
		{\"parameters\":{\"kind\":\"data\",\"invocation\":\"i-1\",\"payload\":{\"base64\":\"/2w=\"}},\"continues\":true},
		$(result success '"payload":{"text":"he?l"}')]}"
	check_status 0 fsbox invoke --stream f
	check_eq "$(od -An -tx1 "$T/out" | tr -d ' \n')" 6865ff6c
	check_eq "$(head -n 2 "$T/err")" "one
two"
	check_matches "$T/err" '^REPORT '
	check_asked 1 '[.more, .parameters.stream]' '[true,true]'
	check_status 0 fsbox invoke --stream --json f
	check_eq "$(jq -r .responseBase64 "$T/out")" "aGX/bA=="
}

test_a_stream_that_fails_says_so_after_what_came() {
	fake "{\"Invoke\":[
		{\"parameters\":{\"kind\":\"data\",\"invocation\":\"i-1\",\"payload\":{\"text\":\"half\"}},\"continues\":true},
		$(result timeout '"errorType":"Sandbox.Timedout","errorMessage":"m"')]}"
	check_status 124 fsbox invoke --stream f
	check_eq "$(cat "$T/out")" 'half
{"errorMessage":"m","errorType":"Sandbox.Timedout"}'
}

test_results_that_are_none_are_refused() {
	for answer in '{"parameters":{}}' '{"parameters":{"kind":"data"}}' '{"parameters":{"kind":"result","invocation":"i"}}' \
		'{"parameters":{"kind":"result","status":"success","payload":{"text":""}}}' \
		'{"parameters":{"kind":"result","invocation":"i","status":"odd","payload":{"text":""}}}' \
		'{"parameters":{"kind":"result","invocation":"i","status":"success","payload":{"text":""}},"continues":true}'; do
		rm -rf "${T:?}"/* && fake "{\"Invoke\":[$answer]}"
		note "$answer"
		check_status 125 fsbox invoke f
		check_contains "$T/err" "fsboxd's answer is not understood"
		exec 8>&-
	done
}

# ---- Signals ----

end_by() { # SIGNAL WORDS...: a client that waits, ended by a signal
	end_signal=$1
	shift
	"$FSBOX" "$@" >"$T/out" 2>"$T/err" &
	end_pid=$!
	wait_asked "\"method\": \"$METHOD\""
	[ -z "${AFTER-}" ] || wait_out "$AFTER"
	kill -"$end_signal" "$end_pid"
	status=0
	wait "$end_pid" || status=$?
	wait_asked "\"gone\": \"$METHOD\""
}

wait_out() { # TEXT: until it is on stdout
	out_left=100
	until grep -qF -e "$1" "$T/out"; do
		out_left=$((out_left - 1))
		[ "$out_left" -gt 0 ] || fail "never printed: $1"
		sleep 0.1
	done
}

test_a_signal_closes_the_connection_and_is_our_end() {
	fake '{"Invoke":[{"wait":true}]}'
	METHOD=Invoke
	end_by TERM invoke f
	check_eq "$status" 143
	check [ ! -s "$T/out" ]
	check [ ! -s "$T/err" ]
	check_asked 1 .parameters.cancelOnClose true
}

test_a_signal_ends_a_stream_and_what_came_is_printed() {
	fake '{"Subscribe":[{"parameters":{"event":{"cursor":1,"timeMs":0,"kind":"ready","function":"f"}},"continues":true},{"wait":true}]}'
	METHOD=Subscribe AFTER=ready
	end_by HUP events
	check_eq "$status" 129
}

# ---- logs, events ----

CHUNKS='[
	{"parameters":{"chunk":{"cursor":1,"timeMs":5,"function":"f","cell":"0123456789ab","stream":"stdout","text":"one ","dropped":0}},"continues":true},
	{"parameters":{"chunk":{"cursor":2,"timeMs":5,"function":"f","cell":"0123456789ab","stream":"stdout","text":"line","dropped":0}},"continues":true},
	{"parameters":{"chunk":{"cursor":3,"timeMs":5,"function":"f","cell":"0123456789ac","stream":"stderr","text":"n\u0000l\n","dropped":7}},"continues":true},
	{"parameters":{}}]'

test_logs_are_printed_as_they_were() {
	fake "{\"Logs\":$CHUNKS}"
	check_status 0 fsbox logs f
	check_eq "$(cat "$T/out")" 'one line
n�l'
	check_said "output is missing here (dropped: 7)"
	check_asked 1 .parameters '{"function":"f"}'
	check_status 0 fsbox logs -f --since 17 --json
	check_eq "$(jq -c .cursor "$T/out" | tr '\n' ' ')" '1 2 3 '
	check_asked 2 .parameters '{"since":17,"follow":true}'
	check_asked 2 .more true
}

test_logs_knows_cells_from_functions() {
	fake '{"Logs 1":[{"parameters":{}}],
		"Logs 2":[{"error":"org.fsbox.Sandbox.NotFound","parameters":{"what":"cell","id":"x"}}],"Logs 3":[{"parameters":{}}],
		"Logs":[{"error":"org.fsbox.Sandbox.NotFound","parameters":{"what":"cell","id":"x"}}]}'
	check_status 0 fsbox logs 0123456789ab
	check_asked 1 .parameters '{"cell":"0123456789ab"}'
	check_status 0 fsbox logs 0123456789ab
	check_asked 3 .parameters '{"function":"0123456789ab"}'
	check_status 1 fsbox logs 0123456789ab
	check_said "there is no cell 'x'"
}

test_a_stream_that_the_daemon_ends_says_where_to_go_on() {
	fake '{"Logs":[{"error":"org.fsbox.Sandbox.SlowConsumer","parameters":{"cursor":9}}],
		"Subscribe":[{"error":"org.fsbox.Sandbox.Lost","parameters":{"firstAvailable":5}}]}'
	check_status 1 fsbox logs -f
	check_contains "$T/err" "go on with --since 9"
	check_status 1 fsbox events --since 1
	check_contains "$T/err" "--since 5"
	check_asked 2 .parameters.since 1
}

test_a_reader_who_has_gone_ends_it_quietly() {
	chunk='{"parameters":{"chunk":{"cursor":1,"timeMs":5,"function":"f","cell":"c","stream":"stdout","text":"line\n","dropped":0}},"continues":true}'
	fake "{\"Logs\":[$chunk$(for _ in 1 2 3 4 5 6 7 8 9; do printf ',%s,{"raw":""}' "$chunk"; done),{\"wait\":true}]}"
	{
		fsbox logs -f 2>"$T/err" # with its limit of time: it must not wait for more
		echo $? >"$T/status"
	} | true
	check_eq "$(cat "$T/status")" 0
	check [ ! -s "$T/err" ]
}

test_events_are_lines() {
	fake '{"Subscribe":[
		{"parameters":{"event":{"cursor":1,"timeMs":1790000000123,"kind":"ready","function":"f","cell":"0123456789ab"}},"continues":true},
		{"parameters":{"event":{"cursor":2,"timeMs":1790000000124,"kind":"undeployed","function":"f\u001b","cell":null}},"continues":true},
		{"parameters":{"event":{"cursor":3,"timeMs":1790000000125,"kind":"called","function":"f","cell":"0123456789ab",
			"invocation":"i-1","status":"failure","detail":"a\nb"}}}]}'
	check_status 0 fsbox events
	check_eq "$(cat "$T/out")" '2026-09-21T14:13:20.123Z  ready       f  0123456789ab
2026-09-21T14:13:20.124Z  undeployed  f?
2026-09-21T14:13:20.125Z  called      f  0123456789ab  invocation=i-1  status=failure  detail=a?b'
	check_status 0 fsbox events --json --since 3
	check_eq "$(jq -c .cursor "$T/out" | tr '\n' ' ')" '1 2 3 '
	check_asked 2 .parameters '{"since":3}'
	check_asked 2 .more true
}

# ---- stats, top ----

test_stats_shows_whatever_there_is() {
	fake '{"Stats":[{"parameters":{"stats":{"cells":2,"latency":{"p50Us":35,"deep":{"x":[1,2]}},"rate":1.5,"name":"n",
		"perFunction":[{"name":"f","cells":1,"new":true},{"name":"a-long-one","cells":20}]}}}]}'
	check_status 0 fsbox stats f
	check_eq "$(cat "$T/out")" 'cells               2
latency.p50Us      35
latency.deep.x  [1,2]
rate              1.5
name                n

perFunction
name        cells  new
f               1  true
a-long-one     20  -'
	check_asked 1 .parameters '{"function":"f"}'
	check_status 0 fsbox stats --json
	check_eq "$(jq -c .latency.deep "$T/out")" '{"x":[1,2]}'
}

LOOKS='{"Capacity":[{"parameters":{"memoryFreeMb":872,"memoryBudgetMb":1000,"cells":1,"maxCells":9,"queued":0,"maxQueued":5}}],
	"Stats":[
	{"parameters":{"stats":{"functions":[{"name":"hello","cells":1,"idle":1,"busy":0,"queued":0,"calls":5,"failures":0,
			"coldStarts":1,"memoryMb":128,"p50Us":35,"p99Us":770}],
		"cells":[{"id":"0123456789ab","function":"hello","state":"idle","calls":5,"cpuUs":1000,"memoryMb":128,"usedMb":1}]}},
		"continues":true},
	{"pause":0.3},
	{"parameters":{"stats":{"functions":[{"name":"hello","cells":2,"idle":0,"busy":1,"queued":4,"calls":3005,"failures":7,
			"coldStarts":2,"memoryMb":128,"p50Us":35,"p99Us":770},{"name":"new"}],
		"cells":[{"id":"00000000000c","function":"hello","state":"init","calls":0,"cpuUs":0,"memoryMb":128},
			{"id":"0123456789ab","function":"hello","state":"busy","calls":3005,"cpuUs":201000,"memoryMb":128,"usedMb":3}]}},
		"continues":true},
	{"wait":true}]}'

test_top_without_a_terminal_is_one_picture() {
	fake "$LOOKS"
	check_status 0 fsbox top --interval 0.5
	check_eq "$(grep -c '^CELLS' "$T/out")" 1
	check_matches "$T/out" '^ +2 +9 +0 +1 +4 +3 +128 +1000 +[0-9.]+ +[0-9.]+ +3005 +7$'
	# Rates are there at the second look; what was not there at the first has none.
	check_matches "$T/out" '^hello +2 +1 +4 +3 +[0-9.]+ +[0-9.]+ +7 +2 +0\.04 +0\.77$'
	check_matches "$T/out" '^0123456789ab +hello +busy +3 +128 +[0-9.]+ +[0-9.]+ +3005$'
	check_matches "$T/out" '^00000000000c +hello +init +- +128 +- +- +0$'
	check_matches "$T/out" '^new( +-)+$'
	check_lacks "$T/out" "$(printf '\033')"
	# 3,000 calls and 0.2 s of CPU in about 0.3 s.
	check [ "$(awk '$1 == "0123456789ab" { print ($7 > 100 && $7 <= 10100 && $6 > 6 && $6 <= 70) }' "$T/out")" = 1 ]
	# The busiest first.
	check_eq "$(awk '/^CELL / { getline; print $1 }' "$T/out")" 0123456789ab
	check_eq "$(jq -c 'select(.method == "Stats") | [.parameters, .more]' "$T/asked")" '[{"everyMs":500},true]'
}

test_top_has_json() {
	fake "$LOOKS"
	check_status 0 fsbox top --json
	check_eq "$(jq -c '[.stats.functions[0].calls, .capacity.maxCells]' "$T/out")" '[3005,9]'
}

test_top_makes_do_with_little() {
	fake '{"Stats":[{"parameters":{"stats":{"functions":7,"cells":[[],{"id":3}]}}}],"Capacity":[{}]}'
	check_status 0 fsbox top
	check_matches "$T/out" '^ +2( +-)+$'
}

# On a terminal of our own: a picture, then what is typed, then everything is as it was.
on_terminal() { # TYPED WANTED-STATUS
	timeout 60 python3 - "$FSBOX" "$1" "$2" <<-'END'
		import os, pty, select, sys, termios, time
		fsbox, typed, wanted = sys.argv[1:]
		master, slave = pty.openpty()
		before = termios.tcgetattr(slave)
		pid = os.fork()
		if pid == 0:
		    os.setsid()
		    os.close(master)
		    for fd in 0, 1, 2:
		        os.dup2(slave, fd)
		    import fcntl
		    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
		    os.execv(fsbox, [fsbox, "top"])
		seen, end = b"", time.monotonic() + 40
		while b"0123456789ab" not in seen and time.monotonic() < end:
		    if select.select([master], [], [], 1)[0]:
		        seen += os.read(master, 65536)
		during = termios.tcgetattr(slave)
		os.write(master, typed.encode())
		_, status = os.waitpid(pid, 0)
		while select.select([master], [], [], 0.2)[0]:
		    seen += os.read(master, 65536)
		assert b"0123456789ab" in seen, seen
		assert during[3] != before[3], "it never left the line mode"
		assert seen.startswith(b"\x1b[?1049h\x1b[?25l"), seen
		assert seen.endswith(b"\x1b[?25h\x1b[?1049l"), seen
		assert termios.tcgetattr(slave) == before, "the terminal is not as it was"
		assert status == int(wanted), status
	END
}

test_top_gives_the_terminal_back() {
	fake "$LOOKS"
	check on_terminal q 0
}

test_top_gives_the_terminal_back_after_an_interrupt() {
	fake "$LOOKS"
	check on_terminal "$(printf '\003')" 2 # as wait(2) has it: by SIGINT
}

run_tests
