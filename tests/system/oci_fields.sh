#!/bin/sh
# The long tail of config.json, and options that few callers give.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

# ---- seccomp listener ----

agent() { # starts one at $T/agent.sock; its states are in $T/states, its number in $agent
	command -v python3 >/dev/null || skip "no python3"
	rm -f "$T/agent.sock"
	# It ends with the test, also with one that fails.
	setpriv --pdeathsig TERM python3 "$FSBOX_SRC/tests/lib/oci_agent.py" "$T/agent.sock" "$T/states" >"$T/agent.log" 2>&1 &
	agent=$!
	for agent_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -S "$T/agent.sock" ] || return 0
		command sleep 0.1
	done
	fail "no agent after try $agent_try"
}

await_states() { # N: the agent is told while the program starts, and has its own time
	for states_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(wc -l <"$T/states")" != "$1" ] || return 0
		command sleep 0.1
	done
	fail "after try $states_try: $(wc -l <"$T/states") states, not $1"
}

agent_end() {
	kill "$agent"
	wait "$agent" 2>/dev/null || :
}

ask_about() { # NAMES as of JSON
	echo ".linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"listenerPath\": \"$T/agent.sock\", \"listenerMetadata\": \"about \\\"it\\\"\", \"syscalls\": [{\"names\": $1, \"action\": \"SCMP_ACT_NOTIFY\"}]}"
}

test_a_seccomp_listener_gets_its_descriptor_and_answers() {
	need_oci
	agent
	for nnp in true false; do
		in_container 'mkdir /tmp/x; ls /proc/self/fd | tr "\n" " "' "$(ask_about '["mkdir", "mkdirat"]') | .process.noNewPrivileges = $nnp | .root.readonly = false | .annotations.a = \"b\""
		check_eq "$status" 0
		check_contains "$T/err" "Numerical argument out of domain" # EDOM
		check_eq "$(cat "$T/out")" "0 1 2 3 " # 3 is ls's own
	done
	await_states 2
	check jq -es "all(.[]; .ociVersion and .fds == [\"seccompFd\"] and .received == 1 and .metadata == \"about \\\"it\\\"\" and .state.status == \"created\" and .pid == .state.pid and .pid > 0 and .state.bundle and .state.annotations.a == \"b\")" "$T/states"
	agent_end
	check_nothing_left
}

test_what_is_asked_about_may_be_what_we_need_ourselves() {
	need_oci
	agent
	for nnp in true false; do
		in_container 'echo hi' "$(ask_about '["sendmsg", "sendto", "recvfrom", "recvmsg", "write", "read", "close", "execve", "capset", "prctl", "futex", "exit_group", "sched_yield"]') | .process.noNewPrivileges = $nnp"
		check_eq "$(cat "$T/out")" hi
		in_container 'echo hi' "$(ask_about '["no_such_call"]') | .linux.seccomp.defaultAction = \"SCMP_ACT_NOTIFY\" | .process.noNewPrivileges = $nnp | .linux.seccomp.flags = [\"SECCOMP_FILTER_FLAG_TSYNC\", \"SECCOMP_FILTER_FLAG_LOG\", \"SECCOMP_FILTER_FLAG_SPEC_ALLOW\"]"
		check_eq "$(cat "$T/out")" hi
	done
	if "$OCI" features | jq -e '.linux.seccomp.supportedFlags | index("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")' >/dev/null; then
		in_container 'mkdir /tmp/x; exit 7' "$(ask_about '["mkdir", "mkdirat"]') | .linux.seccomp.flags = [\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]"
		check_eq "$status" 7
		check_contains "$T/err" "Numerical argument out of domain"
	fi
	agent_end
	check_nothing_left
}

