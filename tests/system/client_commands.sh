#!/bin/sh
# The commands that talk to fsboxd, against a stand-in: lists, words to cells, errors of each kind, answers that are none,
# and who is connected to. And `fsbox serve`, up to the program that it becomes.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh" # for its /run/fsbox, in which no daemon of this machine listens
# shellcheck source=tests/lib/fake_fsboxd.sh
. "$(dirname "$0")/../lib/fake_fsboxd.sh"

CELLS='{"List":[
	{"parameters":{"cell":{"id":"0123456789ab","function":"hello","owner":0,"state":"idle","startKind":"cold",
		"createdMs":1000,"leased":false,"calls":12,"memoryMb":128,"usedMb":3,"maxMemoryMb":30,"cpuUs":1250000,"processes":2,"later":[1]}},
		"continues":true},
	{"parameters":{"cell":{"id":"00000000000c","function":"a-long-name","owner":7,"state":"busy","startKind":"warm",
		"createdMs":1000,"leased":true,"calls":1,"cgroup":null}},"continues":true,"unknown":"member"},
	{"parameters":{}}]}'

test_ps_has_a_line_for_each_cell() {
	fake "$CELLS"
	check_status 0 fsbox ps
	cat >"$T/wanted" <<-END
		CELL          FUNCTION     STATE          START  AGE  CALLS  MB  MAX MB  OF MB  CPU S  PROCESSES
		0123456789ab  hello        idle           cold   AGE     12   3      30    128   1.25          2
		00000000000c  a-long-name  busy (leased)  warm   AGE      1   -       -      -      -          -
	END
	sed 's/ [0-9]*d /dAGE /; s/ *dAGE */   AGE     /' "$T/out" >"$T/aged"
	check_eq "$(tr -s ' ' <"$T/aged")" "$(tr -s ' ' <"$T/wanted")"
	# Columns are aligned: FUNCTION and PROCESSES begin and end in one place.
	check_eq "$(awk '{ print index($0, $2) }' "$T/out" | sort -u)" 15
	check_eq "$(awk '{ print length }' "$T/out" | sort -u | wc -l)" 1
	check_asked 1 .more true
	check_asked 1 .parameters '{}'
}

test_ps_gives_json_as_it_came() {
	fake "$CELLS"
	check_status 0 fsbox ps --json hello
	check_eq "$(jq -c '[.cells | length, .[0].later, .[1].owner]' "$T/out")" '[2,[1],7]'
	check_asked 1 .parameters.function hello
}

test_a_list_of_nothing_is_empty() {
	fake '{"List":[{"parameters":{"cell":null}}],"Functions":[{"parameters":{}}]}'
	check_status 0 fsbox ps --json
	check_eq "$(cat "$T/out")" '{"cells":[]}'
	check_status 0 fsbox functions
	check_eq "$(wc -l <"$T/out")" 1
	check_status 0 fsbox functions --json
	check_eq "$(cat "$T/out")" '{"functions":[]}'
}

test_functions_are_listed() {
	fake '{"Functions":[{"parameters":{"function":{"name":"hello","owner":0,"digest":"sha256:0011223344556677","spec":{},
		"runtime":"python","provisioned":1,"reserved":2,"maxCells":3,"cells":4,"idle":5,"busy":6,"queued":7,"calls":8,
		"failures":9}}}]}'
	check_status 0 fsbox functions hello
	check_eq "$(sed -n 2p "$T/out" | tr -s ' ')" "hello python 4 5 6 7 8 9 1 2 3 001122334455"
	check_asked 1 .parameters.name hello
}

test_control_bytes_of_names_do_not_reach_the_terminal() {
	fake '{"List":[{"parameters":{"cell":{"id":"0123456789ab","function":"a\u001b[2Jb","state":"idle"}}}]}'
	check_status 0 fsbox ps
	check_contains "$T/out" 'a?[2Jb'
}

test_inspect_prints_all_that_came() {
	fake '{"Inspect":[{"parameters":{"cell":{"id":"0123456789ab","pid":17,"nobody":{"knows":true}}}}]}'
	check_status 0 fsbox inspect 0123456789ab 0123456789ab
	check_eq "$(wc -l <"$T/out")" 2
	check_eq "$(head -n 1 "$T/out" | jq -c '[.pid, .nobody.knows]')" '[17,true]'
	check_asked 2 .parameters.cell 0123456789ab
}

