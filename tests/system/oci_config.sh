#!/bin/sh
# What config.json asks for is what the container's process finds.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

test_user_groups_umask_cwd_and_home() {
	need_oci
	in_container 'id; umask; pwd; echo $HOME' '.process.user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 63} | .process.cwd = "/made/for/it" | .root.readonly = false'
	check_eq "$status" 0
	check_contains "$T/out" "uid=1000(ada) gid=1001 groups=5,6"
	check_eq "$(sed -n '2,4p' "$T/out" | tr '\n' ' ')" "0077 /made/for/it /home/ada "
}

test_links_that_are_to_be_mounted_themselves_are_refused() {
	need_oci
	mkdir "$T/real"
	ln -s real "$T/link"
	in_container 'ls -d /b' ".mounts += [{\"destination\": \"/b\", \"type\": \"bind\", \"source\": \"$T/real\", \"options\": [\"bind\", \"copy-symlink\", \"dest-nofollow\"]}]"
	check_eq "$status" 0
	in_container 'true' ".mounts += [{\"destination\": \"/b\", \"type\": \"bind\", \"source\": \"$T/link\", \"options\": [\"bind\", \"copy-symlink\"]}]"
	check_eq "$status" 1
	check_contains "$T/err" 'not supported'
	in_container 'true' ".mounts += [{\"destination\": \"/l\", \"type\": \"bind\", \"source\": \"$T/real\", \"options\": [\"bind\", \"dest-nofollow\"]}]"
	check_eq "$status" 0
	ln -s real "$T/in/rootfs/link" # bundle() makes the root once for each name
	oci run --bundle "$T/in" "$(oci_id in)"
	check_eq "$status" 0
	jq '.mounts[-1].destination = "/link"' "$T/in/config.json" >"$T/new" && mv "$T/new" "$T/in/config.json"
	oci run --bundle "$T/in" "$(oci_id in)"
	check_eq "$status" 1
	check_contains "$T/err" 'not supported'
}

test_loopback_is_up_in_a_network_namespace_of_ones_own() {
	need_oci
	in_container 'ip addr show dev lo'
	check_eq "$status" 0
	check_contains "$T/out" 'LOOPBACK,UP'
	check_contains "$T/out" 'inet 127.0.0.1/8'
	chmod 711 "$TAP_DIR" "$T"
	in_container 'ip addr show dev lo' '.linux.namespaces |= map(select(.type != "user")) + [{"type": "user"}] |
		.linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] | .linux.gidMappings = .linux.uidMappings'
	check_contains "$T/out" 'LOOPBACK,UP'
}

test_capabilities_are_those_and_no_others() {
	need_oci
	in_container 'grep ^Cap /proc/self/status; grep NoNewPrivs /proc/self/status' '.process.capabilities = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_NO_SUCH"]} | .process.user.uid = 1000 | .process.noNewPrivileges = false'
	check_eq "$status" 0
	check_eq "$(awk '{print $2}' "$T/out" | sed 's/^0*//' | tr '\n' ' ')" "20 20 20 21 20  "
}

test_resource_limits_and_oom_score() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "ulimit -n; ulimit -H -n; cat /proc/self/oom_score_adj; ulimit -H -s"] | .process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_STACK", "soft": 1048576, "hard": "MAX"}] | .process.oomScoreAdj = 500'
	sed -i 's/"MAX"/18446744073709551615/' "$T/b/config.json" # as Go writes it; jq cannot
	oci run -b "$T/b" "$(oci_id r)"
	check_eq "$status" 0
	check_eq "$(tr '\n' ' ' <"$T/out")" "100 200 500 unlimited "
}

# Inside of a user namespace no hard limit is raised any more.
test_a_hard_limit_above_the_callers_in_a_user_namespace() {
	need_oci
	chmod 755 "$TAP_DIR"
	chmod 755 "$T"
	bundle b '.process.args = ["sh", "-c", "ulimit -n; ulimit -Hn"] | .process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 600, "hard": 700}]
		| .linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
		| .linux.gidMappings = .linux.uidMappings'
	run prlimit --nofile=500:500 "$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id raise)"
	if [ $((0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status) >> 24 & 1)) = 0 ]; then
		check_eq "$status" 1 # the machine's root has no right to
		check_contains "$T/err" "raising a hard limit takes CAP_SYS_RESOURCE"
		check_eq "$(wc -l <"$T/err")" 1
	else
		check_eq "$status $(tr '\n' ' ' <"$T/out")" "0 600 700 "
		# And for who enters.
		jq '.process.args = ["sleep", "600"] | .process.rlimits = []' "$T/b/config.json" >"$T/b/new" && mv "$T/b/new" "$T/b/config.json"
		run prlimit --nofile=500:500 "$OCI" --root "$T/state" run -d --bundle "$T/b" "$(oci_id raise)"
		check_eq "$status" 0
		jq '.process | .args = ["sh", "-c", "ulimit -Hn"] | .rlimits = [{"type": "RLIMIT_NOFILE", "soft": 600, "hard": 700}]' \
			"$T/b/config.json" >"$T/process.json"
		run prlimit --nofile=500:500 "$OCI" --root "$T/state" exec --process "$T/process.json" "$(oci_id raise)"
		check_eq "$status $(cat "$T/out")" "0 700"
		oci_ok delete --force "$(oci_id raise)"
	fi
	check_nothing_left
}