test_exec_asks_the_listener_too() {
	need_oci
	agent
	bundle b "$(ask_about '["mkdir", "mkdirat", "sendmsg"]') | .process.args = [\"sleep\", \"60\"] | .root.readonly = false"
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" "$c"
	check_eq "$(wc -l <"$T/states")" 0
	oci_ok start "$c"
	await_states 1
	oci exec "$c" mkdir /tmp/x
	check_eq "$status" 1
	await_states 2
	check_contains "$T/err" "Numerical argument out of domain"
	check jq -es '.[1].state.status == "running" and .[1].pid != .[1].state.pid and .[1].state.pid == .[0].pid' "$T/states"
	oci_ok delete -f "$c"
	agent_end
	check_nothing_left
}

test_without_a_listener_nothing_starts() {
	need_oci
	in_container true "$(ask_about '["mkdir"]')"
	check_eq "$status" 1
	check_contains "$T/err" "agent.sock"
	touch "$T/agent.sock"
	in_container true "$(ask_about '["mkdir"]')"
	check_eq "$status" 1
	check_contains "$T/err" "agent.sock"
	in_container true "$(ask_about '["mkdir"]') | del(.linux.seccomp.listenerPath)"
	check_contains "$T/err" '$.linux.seccomp.listener'
	in_container 'mkdir /tmp/x' "$(ask_about '["mkdir"]') | .linux.seccomp.syscalls[0].action = \"SCMP_ACT_LOG\" | .root.readonly = false" # the path is ignored then
	check_eq "$status" 0
	agent
	bundle b "$(ask_about '["mkdir"]') | .process.args = [\"touch\", \"/ran\"] | .root.readonly = false"
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" "$c"
	agent_end
	oci start "$c"
	check_eq "$status" 1
	check_contains "$T/err" "agent.sock': Connection refused"
	wait_status "$c" stopped
	[ ! -e "$T/rootfs/ran" ] || fail "the program ran"
	oci_ok delete "$c"
	check_nothing_left
}

# ---- Network devices and memory policy ----

# In a network namespace of its own, which is the host's for the runtime: two ends of a pair, one for the container.
moves_devices() { # SETUP CONFIG SCRIPT
	command -v ip >/dev/null || skip "no ip"
	bundle in "$2 | .process.args = [\"sh\", \"-c\", $(printf '%s' "$3" | jq -Rs .)]"
	status=0
	unshare -n sh -ec "ip link add host0 type veth peer name peer0 || exit 99; $1
		\"$OCI\" --root $T/state run --bundle $T/in $(oci_id in); ip -o link >$T/left" >"$T/out" 2>"$T/err" || status=$?
	[ "$status" != 99 ] || skip_host "no veth"
}

test_network_devices_move_with_their_addresses() {
	need_oci
	moves_devices 'ip link set host0 mtu 1400 address 02:00:00:00:00:07; ip addr add 10.1.2.3/24 brd + dev host0 label host0:x; ip addr add 10.1.2.4/24 dev host0; ip addr add 10.9.9.9/32 scope link dev host0; ip addr add 2001:db8::7/64 nodad dev host0; ip addr add 10.8.8.8/32 valid_lft 1000 preferred_lft 1000 dev host0; ip link set host0 up; ip link set peer0 up' \
		'.linux.netDevices = {"host0": {"name": "inner0"}} | .linux.sysctl = {"net.ipv4.conf.inner0.forwarding": "1"}' \
		'/bin/busybox ip addr show dev inner0; cat /proc/sys/net/ipv4/conf/inner0/forwarding; cat /sys/class/net/inner0/mtu'
	check_eq "$status" 0
	check_matches "$T/out" 'inner0.*[<,]UP[,>]'
	check_contains "$T/out" "02:00:00:00:00:07"
	check_contains "$T/out" "inet 10.1.2.3/24 brd 10.1.2.255 scope global inner0:x"
	check_contains "$T/out" "inet 10.1.2.4/24 scope global secondary inner0"
	check_contains "$T/out" "inet6 2001:db8::7/64"
	check_eq "$(grep -c -E '10.9.9.9|10.8.8.8' "$T/out")" 0
	check_eq "$(tail -n 2 "$T/out" | tr '\n' ' ')" "1 1400 "
	check_eq "$(grep -c host0: "$T/left")" 0
	check_nothing_left
}