test_words_go_to_each_cell() {
	fake '{"Pause":[{"parameters":{}}],"Resume":[{}],"Kill":[{"parameters":{"existed":true}}],
		"Remove":[{"parameters":{"existed":true}}],"Undeploy":[{"parameters":{"existed":true}}]}'
	check_status 0 fsbox pause a b
	check_status 0 fsbox resume a
	check_status 0 fsbox kill a
	check_status 0 fsbox rm a
	check_status 0 fsbox undeploy f
	check [ ! -s "$T/out" ]
	check [ ! -s "$T/err" ]
	check_eq "$(jq -c '[.method, .parameters, .more]' "$T/asked")" '["Pause",{"cell":"a"},false]
["Pause",{"cell":"b"},false]
["Resume",{"cell":"a"},false]
["Kill",{"cell":"a"},false]
["Remove",{"cell":"a"},false]
["Undeploy",{"name":"f"},false]'
	check_status 0 fsbox kill --json a b
	check_eq "$(cat "$T/out")" '{"existed":true}
{"existed":true}'
}

test_scale_names_only_what_is_said() {
	fake '{"Scale 3":[{"parameters":{"provisioned":1}}],"Scale":[{"parameters":{"provisioned":2,"reserved":0,"maxCells":9}}]}'
	check_status 0 fsbox scale f --provisioned 2 --max-cells 9
	check_eq "$(cat "$T/out")" "f: provisioned 2, reserved 0, max-cells 9"
	check_status 0 fsbox scale --json f
	check_eq "$(cat "$T/out")" '{"provisioned":2,"reserved":0,"maxCells":9}'
	check_asked 1 .parameters '{"name":"f","provisioned":2,"maxCells":9}'
	check_asked 2 .parameters '{"name":"f"}'
	check_status 1 fsbox scale f --reserved 0
	check_contains "$T/err" 'it lacks a number'
	check_status 2 fsbox scale f --reserved much
	check_status 2 fsbox scale f g
}

test_what_is_gone_already_is_said_and_no_failure() {
	fake '{"Kill":[{"parameters":{"existed":false}}],"Undeploy":[{"parameters":{"existed":false}}]}'
	check_status 0 fsbox kill a
	check_said "there was no cell 'a'"
	check_status 0 fsbox undeploy f
	check_said "there was no function 'f'"
}

test_the_first_failure_ends_it() {
	fake '{"Pause 1":[{"parameters":{}}],
		"Pause 2":[{"error":"org.fsbox.Sandbox.NotFound","parameters":{"what":"cell","id":"b"}}],"Pause":[{}]}'
	check_status 1 fsbox pause a b c
	check_said "there is no cell 'b'"
	check_eq "$(wc -l <"$T/asked")" 2
}

