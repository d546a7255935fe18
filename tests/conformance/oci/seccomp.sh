#!/bin/sh
# runtime-spec, config-linux.md: seccomp. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# An allowing profile with one entry about mkdir(2), as busybox calls it.
mkdir_is() { # ACTION [MORE]
	echo ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"mkdir\", \"mkdirat\"], \"action\": \"$1\"${2-}}]}"
}

test_actions_do_what_they_say() {
	need_oci
	for case in 'SCMP_ACT_ALLOW 0' 'SCMP_ACT_LOG 0' 'SCMP_ACT_ERRNO 1' 'SCMP_ACT_TRACE 1' 'SCMP_ACT_KILL 159' \
		'SCMP_ACT_KILL_THREAD 159' 'SCMP_ACT_KILL_PROCESS 159' 'SCMP_ACT_TRAP 159'; do
		in_container 'mkdir /tmp/x; echo $?' "$(mkdir_is "${case% *}") | .mounts += [{\"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"t\"}]"
		check_eq "${case% *} $(tail -n 1 "$T/out")" "$case"
	done
	check_eq "$status" 0
}

test_an_action_that_is_none_is_an_error() {
	need_oci
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_NOSUCH"}' defaultAction
	refused '.linux.seccomp = {}' defaultAction
	refused "$(mkdir_is SCMP_ACT_NOSUCH)" action
}

test_an_entry_has_a_name() {
	need_oci
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}' names
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}' names
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"]}]}' action
}

test_the_error_number_is_the_configured_one_or_eperm() {
	need_oci
	in_container 'mkdir /tmp/x' "$(mkdir_is SCMP_ACT_ERRNO)"
	check_contains "$T/err" "Operation not permitted"
	in_container 'mkdir /tmp/x' "$(mkdir_is SCMP_ACT_ERRNO ', "errnoRet": null')"
	check_contains "$T/err" "Operation not permitted"
	in_container 'mkdir /tmp/x' "$(mkdir_is SCMP_ACT_ERRNO ', "errnoRet": 28')"
	check_contains "$T/err" "No space left on device"
}