test_network_devices_keep_their_name_or_get_a_free_one() {
	need_oci
	moves_devices 'ip link set peer0 up' '.linux.netDevices = {"host0": {}, "peer0": {"name": "eth%d"}}' 'ls /sys/class/net'
	check_eq "$status" 0
	check_eq "$(tr '\n' ' ' <"$T/out")" "eth0 host0 lo "
	moves_devices : '.linux.netDevices = {"host0": {"name": "lo"}}' true
	check_eq "$status" 1
	check_contains "$T/err" "'lo': the container has one of that name already"
	moves_devices : '.linux.netDevices = {"none0": {}}' true
	check_eq "$status" 1
	check_contains "$T/err" "network device 'none0': No such device"
	moves_devices : '.linux.netDevices = {"host0": {}} | del(.linux.namespaces[] | select(.type == "network"))' true
	check_contains "$T/err" "without a network namespace"
	check_nothing_left
}

test_memory_policy() {
	need_oci
	[ -e /proc/self/numa_maps ] || skip_host "this kernel has no NUMA"
	for pair in BIND:bind INTERLEAVE:interleave PREFERRED:prefer 'PREFERRED_MANY:prefer (many)'; do
		mode=${pair%:*}
		in_container 'cat /proc/self/numa_maps' ".linux.memoryPolicy = {\"mode\": \"MPOL_$mode\", \"nodes\": \"0\", \"flags\": [\"MPOL_F_STATIC_NODES\"]}"
		check_eq "$status" 0
		check_contains "$T/out" " ${pair#*:}=static:0 "
	done
	in_container 'cat /proc/self/numa_maps' '.linux.memoryPolicy = {"mode": "MPOL_LOCAL"}'
	check_matches "$T/out" '^[0-9a-f]* local '
	in_container true '.linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "900"}'
	check_eq "$status" 1
	check_contains "$T/err" "setting the memory policy"
	bundle b '.process.args = ["sleep", "60"] | .linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0"}'
	c=$(oci_id c)
	oci_ok run -d --bundle "$T/b" "$c"
	oci_ok exec "$c" cat /proc/self/numa_maps
	check_matches "$T/out" '^[0-9a-f]* bind:0 '
	oci_ok delete -f "$c"
	check_nothing_left
}

# ---- Security modules, RDMA, resctrl: detected, and an error where the host has none ----

test_what_the_host_lacks_is_an_error() {
	need_oci
	lacks() { # JQ-PROGRAM TEXT
		in_container true "$1"
		check_eq "$status" 1
		check_contains "$T/err" "$2"
	}
	if ! grep -q Y /sys/module/apparmor/parameters/enabled 2>/dev/null; then
		lacks '.process.apparmorProfile = "mine"' "AppArmor is not enabled on this host"
		bundle b '.process.args = ["sleep", "60"]'
		c=$(oci_id c)
		oci_ok run -d --bundle "$T/b" "$c"
		oci exec --apparmor mine "$c" true
		check_eq "$status" 255
		check_contains "$T/err" "AppArmor is not enabled"
		oci_ok exec --apparmor unconfined "$c" true
		oci_ok delete -f "$c"
	fi
	if [ ! -d /sys/fs/selinux ]; then
		lacks '.process.selinuxLabel = "a:b:c:s0"' "selinux is disabled"
		lacks '.linux.mountLabel = "a:b:c:s0"' "selinux is disabled"
	fi
	if ! grep -q "^rdma[^a-z]" /proc/cgroups; then
		lacks '.linux.resources.rdma = {"mlx5_1": {"hcaHandles": 3}}' "no cgroup controller 'rdma'"
	fi
	if ! grep -q ' - resctrl ' /proc/self/mountinfo; then
		lacks '.linux.intelRdt = {"closID": "gold"}' "no resctrl is mounted"
		sleeper r
		oci update --l3-cache-schema "L3:0=f" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "no resctrl is mounted"
		oci_ok delete -f "$c"
	fi
	in_container 'echo ran' '.process.apparmorProfile = "unconfined" | .process.selinuxLabel = "" | .linux.mountLabel = ""'
	check_eq "$(cat "$T/out")" ran
	check_nothing_left
}