try_error() { # ERROR PARAMETERS MESSAGE [HINT]
	rm -rf "${T:?}"/* && fake "{\"Pause\":[{\"error\":\"$1\",\"parameters\":$2}]}"
	note "$1"
	check_status 1 fsbox pause a
	check_said "$3" "${4-}"
	exec 8>&-
}

test_each_error_has_its_message_and_status_1() {
	o=org.fsbox.Sandbox v=org.varlink.service
	one="fsbox and fsboxd should be of one version; fsbox is $(fsbox --version | cut -d ' ' -f 2)"
	try_error "$o.NotFound" '{"what":"function","id":"f"}' "there is no function 'f'"
	try_error "$o.AlreadyExists" '{"id":"f","sameSpec":false}' "'f' is there already, and is another one" \
		"choose another name, or replace it: fsbox deploy --replace"
	try_error "$o.AlreadyExists" '{"id":"f","sameSpec":true}' "'f' is there already, and is the same"
	try_error "$o.InvalidSpec" '{"field":"spec.mem","reason":"too little","hint":"give more"}' "spec.mem: too little" "give more"
	try_error "$o.Denied" '{"reason":"not yours","rule":"uid 7"}' "not yours (rule 'uid 7')"
	try_error "$o.Busy" '{"retryAfterMs":120,"queueDepth":9}' "busy: 9 calls are waiting already" "try again in 120 ms"
	try_error "$o.CapacityExhausted" '{"resource":"memory","wanted":512,"free":3}' "not enough memory: 512 wanted, 3 free"
	try_error "$o.DeadlineExceeded" '{"phase":"queue","ranMs":1500}' \
		"the deadline has passed in the phase 'queue', after 1500 ms"
	try_error "$o.Unsupported" '{"feature":"snapshots","reason":"no CRIU"}' "snapshots is not supported: no CRIU"
	try_error "$o.Cancelled" '{}' "the call was cancelled"
	try_error "$o.Lost" '{"firstAvailable":41}' "what was asked for is not kept any more" "the first that is there: --since 41"
	try_error "$o.SlowConsumer" '{"cursor":42}' "fsboxd ended the stream, because it was read too slowly" \
		"go on with --since 42"
	try_error "$o.SystemFailure" '{"stage":"cgroup","reason":"no memory","hint":"look"}' "no memory (stage cgroup)" look
	try_error "$o.InternalError" '{"incident":"17"}' "fsboxd met a fault of its own: incident 17"
	try_error "$v.InterfaceNotFound" '{"interface":"org.fsbox.Sandbox"}' \
		"what listens there does not know org.fsbox.Sandbox: it is no fsboxd"
	try_error "$v.MethodNotFound" '{"method":"org.fsbox.Sandbox.Pause"}' \
		"this fsboxd does not have the method org.fsbox.Sandbox.Pause" "$one"
	try_error "$v.MethodNotImplemented" '{"method":"x.Y"}' "this fsboxd does not have the method x.Y" "$one"
	try_error "$v.InvalidParameter" '{"parameter":"cell"}' "cell: fsboxd does not take this parameter"
	try_error "$v.PermissionDenied" '{}' "fsboxd does not permit this"
	try_error "$v.ExpectedMore" '{}' "fsboxd expects to be asked for more than one answer"
	try_error org.example.Odd '{}' "fsboxd answered with an error unknown here: org.example.Odd" "$one"
	# Parameters that are missing or of another type are no reason to fail otherwise.
	try_error "$o.NotFound" '{"what":3}' "there is no such thing as '?'"
	try_error "$o.SystemFailure" null "fsboxd or its host failed"
	try_error "$o.Busy" '{"retryAfterMs":"soon"}' "busy: 0 calls are waiting already" "try again in 0 ms"
}

try_malformed() { # ANSWER WHAT
	rm -rf "${T:?}"/* && fake "{\"Inspect\":[$1],\"List\":[$1]}"
	note "$1"
	check_status 1 fsbox inspect 0123456789ab
	check_matches "$T/err" "^fsbox: fsboxd's answer is not understood: $2"
	check_eq "$(wc -l <"$T/err")" 2
	check [ ! -s "$T/out" ]
	exec 8>&-
}

test_answers_that_are_none_are_refused() {
	try_malformed '{"raw64":"eyJwYXJhbWV0ZXJzIjoA"}' 'not JSON: the text ends too early' # {"parameters":
	try_malformed '{"raw64":"AA=="}' 'not JSON'                                          # nothing
	try_malformed '{"raw64":"W10A"}' 'it is not an object'                               # []
	try_malformed '{"raw64":"eyJhIjoi/yJ9AA=="}' 'not JSON'                              # {"a":"\xff"}
	try_malformed '{"raw64":"eyJhIjoxLCJhIjoyfQA="}' 'duplicate key'                     # {"a":1,"a":2}
	try_malformed '{"parameters":[1]}' 'its parameters are not an object'
	try_malformed '{"error":7}' 'its error is not a text'
	try_malformed '{"parameters":{}}' 'it has no cell'
	try_malformed '{"parameters":{"cell":[]}}' 'it has no cell'
	try_malformed '{"parameters":{"cell":{}},"continues":true}' 'more answers than asked for'
	try_malformed '{"parameters":{"cell":{}},"fds":17}' 'too many descriptors'
}

try_closed() { # ANSWER
	rm -rf "${T:?}"/* && fake "{\"List\":[{\"parameters\":{\"cell\":{\"id\":\"a\"}},\"continues\":true},$1]}"
	note "$1"
	check_status 1 fsbox ps
	check_said "fsboxd closed the connection before it answered"
	exec 8>&-
}

test_a_server_that_goes_away_is_told_of() {
	try_closed '{"close":true}'
	try_closed '{"parameters":{"cell":{"id":"b"}},"half":true}'
	try_closed '{"raw":"{","close":true}'
}

test_answers_have_a_bound() {
	fake '{"List":[{"flood":17000000},{"wait":true}]}'
	check_status 1 fsbox ps
	check_said "fsboxd's answer is over 16777216 bytes"
}

test_how_messages_are_divided_does_not_matter() {
	cell='{"parameters":{"cell":{"id":"0123456789ab","function":"f"}}'
	fake "{\"List\":[$cell,\"continues\":true,\"split\":true},
		{\"glued\":[$cell,\"continues\":true},$cell,\"continues\":true},$cell,\"continues\":true}]},$cell}]}"
	check_status 0 fsbox ps --json
	check_eq "$(jq -c '[.cells[].id]' "$T/out")" \
		'["0123456789ab","0123456789ab","0123456789ab","0123456789ab","0123456789ab"]'
}

test_an_answer_of_many_megabytes_is_taken() {
	fake "$(python3 -c 'import json; print(json.dumps({"Inspect": [{"parameters": {"cell": {"x": "y" * 15000000}}}]}))')"
	check_status 0 fsbox inspect 0123456789ab
	check_eq "$(wc -c <"$T/out")" 15000009
}

test_bad_usage_is_2_and_asks_nobody() {
	fake '{}'
	for words in "ps a b" "inspect" "pause" "kill" "rm" "undeploy" "functions a b" "ps --unknown" "logs a b" \
		"events x" "stats a b" "top x" "top --interval 0" "logs --since x" "logs --since 01" "invoke" "invoke a b" \
		"invoke f --deadline 0" "invoke f --event @/nowhere" "invoke f --event -x --event y" "deploy" "deploy f" \
		"deploy f /dev/null g" "deploy f /dev/null --mem 1" "deploy f /dev/null --name g" "serve x" "ps --socket" \
		"deploy f /dev/null --provisioned -1" "serve --max-cells 0" "serve --keep x"; do
		# shellcheck disable=SC2086 # words
		check_status 2 fsbox $words
		check_contains "$T/err" "fsbox: "
	done
	check [ ! -s "$T/asked" ]
}

test_help_lists_every_command_and_knows_each() {
	check_status 0 fsbox help
	cp "$T/out" "$T/help"
	check_contains "$T/help" "the daemon and its clients:"
	for command in serve deploy invoke scale undeploy functions ps inspect logs events stats top pause resume kill rm; do
		check_matches "$T/help" "^  fsbox $command  *[a-z]"
		check_status 0 fsbox help "$command"
		check_matches "$T/out" "^fsbox $command "
		check_contains "$T/out" "Exit status:"
		check_contains "$T/out" "--socket"
	done
	# Wide terminals are not needed for it.
	check_eq "$(awk 'length > 80' "$T/help")" ""
}

# ---- Whom it connects to ----

test_without_a_daemon_it_says_how_to_start_one() {
	check_status 1 fsbox ps --socket "$T/none"
	check_said "fsboxd is not running: nobody listens at '$T/none'" "fsbox serve"
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$T/stale"
	check_status 1 fsbox ps --socket "$T/stale"
	check_said "fsboxd is not running: nobody listens at '$T/stale'" "fsbox serve"
	check_status 1 env FSBOX_SOCKET="$T/none" "$FSBOX" ps
	check_said "fsboxd is not running: nobody listens at '$T/none'" "fsbox serve"
}

test_the_option_wins_over_the_variable() {
	fake "$CELLS"
	mv "$T/s" "$T/moved"
	check_status 0 fsbox ps --socket "$T/moved"
	check_status 1 fsbox ps
}

test_a_path_that_is_too_long_is_refused() {
	check_status 1 fsbox ps --socket "/$(printf '%0120d' 0)"
	check_contains "$T/err" "File name too long"
}

as_user() {
	chmod 755 "$TAP_DIR" "$T"
	setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps=-all env -u FSBOX_SOCKET XDG_RUNTIME_DIR="$T/xdg" "$@"
}

need_user() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$TAP_DIR" "$T"
	as_user test -x "$FSBOX" || skip_host "$FSBOX is not there for other users"
	mkdir "$T/xdg" && chown 12345 "$T/xdg"
}

test_an_ordinary_user_has_a_socket_of_his_own() {
	need_user
	check_status 1 as_user "$FSBOX" ps
	check_matches "$T/err" "^fsbox: fsboxd is not running: nobody listens at '/run/fsbox/fsbox.sock' nor at '$T/xdg/fsbox/"
	fake "$CELLS"
	mkdir "$T/xdg/fsbox" && ln "$T/s" "$T/xdg/fsbox/fsbox.sock" && chown -R 12345 "$T/xdg/fsbox"
	check_status 0 as_user "$FSBOX" ps
	check_contains "$T/out" a-long-name
}

test_a_socket_that_may_not_be_used_says_whose_group_it_is() {
	need_user
	fake "$CELLS"
	chmod 600 "$T/s"
	check_status 1 as_user "$FSBOX" ps --socket "$T/s"
	check_matches "$T/err" "^fsbox: connecting to fsboxd at '.*': Permission denied"
	check_contains "$T/err" "fsbox: hint: be a member of the socket's group, or start a daemon of your own: fsbox serve"
}

# ---- fsbox serve ----

# An installation whose fsbox-spawn says what it was started with.
install_fake_spawn() {
	mkdir -p "$T/i/bin" "$T/i/libexec/fsbox"
	cp "$FSBOX" "$T/i/bin/fsbox"
	: >"$T/i/libexec/fsbox/native"
	cat >"$T/i/libexec/fsbox/fsbox-spawn" <<-'END'
		#!/bin/sh
		printf '%s\n' "$@"
		echo "fds ${LISTEN_FDS-none}"
		grep -E '^Sig(Ign|Blk):' /proc/self/status | tr -s '\t' ' '
	END
	chmod -R 755 "$T/i"
}

test_serve_turns_names_into_numbers_and_becomes_fsbox_spawn() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	install_fake_spawn
	cd "$T"
	check_status 0 env -u FSBOX_SOCKET LISTEN_FDS=1 "$T/i/bin/fsbox" serve --user nobody --group daemon --state "$T/st/ate" \
		--socket s --policy-file p.json --keep 5 --max-cells 7 --memory 512 --cgroup-parent /x --max-queued 3 \
		--cpu-overcommit 1.5 --no-freeze --no-limits
	check_eq "$(head -n 34 "$T/out" | tr '\n' ' ')" "--socket $T/s --uid $(id -u nobody) --gid $(id -g nobody) --socket-gid 1 \
--runtime $T/i/bin/../libexec/fsbox --daemon $T/i/bin/../libexec/fsbox/fsboxd --publisher \
$T/i/bin/../libexec/fsbox/fsbox-publish --state $T/st/ate --cgroup-parent /x --max-cells 7 --no-limits -- --keep 5 --memory 512 --max-queued 3 --cpu-overcommit 1.5 --no-freeze --policy-file $T/p.json fds 1 "
	check_eq "$(stat -c '%U %a' "$T/st/ate")" "nobody 700"
	# What fsbox ignores while it writes is not ignored by the daemon.
	check_contains "$T/out" "SigIgn: 0000000000000000"
	check_contains "$T/out" "SigBlk: 0000000000000000"
}

test_serve_has_defaults() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	install_fake_spawn
	check_status 0 env -u FSBOX_SOCKET "$T/i/bin/fsbox" serve --user 54321 --state "$T/state"
	check_eq "$(head -n 19 "$T/out" | tr '\n' ' ')" "--socket /run/fsbox/fsbox.sock --uid 54321 --gid 54321 --socket-gid \
$(getent group fsbox | cut -d : -f 3 | grep . || echo 54321) --runtime $T/i/bin/../libexec/fsbox --daemon \
$T/i/bin/../libexec/fsbox/fsboxd --publisher $T/i/bin/../libexec/fsbox/fsbox-publish --state $T/state -- --keep 600 "
}

test_serve_says_who_is_missing() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	install_fake_spawn
	check_status 1 "$T/i/bin/fsbox" serve --user no-such-user --state "$T/state"
	check_said "there is no user 'no-such-user' in /etc/passwd"
	check_status 1 "$T/i/bin/fsbox" serve --user nobody --group no-such-group --state "$T/state"
	check_said "there is no group 'no-such-group' in /etc/group"
	check_status 2 "$T/i/bin/fsbox" serve --user root --state "$T/state"
	check_said "--user 'root': fsboxd does not run as root"
	if ! getent passwd fsbox >/dev/null; then
		check_status 1 "$T/i/bin/fsbox" serve --state "$T/state"
		check_said "there is no user 'fsbox' in /etc/passwd" "useradd --system fsbox, or name another one: --user nobody"
	fi
	check [ ! -e "$T/state" ]
	rm "$T/i/libexec/fsbox/fsbox-spawn"
	check_status 1 "$T/i/bin/fsbox" serve --user nobody --state "$T/state"
	check_matches "$T/err" "^fsbox: no fsbox-spawn beside"
	check [ ! -e "$T/state" ]
}

test_serve_of_an_ordinary_user_is_all_his_own() {
	need_user
	install_fake_spawn
	mkdir "$T/home" && chown 12345 "$T/home"
	check_status 0 as_user env -u XDG_STATE_HOME HOME="$T/home" "$T/i/bin/fsbox" serve
	check_eq "$(head -n 19 "$T/out" | tr '\n' ' ')" "--socket $T/xdg/fsbox/fsbox.sock --uid 12345 --gid 12345 --socket-gid \
12345 --runtime $T/i/bin/../libexec/fsbox --daemon $T/i/bin/../libexec/fsbox/fsboxd --publisher \
$T/i/bin/../libexec/fsbox/fsbox-publish --state $T/home/.local/state/fsboxd -- --keep 600 "
	check_eq "$(stat -c '%u %a' "$T/home/.local/state/fsboxd")" "12345 700"
	check_status 2 as_user "$T/i/bin/fsbox" serve --user nobody
	check_said "--user: only root can start it as somebody else"
}

run_tests