test_mounts_with_their_options() {
	need_oci
	mkdir -p "$T/src/sub" "$T/other"
	echo text >"$T/src/file"
	mount -t tmpfs -o size=1m none "$T/src/sub"
	in_container 'cat /proc/self/mountinfo; cat /b/file /made/deep/file; touch /b/x; touch /b/sub/x; ls /t' ".mounts += [
		{\"destination\": \"/b\", \"type\": \"bind\", \"source\": \"$T/src\", \"options\": [\"rbind\", \"ro\", \"nosuid\", \"noexec\"]},
		{\"destination\": \"/made/deep/file\", \"type\": \"none\", \"source\": \"$T/src/file\", \"options\": [\"bind\", \"rro\"]},
		{\"destination\": \"/t\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", \"options\": [\"nodev\", \"size=64k\", \"mode=700\"]}]"
	umount "$T/src/sub"
	check_contains "$T/out" text
	check_matches "$T/out" ' /b ro,nosuid,(nodev,)?noexec' # what it is bound from may have nodev
	check_matches "$T/out" ' /b/sub rw'
	check_matches "$T/out" ' /made/deep/file ro'
	check_matches "$T/out" ' /t rw,nodev.*size=64k,mode=700'
	check_contains "$T/err" "/b/x: Read-only file system"
	check_eq "$(grep -c 'Read-only' "$T/err")" 1
}

test_links_in_the_root_lead_nowhere_else() {
	need_oci
	rootfs "$T/rootfs"
	mkdir "$T/outside"
	ln -s "$T/outside" "$T/rootfs/escape"
	ln -s ../../../../../../../../../../.."$T/outside" "$T/rootfs/dots"
	ln -s /missing/target "$T/rootfs/dangling"
	in_container 'ls -d /escape/x /dots/y /dangling/z' ".mounts += [
		{\"destination\": \"/escape/x\", \"type\": \"tmpfs\", \"source\": \"t\"},
		{\"destination\": \"/dots/y\", \"type\": \"tmpfs\", \"source\": \"t\"},
		{\"destination\": \"/dangling/z\", \"type\": \"tmpfs\", \"source\": \"t\"}]"
	check_eq "$status" 0
	check_eq "$(ls "$T/outside")" ""
	check_eq "$(ls "$T/rootfs/missing/target")" z
	in_container true '.mounts += [{"destination": "/proc/self/attr", "type": "tmpfs", "source": "t"}]'
	check_eq "$status" 1
	check_contains "$T/err" "inside of /proc"
}

test_mounts_that_map_ids() {
	need_oci
	mkdir "$T/src"
	echo text >"$T/src/f"
	chown 1000:1000 "$T/src/f"
	map='[{"containerID": 1000, "hostID": 7, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]'
	in_container 'stat -c "%u %g" /b/f' ".mounts += [{\"destination\": \"/b\", \"type\": \"bind\", \"source\": \"$T/src\", \"options\": [\"bind\"], \"uidMappings\": $map, \"gidMappings\": $map}]"
	grep -q "mapping the ids.*Invalid argument" "$T/err" && skip_host "this file system maps no ids"
	check_eq "$(cat "$T/out")" "7 7"
	in_container true '.mounts += [{"destination": "/b", "type": "tmpfs", "source": "t", "options": ["idmap"]}]'
	check_eq "$status" 1
	check_contains "$T/err" '$.mounts['
}

test_masked_and_read_only_paths() {
	need_oci
	in_container 'cat /proc/keys | wc -c; ls /proc/acpi /sys/firmware | grep -v : | wc -w; echo 1 >/proc/sys/kernel/panic; touch /x' .
	check_eq "$(tr '\n' ' ' <"$T/out")" "0 0 "
	check_eq "$(grep -c 'Read-only file system' "$T/err")" 2
}

test_namespaces_new_and_by_path() {
	need_oci
	bundle a '.process.args = ["sleep", "60"] | .linux.namespaces += [{"type": "time"}] | .linux.timeOffsets = {"boottime": {"secs": 1000000}}'
	a=$(oci_id a)
	oci_ok run -d --bundle "$T/a" "$a"
	pid=$("$OCI" --root "$T/state" state "$a" | jq -r .pid)
	for ns in mnt net ipc uts pid cgroup time; do
		[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || fail "$ns is the host's"
	done
	[ "$(cut -d . -f 1 /proc/uptime)" -lt 1000000 ] || fail "this machine is up for long"
	oci_ok exec "$a" cut -d . -f 1 /proc/uptime
	[ "$(cat "$T/out")" -ge 1000000 ] || fail "boottime is not set"
	in_container 'for n in net ipc uts pid; do readlink /proc/self/ns/$n; done' "(.linux.namespaces[] | select(.type == \"network\")).path = \"/proc/$pid/ns/net\" | (.linux.namespaces[] | select(.type == \"ipc\")).path = \"/proc/$pid/ns/ipc\" | (.linux.namespaces[] | select(.type == \"pid\")).path = \"/proc/$pid/ns/pid\" | del(.linux.namespaces[] | select(.type == \"uts\")) | del(.hostname)"
	check_eq "$status" 0
	check_eq "$(tr '\n' ' ' <"$T/out")" "$(for n in net ipc; do readlink "/proc/$pid/ns/$n"; done | tr '\n' ' ')$(readlink /proc/self/ns/uts) $(readlink "/proc/$pid/ns/pid") "
	oci_ok delete -f "$a"
	check_nothing_left
}

test_a_user_namespace_with_maps() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	in_container 'id -u; cat /proc/self/uid_map | tr -s " "; touch /tmp/x; ls -l /dev/null; echo ok >/dev/null && echo written' '.linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 1000, "hostID": 200000, "size": 1}] | .linux.gidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}] | .mounts += [{"destination": "/tmp", "type": "tmpfs", "source": "t"}]'
	check_eq "$status" 0
	check_eq "$(head -n 1 "$T/out")" 0
	check_contains "$T/out" " 0 100000 1000"
	check_contains "$T/out" " 1000 200000 1"
	check_contains "$T/out" written
	check_nothing_left
}

test_a_user_namespace_that_is_joined_with_a_new_pid_namespace() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	user='.linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}] | .linux.gidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}]'
	bundle a "$user | .process.args = [\"sleep\", \"60\"]"
	a=$(oci_id a)
	oci_ok run -d --bundle "$T/a" "$a"
	pid=$("$OCI" --root "$T/state" state "$a" | jq -r .pid)
	in_container 'echo $$; id -u; readlink /proc/self/ns/user; readlink /proc/1/ns/pid; cat /proc/self/cgroup | head -n 1' ".linux.namespaces += [{\"type\": \"user\", \"path\": \"/proc/$pid/ns/user\"}]"
	check_eq "$status" 0
	check_eq "$(head -n 3 "$T/out" | tr '\n' ' ')" "1 0 $(readlink "/proc/$pid/ns/user") "
	[ "$(sed -n 4p "$T/out")" != "$(readlink "/proc/$pid/ns/pid")" ] || fail "the other's pid namespace"
	oci_ok exec "$a" id -u
	check_eq "$(cat "$T/out")" 0
	oci_ok delete -f "$a"
	check_nothing_left
}

test_sysctls_host_name_and_refusals() {
	need_oci
	in_container 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni; hostname' '.linux.sysctl = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"} | .hostname = "named"'
	check_eq "$(tr '\n' ' ' <"$T/out")" "1 77 named "
	in_container true '.linux.sysctl = {"kernel.panic": "1"}'
	check_eq "$status" 1
	check_contains "$T/err" "kernel.panic"
	in_container true 'del(.linux.namespaces[] | select(.type == "uts"))'
	check_eq "$status" 1
	check_contains "$T/err" "without a private UTS namespace"
}

test_seccomp_as_engines_write_it() {
	need_oci
	profile='.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33}]}'
	for nnp in true false; do
		in_container 'mkdir /tmp/x; grep ^Seccomp: /proc/self/status' "$profile | .process.noNewPrivileges = $nnp | .root.readonly = false"
		check_contains "$T/err" "Numerical argument out of domain" # EDOM is 33
		check_contains "$T/out" "2"
	done
	in_container 'echo $$; true; echo no' '.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"}, {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS"}]}'
	check_eq "$status" 0
}

test_devices() {
	need_oci
	in_container 'ls -l /dev/mine /dev/null /dev/ptmx; head -c 4 /dev/mine | wc -c; cat /dev/loop-control; head -c 1 /dev/kmsg' '.linux.devices = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 432, "uid": 0, "gid": 7}, {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 438}] | .linux.resources.devices = [{"allow": false, "access": "rwm"}]'
	check_matches "$T/out" '^crw-rw----.* 7 .* 1, *5 .*/dev/mine'
	check_matches "$T/out" '^4$'
	check_contains "$T/err" "/dev/kmsg: Operation not permitted"
}

test_limits_reach_the_groups() {
	need_oci
	bundle b '.process.args = ["sleep", "60"] | .linux.resources.memory = {"limit": 67108864} | .linux.resources.pids = {"limit": 17} | .linux.resources.cpu = {"shares": 512, "quota": 20000, "period": 100000}'
	c=$(oci_id c)
	oci_ok run -d -b "$T/b" "$c"
	group=$(find /sys/fs/cgroup -type d -name "$c" 2>/dev/null || :) # others' groups go meanwhile
	value() { for g in $group; do [ ! -e "$g/$1" ] || cat "$g/$1"; done; }
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		check_eq "$(value memory.max) $(value pids.max) $(value cpu.max)" "67108864 17 20000 100000"
	else
		check_eq "$(value memory.limit_in_bytes) $(value pids.max) $(value cpu.shares) $(value cpu.cfs_quota_us)" "67108864 17 512 20000"
	fi
	oci_ok update --memory 32m --pids-limit 9 "$c"
	echo '{"cpu": {"shares": 1024}}' >"$T/res"
	oci_ok update --resources "$T/res" "$c"
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		check_eq "$(value memory.max) $(value pids.max)" "33554432 9"
	else
		check_eq "$(value memory.limit_in_bytes) $(value pids.max) $(value cpu.shares)" "33554432 9 1024"
	fi
	oci_ok events --stats "$c"
	check jq -e '.type == "stats" and .data.pids.current == 1 and .data.memory.usage.usage > 0' "$T/out"
	oci_ok delete -f "$c"
	check_nothing_left
}

test_a_small_memory_limit_is_enough_to_start() {
	need_oci
	in_container 'echo here' '.linux.resources.memory = {"limit": 4194304}'
	check_eq "$(cat "$T/out")" here
}

test_descriptors() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "cat <&3; ls /proc/self/fd | tr \"\\n\" \" \""]'
	exec 3>&- 4>&-
	echo three >"$T/three"
	status=0
	"$OCI" --root "$T/state" run --preserve-fds 1 --bundle "$T/b" "$(oci_id f)" 3<"$T/three" 4</etc/passwd 5</ >"$T/out" 2>"$T/err" || status=$?
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" "three
0 1 2 3 4 " # 4 is ls's own
}

test_a_read_only_dev_has_its_devices() {
	need_oci
	in_container 'ls /dev/null && touch /dev/x' '(.mounts[] | select(.destination == "/dev")).options += ["ro"]'
	check_eq "$(cat "$T/out")" /dev/null
	check_contains "$T/err" "Read-only file system"
}

test_descriptors_of_systemd_and_the_affinity_of_exec() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3"]'
	echo three >"$T/three"
	LISTEN_FDS=1 "$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id f)" 3<"$T/three" >"$T/out"
	check_eq "$(tr '\n' ' ' <"$T/out")" "1 1 three "
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	oci_ok run -d --bundle "$T/b" "$c"
	echo '{"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "execCPUAffinity": {"initial": "0", "final": "0"}}' >"$T/process"
	oci_ok exec --process "$T/process" "$c"
	check_matches "$T/out" '[^0-9]0$'
	echo '{"args": ["true"], "cwd": "/", "execCPUAffinity": {"final": "3-x"}}' >"$T/process"
	oci exec --process "$T/process" "$c"
	check_contains "$T/err" '$.execCPUAffinity.final'
	oci_ok delete -f "$c"
	check_nothing_left
}

test_errors_name_the_key() {
	need_oci
	wrong() { # JQ-PROGRAM TEXT
		bundle b "$1"
		oci run -b "$T/b" "$(oci_id w)"
		check_eq "$status" 1
		check_contains "$T/err" "$2"
		check_eq "$(wc -l <"$T/err")" 1
	}
	wrong '.process.args = []' '$.process.args: args must not be empty'
	wrong '.process.cwd = "x"' '$.process.cwd'
	wrong '.linux.namespaces += [{"type": "pid"}]' '$.linux.namespaces['
	wrong '.linux.namespaces += [{"type": "bogus"}]' "'bogus'"
	wrong '.linux.uidMappings = [{"containerID": 0, "hostID": 0, "size": 1}]' 'need a new user namespace'
	wrong '.linux.resources.memory.limit = "x"' '$.linux.resources.memory.limit: expected an integer'
	wrong '.process.rlimits = [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]' '$.process.rlimits[0].type'
	wrong '.linux.intelRdt = {"closID": ".."}' '$.linux.intelRdt'
	wrong '.ociVersion = "2.0.0"' '$.ociVersion'
	wrong '.mounts[0].options = ["size=bogus"] | .mounts[0].type = "tmpfs"' 'size=bogus'
	wrong 'del(.root)' "'root'"
	bundle b '.unknown = 1 | .process.unknown = {} | .process.args = ["true"]'
	oci_ok run -b "$T/b" "$(oci_id w)"
	check_nothing_left
}

run_tests "$@"