# ---- Options ----

sleeper() { # NAME: a container that sleeps, its id in $c
	bundle "$1" '.process.args = ["sleep", "60"]'
	c=$(oci_id "$1")
	oci_ok run -d --bundle "$T/$1" "$c"
}

test_exec_goes_into_a_group_below() {
	need_oci
	sleeper b
	find /sys/fs/cgroup -type d -name "$c" >"$T/groups"
	while read -r group; do
		mkdir "$group/below"
		for file in cpuset.cpus cpuset.mems; do # v1's are born empty, and take nobody in then
			case $group in /sys/fs/cgroup/cpuset/*) cat "$group/$file" >"$group/below/$file" ;; esac
		done
	done <"$T/groups"
	oci_ok exec "$c" cat /proc/self/cgroup
	check_eq "$(grep -c below "$T/out")" 0
	for path in below /below; do
		oci_ok exec --cgroup "$path" "$c" cat /proc/self/cgroup
		check_eq "$(grep -c /below "$T/out")" "$(find /sys/fs/cgroup -type d -path "*/$c/below" | wc -l)"
	done
	oci_ok exec --cgroup / "$c" true
	for wrong in nothere ../.. bogus:below; do
		oci exec --cgroup "$wrong" "$c" true
		check_eq "$status" 255
		check_contains "$T/err" "--cgroup"
	done
	if [ -e /sys/fs/cgroup/pids ]; then
		oci_ok exec --cgroup pids:below --cgroup memory,cpuset:below "$c" cat /proc/self/cgroup
		check_eq "$(grep /below "$T/out" | cut -d : -f 2 | sort | tr '\n' ' ')" "cpuset memory pids "
	fi
	oci_ok delete -f "$c"
	check_nothing_left
}

# As an init system or an engine in the container does it: its processes live in a group below, and cgroup2 lets nobody into
# the container's own any more.
test_exec_follows_who_hands_controllers_down() {
	need_oci
	sleeper d
	group=$(find /sys/fs/cgroup/unified /sys/fs/cgroup -type d -path "*/fsbox-oci/$c" -exec test -e {}/cgroup.subtree_control \; -print 2>/dev/null | head -n 1)
	[ -n "$group" ] || skip_host "no cgroup2"
	for domain in memory hugetlb io misc ''; do # what threads cannot share
		! grep -qw "$domain" "$group/cgroup.controllers" || break
	done
	[ -n "$domain" ] || skip_host "cgroup2 has no controller"
	mkdir "$group/init.scope" "$group/other"
	oci_pid "$c" >"$group/init.scope/cgroup.procs"
	echo "+$domain" >"$group/cgroup.subtree_control"
	! sh -c "echo 0 >$group/cgroup.procs" 2>/dev/null || fail "everybody may enter"
	oci_ok exec --detach --pid-file "$T/pid" "$c" sleep 50
	check_matches "/proc/$(cat "$T/pid")/cgroup" "^0::.*/$c/init.scope\$"
	if oci_v2; then # elsewhere the name is meant in all hierarchies
		oci_ok exec --cgroup other --detach --pid-file "$T/pid" "$c" sleep 50
		check_matches "/proc/$(cat "$T/pid")/cgroup" "^0::.*/$c/other\$"
	fi
	# Who is asked for the group itself cannot have it, and whose first process is elsewhere has no other.
	oci exec --cgroup / "$c" true
	check_eq "$status" 255
	check_contains "$T/err" "busy"
	oci_pid "$c" >"${group%/fsbox-oci/*}/cgroup.procs"
	oci exec "$c" true
	check_eq "$status" 255
	check_contains "$T/err" "busy"
	check_eq "$(wc -l <"$T/err")" 1
	oci_ok delete -f "$c"
	check_nothing_left
}