# Everything that a shell needs is allowed, so mkdir meets the default.
test_the_default_error_number_is_the_configured_one_or_eperm() {
	need_oci
	all=$(awk '/^#define __NR_/ { printf "%s\"%s\"", sep, substr($2, 6); sep = "," }' /usr/include/*/asm/unistd_64.h | sed 's/"mkdir",//; s/"mkdirat",//')
	[ -n "$all" ] || skip "no list of system calls (Debian package linux-libc-dev)"
	profile=".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{\"names\": [$all], \"action\": \"SCMP_ACT_ALLOW\"}]}"
	in_container 'mkdir /tmp/x' "$profile"
	check_contains "$T/err" "Operation not permitted"
	in_container 'mkdir /tmp/x' "$profile | .linux.seccomp.defaultErrnoRet = 28"
	check_contains "$T/err" "No space left on device"
}

test_an_error_number_for_an_action_without_one_is_an_error() {
	need_oci
	for action in SCMP_ACT_ALLOW SCMP_ACT_LOG SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_TRAP; do
		refused "$(mkdir_is "$action" ', "errnoRet": 1')" errnoRet
		refused ".linux.seccomp = {\"defaultAction\": \"$action\", \"defaultErrnoRet\": 1}" defaultErrnoRet
	done
	in_container 'mkdir /tmp/x; true' "$(mkdir_is SCMP_ACT_TRACE ', "errnoRet": 1')"
	check_eq "$status" 0
}

# kill(2) of itself has a first argument that is known, 1, and a second that is any signal.
test_operators_compare_as_they_say() {
	need_oci
	op() { # OP VALUE VALUE-TWO: the signals of 10, 12, 14 that are refused
		in_container 'trap : 10 12 14; for s in 10 12 14; do kill -$s 1 2>/dev/null || echo $s; done' ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"kill\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}, {\"index\": 1, \"value\": $2, \"valueTwo\": $3, \"op\": \"SCMP_CMP_$1\"}]}]}"
		tr '\n' ' ' <"$T/out"
	}
	check_eq "$(op NE 12 0)" "10 14 "
	check_eq "$(op LT 12 0)" "10 "
	check_eq "$(op LE 12 0)" "10 12 "
	check_eq "$(op EQ 12 0)" "12 "
	check_eq "$(op GE 12 0)" "12 14 "
	check_eq "$(op GT 12 0)" "14 "
	check_eq "$(op MASKED_EQ 6 4)" "12 " # 10 is 01010, 12 is 01100, 14 is 01110
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH"}]}]}' op
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}' index
}

test_architectures_and_flags_are_taken() {
	need_oci
	in_container 'mkdir /tmp/x' "$(mkdir_is SCMP_ACT_ERRNO) | .linux.seccomp.architectures = [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\", \"SCMP_ARCH_AARCH64\"] | .linux.seccomp.flags = [\"SECCOMP_FILTER_FLAG_LOG\", \"SECCOMP_FILTER_FLAG_SPEC_ALLOW\", \"SECCOMP_FILTER_FLAG_TSYNC\"]"
	check_contains "$T/err" "Operation not permitted"
	refused "$(mkdir_is SCMP_ACT_ERRNO) | .linux.seccomp.architectures = [\"SCMP_ARCH_Z80\"]" SCMP_ARCH_Z80
	refused "$(mkdir_is SCMP_ACT_ERRNO) | .linux.seccomp.flags = [\"SECCOMP_FILTER_FLAG_NOSUCH\"]" SECCOMP_FILTER_FLAG_NOSUCH
}

# ---- The listener ----

need_notify() {
	need_oci
	"$OCI" features | jq -e '.linux.seccomp.actions | index("SCMP_ACT_NOTIFY")' >/dev/null || skip "this build knows no SCMP_ACT_NOTIFY"
}

# An agent takes connections until it is ended and writes for each what came: the first message, its descriptors, the rest.
# It lets go of the filter's descriptor, so that the calls that wait for its answer fail with ENOSYS.
agent() {
	cat >"$T/agent.py" <<-'EOF2'
		import array, json, os, socket, sys
		path, out = sys.argv[1:]
		s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
		s.bind(path)
		s.listen(8)
		while True:
		    c, _ = s.accept()
		    text, fds, calls = b"", [], 0
		    while True:
		        data, control, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(64))
		        for level, kind, body in control:
		            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
		                fds.append((calls, [os.readlink("/proc/self/fd/%d" % f) for f in array.array("i", body)]))
		                [os.close(f) for f in array.array("i", body)]
		        calls += 1
		        if not data:
		            break
		        text += data
		    with open(out, "a") as f:
		        f.write(json.dumps({"state": json.loads(text), "fds": fds}) + "\n")
		        f.flush()
	EOF2
	python3 "$T/agent.py" "$T/agent.sock" "$T/agent.out" &
	agent=$!
	for agent_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -S "$T/agent.sock" ] || return 0
		command sleep 0.1
	done
	fail "no agent"
}

test_the_agent_gets_the_state_of_the_process_once() {
	need_notify
	agent
	in_container 'mkdir /tmp/x; true' "$(mkdir_is SCMP_ACT_NOTIFY) | .linux.seccomp.listenerPath = \"$T/agent.sock\" | .linux.seccomp.listenerMetadata = \"MKDIR=1\" | .annotations = {\"com.example.key\": \"value\"}"
	kill "$agent"
	check_eq "$status" 0
	check_contains "$T/err" "Function not implemented"
	check_eq "$(wc -l <"$T/agent.out")" 1
	check jq -e '.state | .ociVersion and .fds == ["seccompFd"] and .pid > 0 and .metadata == "MKDIR=1"' "$T/agent.out"
	check jq -e ".state.state | .id == \"$(oci_id in)\" and (.status | IN(\"creating\", \"created\", \"running\")) and .pid > 0 and .bundle == \"$T/in\" and .annotations[\"com.example.key\"] == \"value\"" "$T/agent.out"
	check jq -e '.fds | length == 1 and .[0][0] == 0 and (.[0][1] | length == 1) and (.[0][1][0] | contains("seccomp"))' "$T/agent.out"
}

test_an_agent_that_is_not_there_is_an_error() {
	need_notify
	refused "$(mkdir_is SCMP_ACT_NOTIFY) | .linux.seccomp.listenerPath = \"$T/nosuch.sock\"" nosuch.sock
	check_nothing_left
}

test_a_listener_that_nothing_notifies_is_ignored() {
	need_notify
	in_container 'echo ran' "$(mkdir_is SCMP_ACT_ERRNO) | .linux.seccomp.listenerPath = \"$T/nosuch.sock\""
	check_eq "$(cat "$T/out")" ran
}

test_metadata_without_a_listener_is_an_error() {
	need_notify
	refused "$(mkdir_is SCMP_ACT_ERRNO) | .linux.seccomp.listenerMetadata = \"x\"" listenerMetadata
}

run_tests "$@"