test_kill_and_delete_by_regular_expression() {
	need_oci
	for name in x1 x2 y1; do
		sleeper "$name"
	done
	oci_ok kill --regex "^$(oci_id x)[0-9]\$" KILL
	wait_status "$(oci_id x1)" stopped
	wait_status "$(oci_id x2)" stopped
	check_eq "$(oci_status "$(oci_id y1)")" running
	oci_ok kill --regex "$(oci_id '(x1|y1)')" TERM # who is not running any more is no failure
	oci delete --regex "$(oci_id '.*')"
	check_eq "$status" 1
	check_contains "$T/err" "not stopped"
	check_eq "$("$OCI" --root "$T/state" list -q)" "$(oci_id y1)"
	oci delete --force --regex '['
	check_eq "$status" 1
	check_contains "$T/err" "regular expression '['"
	oci_ok delete --force --regex "$(oci_id y)"
	oci_ok delete --force --regex "$(oci_id nobody)"
	check_nothing_left
}

# ---- Annotations of crun's ----

# A program of BPF in base64: mkdir(2) and mkdirat(2) get VERDICT, the rest is allowed.
compiled() { # VERDICT
	python3 -c '
import base64, platform, struct, sys
one = lambda code, jt, jf, k: struct.pack("=HBBI", code, jt, jf, k)
nr = [34] if platform.machine() == "aarch64" else [83, 258]
code = one(0x20, 0, 0, 0) + b"".join(one(0x15, len(nr) - i, 0, n) for i, n in enumerate(nr))
code += one(0x06, 0, 0, 0x7fff0000) + one(0x06, 0, 0, int(sys.argv[1], 16))
print(base64.b64encode(code).decode(), end="")' "$1"
}

test_annotations_about_seccomp() {
	need_oci
	agent
	mkdirs='{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}'
	in_container 'mkdir /tmp/x' ".linux.seccomp = $mkdirs | .annotations[\"run.oci.seccomp.receiver\"] = \"$T/agent.sock\""
	check_contains "$T/err" "Numerical argument out of domain"
	in_container 'mkdir /tmp/x' ".annotations[\"run.oci.seccomp_bpf_data\"] = \"$(compiled 7fc00000)\" | .annotations[\"run.oci.seccomp.receiver\"] = \"$T/agent.sock\""
	check_contains "$T/err" "Numerical argument out of domain"
	await_states 2
	agent_end
	for nnp in true false; do
		in_container 'mkdir /tmp/x; grep ^Seccomp: /proc/self/status' ".annotations[\"run.oci.seccomp_bpf_data\"] = \"$(compiled 50022)\" | .root.readonly = false | .process.noNewPrivileges = $nnp"
		check_contains "$T/err" "Numerical result out of range" # ERANGE is 34
		check_matches "$T/out" '^Seccomp:.2$'
	done
	for wrong in AAAA '!' "$(compiled 7fc00000)"; do
		in_container true ".annotations[\"run.oci.seccomp_bpf_data\"] = \"$wrong\""
		check_eq "$status" 1
		check_contains "$T/err" 'run.oci.seccomp_bpf_data'
	done
	in_container true '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]} | .annotations["run.oci.seccomp_fail_unknown_syscall"] = "1"'
	check_eq "$status" 1
	check_contains "$T/err" "no_such_call"
	check_nothing_left
}

test_annotations_about_hooks_groups_and_handlers() {
	need_oci
	ln -sf busybox "$T/rootfs/bin/tail" 2>/dev/null || :
	hook='[{"path": "/bin/sh", "args": ["sh", "-c", "echo NAME; echo err-NAME >&2; ls -l /proc/self/fd | grep -c socket || :"]}]'
	hooks=$(for name in prestart createRuntime createContainer startContainer poststart poststop; do
		echo ".hooks.$name = $(echo "$hook" | sed "s/NAME/$name/g") | "
	done)
	in_container 'echo mine; ls /proc/self/fd | tr "\n" " "' "$hooks .annotations[\"run.oci.hooks.stdout\"] = \"$T/hooks.out\" | .annotations[\"run.oci.hooks.stderr\"] = \"$T/hooks.err\""
	check_eq "$status" 0
	check_eq "$(tr '\n' ' ' <"$T/out")" "mine 0 1 2 3 "
	check_eq "$(grep -v '^[0-9]' "$T/hooks.out" | sort | tr '\n' ' ')" "createContainer createRuntime poststart poststop prestart startContainer "
	check_eq "$(grep -c '^0' "$T/hooks.out")" 6 # none of our sockets
	check_eq "$(grep -c err- "$T/hooks.err")" 6
	in_container 'id -G' '.annotations["run.oci.keep_original_groups"] = "1" | .process.user = {"uid": 1000, "gid": 1000, "additionalGids": [5]}'
	check_eq "$(tr ' ' '\n' <"$T/out" | sort -u)" "$(echo 1000 "$(grep ^Groups /proc/self/status | cut -f 2)" | tr ' ' '\n' | sort -u | grep .)"
	in_container true '.annotations["run.oci.handler"] = "krun"'
	check_eq "$status" 1
	check_contains "$T/err" "no handler 'krun'"
	in_container true '.annotations["run.oci.hooks.stdout"] = "x"'
	check_contains "$T/err" 'not an absolute path'
	check jq -e '.potentiallyUnsafeConfigAnnotations | index("run.oci.hooks.stdout")' <<-EOF
		$("$OCI" features)
	EOF
	check_nothing_left
}

test_a_pidfd_receiver_gets_the_pidfd() {
	need_oci
	command -v python3 >/dev/null || skip "no python3"
	python3 -c '
import array, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.bind(sys.argv[1])
s.listen()
c = s.accept()[0]
_, control, _, _ = c.recvmsg(100, 100)
fd = array.array("i", control[0][2])[0]
print(open("/proc/self/fdinfo/%d" % fd).read())' "$T/pidfd.sock" >"$T/fdinfo" &
	receiver=$!
	while [ ! -S "$T/pidfd.sock" ]; do command sleep 0.05; done
	bundle b ".process.args = [\"sleep\", \"60\"] | .annotations[\"run.oci.pidfd_receiver\"] = \"$T/pidfd.sock\""
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" --pid-file "$T/pid" "$c"
	wait "$receiver"
	check_matches "$T/fdinfo" "^Pid:.$(cat "$T/pid")\$"
	oci_ok delete -f "$c"
	check_nothing_left
}

test_a_program_does_not_run_when_its_pidfd_finds_nobody() {
	need_oci
	c=$(oci_id c)
	for try in 1 2 3 4 5 6 7 8 9 10; do
		bundle b ".process.args = [\"touch\", \"/ran\"] | .root.readonly = false | .annotations[\"run.oci.pidfd_receiver\"] = \"$T/nobody\""
		oci run --bundle "$T/b" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "$T/nobody"
		[ ! -e "$T/rootfs/ran" ] || fail "the program ran"
	done
	check_nothing_left
}

# ---- Warnings ----

test_what_is_left_out_is_a_warning() {
	need_oci
	caps='.process.capabilities = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL", "CAP_BOGUS"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]}'
	in_container 'echo ran' "$caps"
	check_eq "$status" 0
	check_contains "$T/err" "warning: config.json: $.process.capabilities.permitted[1]: unknown capability 'CAP_BOGUS' is left out"
	check_contains "$T/err" "capabilities are left out, for they are ambient, but not both permitted and inheritable: CAP_KILL"
	# With a log they go there, and nothing goes where the container's own errors go.
	bundle b "$caps | .process.args = [\"sleep\", \"60\"]"
	c=$(oci_id c)
	oci --log "$T/log" --log-format json create --bundle "$T/b" "$c"
	check_eq "$status" 0
	check_eq "$(cat "$T/err")" ""
	check jq -es 'length == 2 and all(.[]; .level == "warning" and .msg and .time)' "$T/log"
	# Once is enough.
	oci_ok start "$c"
	oci_ok exec "$c" true
	check_eq "$(grep -c BOGUS "$T/err")" 0
	# A failing command logs its one error: callers read the whole log as that.
	rm "$T/log"
	oci --log "$T/log" --log-format json create --bundle "$T/b" "$c"
	check_eq "$status" 1
	check jq -es 'length == 1 and .[0].level == "error"' "$T/log"
	oci_ok delete -f "$c"
	in_container true '.hooks.poststop = [{"path": "/bin/false"}]'
	check_eq "$status" 0
	check_contains "$T/err" "warning: poststop: hook '/bin/false' failed"
	check_nothing_left
}

# ---- events ----

test_events_tell_what_engines_read() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "cat /dev/zero | head -c 10000000 >/data; sync; exec sleep 60"] | .root.readonly = false | .linux.resources.pids = {"limit": 9} | .linux.resources.memory = {"limit": 67108864}'
	ln -sf busybox "$T/rootfs/bin/sync"
	c=$(oci_id b)
	oci_ok run -d --bundle "$T/b" "$c"
	command sleep 0.5
	oci_ok events --stats "$c"
	check_eq "$(wc -l <"$T/out")" 1
	# The types of every member, as runc's types/events.go has them.
	# shellcheck disable=SC2016 # of jq
	check jq -e '.id == $c and .type == "stats" and (.data |
		(.cpu.usage | .total > 0 and (.kernel | type) == "number" and (.user | type) == "number") and
		(.cpu.throttling | type) == "object" and
		(.cpuset | type) == "object" and (.cpuset.cpus == null or (.cpuset.cpus | length) > 0) and
		(.memory | (.cache | type) == "number" and .usage.usage > 0 and .usage.limit == 67108864 and
			(.usage, .swap, .kernel, .kernelTCP | (.failcnt | type) == "number") and (.raw | length) > 5) and
		.pids.current == 1 and .pids.limit == 9 and
		(.blkio | to_entries | all(.key == "psi" or (.value | type == "array" and all(.major >= 0 and .minor >= 0 and .value >= 0)))) and
		(.hugetlb | type) == "object" and (.hugetlb | all(.usage >= 0 and .failcnt >= 0)) and
		(.network_interfaces | any(.Name == "lo" and .RxBytes >= 0 and .TxDropped >= 0)))' --arg c "$c" "$T/out"
	if [ -e "/sys/fs/cgroup/unified/fsbox-oci/$c/cpu.pressure" ] && cat "/sys/fs/cgroup/unified/fsbox-oci/$c/cpu.pressure" >/dev/null 2>&1; then
		check jq -e '.data | .cpu.psi, .memory.psi, .blkio.psi | (.some, .full) | (.avg10, .avg60, .avg300, .total) | type == "number"' "$T/out"
	fi
	# No name keeps a device out of it.
	if command -v ip >/dev/null; then
		nsenter -t "$(oci_pid "$c")" -n sh -c 'ip link set lo down && ip link set lo name "a|b"'
		oci_ok events --stats "$c"
		check jq -e '.data.network_interfaces[0].Name == "a|b"' "$T/out"
	fi
	oci_ok delete -f "$c"
	check_nothing_left
}

run_tests "$@"
