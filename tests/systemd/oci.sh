#!/bin/sh
# shellcheck disable=SC2086 # units and groups have no blanks
# fsbox-oci with systemd's cgroup driver: containers in transient scopes, their limits as properties and as files, and nothing
# left of them. Needs systemd as PID 1: the guest tier has it.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
ROOT=/sys/fs/cgroup

sd() { # as oci(), with the driver
	run "$OCI" --root "$T/state" --systemd-cgroup "$@"
}
sd_ok() {
	sd "$@"
	check_eq "$status" 0
}
sleeper() { # ID CGROUPSPATH [JQ-PROGRAM]: a container that runs
	bundle "$1" ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"$2\" | ${3:-.}"
	sd_ok create --bundle "$T/$1" "$1"
	sd_ok start "$1"
}
shows() { # UNIT PROPERTY VALUE
	check_eq "$(systemctl show -P "$2" "$1")" "$3"
}
check_missing() { # PATH
	[ ! -e "$1" ] || fail "$1 is still there"
}
gone() { # UNIT GROUP
	check_eq "$(systemctl show -P LoadState "$1")" not-found
	check_eq "$(systemctl list-units --all --no-legend "$1")" ""
	check_missing "$2"
}

test_run_is_in_a_scope_of_its_own_and_nothing_is_left() {
	need_oci
	bundle r '.process.args = ["cat", "/proc/self/cgroup"] | .linux.namespaces -= [{"type":"cgroup"}]'
	sd_ok run --bundle "$T/r" plain
	check_eq "$(cat "$T/out")" "0::/system.slice/fsbox-oci-plain.scope"
	gone fsbox-oci-plain.scope $ROOT/system.slice/fsbox-oci-plain.scope
	bundle r '.process.args = ["sh", "-c", "exit 3"]'
	sd run --bundle "$T/r" plain
	check_eq "$status" 3
	gone fsbox-oci-plain.scope $ROOT/system.slice/fsbox-oci-plain.scope
}

test_the_cgroup_namespace_begins_at_the_scope() {
	bundle r '.process.args = ["sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/pids.max"]
		| .linux.cgroupsPath = "machine.slice:p:ns" | .linux.resources.pids.limit = 33
		| .linux.namespaces = [.linux.namespaces[] | select(.type != "cgroup")] + [{"type":"cgroup"}]
		| .mounts += [{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro","nosuid"]}]'
	sd_ok run --bundle "$T/r" ns
	check_eq "$(tr '\n' ' ' <"$T/out")" "0::/ 33 "
}

test_limits_are_properties_and_files() {
	sleeper lim machine.slice:p:lim '.linux.resources = {memory: {limit: 67108864, reservation: 33554432, swap: 67108864},
		cpu: {shares: 1024, quota: 25000, period: 50000, cpus: "0"}, pids: {limit: 44},
		devices: [{allow: false}, {allow: true, type: "c", major: 10, minor: 229, access: "rw"}]}'
	u=p-lim.scope g=$ROOT/machine.slice/p-lim.scope
	shows $u Slice machine.slice
	shows $u Delegate yes
	shows $u MemoryMax 67108864
	shows $u MemoryLow 33554432
	shows $u MemorySwapMax 0
	shows $u CPUQuotaPerSecUSec 500ms
	shows $u CPUQuotaPeriodUSec 50ms
	shows $u TasksMax 44
	shows $u AllowedCPUs 0
	shows $u DevicePolicy strict
	shows $u Description "fsbox-oci container lim"
	systemctl show -p DeviceAllow $u >"$T/devices"
	check_contains "$T/devices" "/dev/char/10:229 rw"
	weight=$(systemctl show -P CPUWeight $u)
	check_eq "$weight" "$(cat $g/cpu.weight)"
	check_eq "$(cat $g/memory.max $g/memory.low $g/memory.swap.max $g/pids.max $g/cpuset.cpus | tr '\n' ' ')" \
		"67108864 33554432 0 44 0 "
	check_eq "$(cat $g/cpu.max)" "25000 50000"
	# systemd writes its own again, and it is the same
	check systemctl daemon-reload
	check_eq "$(cat $g/memory.max $g/pids.max $g/cpu.weight | tr '\n' ' ')" "67108864 44 $weight "
	check_eq "$(cat $g/cpu.max)" "25000 50000"
	sd_ok update --memory 134217728 --memory-swap 134217728 --pids-limit 55 --cpu-quota 50000 lim
	shows $u MemoryMax 134217728
	shows $u TasksMax 55
	check_eq "$(cat $g/memory.max $g/pids.max | tr '\n' ' ')" "134217728 55 "
	check systemctl daemon-reload
	check_eq "$(cat $g/memory.max $g/pids.max | tr '\n' ' ')" "134217728 55 "
	sd_ok delete --force lim
	gone $u $g
}

# Later commands need no option: the state knows.
test_exec_pause_resume_kill_delete_find_the_group() {
	sleeper life machine.slice:p:life
	u=p-life.scope g=$ROOT/machine.slice/p-life.scope
	oci_ok exec life sh -c 'echo in'
	check_eq "$(cat "$T/out")" in
	oci_ok exec --detach --pid-file "$T/pid" life sleep 600
	check_eq "$(cat "/proc/$(cat "$T/pid")/cgroup")" "0::/machine.slice/p-life.scope"
	oci_ok ps --format json life
	check_eq "$(jq length "$T/out")" 2
	oci_ok pause life
	check_eq "$(oci_status life)" paused
	check_eq "$(cat $g/cgroup.freeze)" 1
	oci_ok resume life
	check_eq "$(oci_status life)" running
	oci_ok kill life KILL
	wait_status life stopped
	oci_ok delete life
	gone $u $g
	check_eq "$(ls "$T/state")" ""
}

test_slices_are_nested() {
	sleeper nest fsa-fsb-fsc.slice:p:nest
	check_eq "$(jq -r .cgroup "$T/state/nest/state.json")" /fsa.slice/fsa-fsb.slice/fsa-fsb-fsc.slice/p-nest.scope
	pid=$(oci state nest && jq .pid "$T/out")
	check_eq "$(cat "/proc/$pid/cgroup")" "0::/fsa.slice/fsa-fsb.slice/fsa-fsb-fsc.slice/p-nest.scope"
	sd_ok delete --force nest
	sleeper top -:p:top
	pid=$(oci state top && jq .pid "$T/out")
	check_eq "$(cat "/proc/$pid/cgroup")" "0::/p-top.scope"
	sd_ok delete --force top
	gone p-top.scope $ROOT/p-top.scope
}

test_annotations_are_properties() {
	sleeper note system.slice:p:note '.annotations = {"org.systemd.property.TimeoutStopSec": "7",
		"org.systemd.property.CollectMode": "\u0027inactive-or-failed\u0027", "org.systemd.property.Before": "[\u0027x.service\u0027]"}'
	shows p-note.scope TimeoutStopUSec 7s
	shows p-note.scope CollectMode inactive-or-failed
	systemctl show -p Before p-note.scope >"$T/before"
	check_contains "$T/before" x.service
	sd_ok delete --force note
	bundle bad '.annotations = {"org.systemd.property.TimeoutStopSec": "soon"}'
	sd create --bundle "$T/bad" bad
	check_eq "$status" 1
	check_contains "$T/err" 'org.systemd.property.TimeoutStopSec'
	bundle bad '.annotations = {"org.systemd.property.NoSuchThing": "1"}'
	sd create --bundle "$T/bad" bad
	check_eq "$status" 1
	check_contains "$T/err" 'NoSuchThing'
	check_eq "$(wc -l <"$T/err")" 1
	check_eq "$(ls "$T/state")" ""
}

test_a_unit_of_somebody_else_is_left_alone() {
	check systemd-run --quiet --scope --slice=machine.slice --unit=p-mine.scope sleep 600 &
	wait_until $ROOT/machine.slice/p-mine.scope there
	bundle taken '.linux.cgroupsPath = "machine.slice:p:mine"'
	sd create --bundle "$T/taken" taken
	check_eq "$status" 1
	check_contains "$T/err" 'is not empty'
	# the same name elsewhere: systemd refuses
	bundle taken '.linux.cgroupsPath = "other.slice:p:mine"'
	sd create --bundle "$T/taken" taken
	check_eq "$status" 1
	check_contains "$T/err" 'p-mine.scope'
	check_eq "$(ls "$T/state")" ""
	# a create that fails before systemd is asked stops nothing
	bundle taken '.linux.cgroupsPath = "other.slice:p:mine"
		| .mounts += [{"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"]}]'
	sd create --bundle "$T/taken" taken
	check_eq "$status" 1
	check_contains "$T/err" '/no/such/source'
	sd_ok delete --force taken
	shows p-mine.scope ActiveState active
	check systemctl stop p-mine.scope
}

test_a_failed_unit_makes_way() {
	# A scope fails when its processes do not end in time.
	cat >"$T/stubborn" <<-'END'
		trap '' TERM
		: >"$1"
		while :; do sleep 1; done
	END
	systemd-run --quiet --scope --slice=machine.slice --unit=p-failed.scope -p TimeoutStopSec=1 sh "$T/stubborn" "$T/ready" &
	wait_until "$T/ready" there
	systemctl stop p-failed.scope
	shows p-failed.scope ActiveState failed
	sleeper failed machine.slice:p:failed
	shows p-failed.scope ActiveState active
	sd_ok delete --force failed
	gone p-failed.scope $ROOT/machine.slice/p-failed.scope
}

test_running_out_of_memory_leaves_nothing_failed() {
	sleeper oom machine.slice:p:oom '.process.args = ["sh", "-c", "sleep 1; head -c 100000000 /dev/zero | tail -c 90000000"]
		| .linux.resources.memory = {limit: 16777216, swap: 16777216}'
	wait_status oom stopped
	oci_ok delete oom
	gone p-oom.scope $ROOT/machine.slice/p-oom.scope
}

test_a_maker_that_is_killed_leaves_what_delete_force_removes() {
	bundle k '.process.args = ["sleep", "600"] | .linux.cgroupsPath = "machine.slice:p:k"'
	for delay in 0 5 10 20 30 40 60 80 120 200; do
		"$OCI" --root "$T/state" --systemd-cgroup create --bundle "$T/k" k >/dev/null 2>&1 </dev/null &
		maker=$!
		command sleep "$(awk "BEGIN { print $delay * ${FSBOX_SLOWER:-1} / 1000 }")"
		kill -KILL $maker 2>/dev/null || :
		wait $maker 2>/dev/null || :
		sd_ok delete --force k
		wait_until $ROOT/machine.slice/p-k.scope gone
		check_eq "$(ls "$T/state" 2>/dev/null)" ""
	done
	gone p-k.scope $ROOT/machine.slice/p-k.scope
}

test_no_description_of_the_units_path_is_refused() {
	bundle p '.linux.cgroupsPath = "/a/b"'
	sd create --bundle "$T/p" p
	check_eq "$status" 1
	check_contains "$T/err" 'slice:prefix:name'
	bundle p '.linux.cgroupsPath = "machine.slice:p:x.slice"'
	sd create --bundle "$T/p" p
	check_eq "$status" 1
	check_contains "$T/err" 'do not live in slices'
}

# config-linux.md, "Cgroup ownership".
test_the_group_is_the_containers_own_where_it_sees_it_as_its_root() {
	userns='.linux.namespaces = [.linux.namespaces[] | select(.type != "cgroup")] + [{"type":"user"}, {"type":"cgroup"}]
		| .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] | .linux.gidMappings = .linux.uidMappings'
	rw='.mounts = [.mounts[] | select(.destination != "/sys/fs/cgroup")]
		+ [{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev"]}]'
	for driver in cgroupfs systemd; do
		case $driver in
		systemd) path=machine.slice:p:own g=$ROOT/machine.slice/p-own.scope ;;
		*) path=/fsbox-own g=$ROOT/fsbox-own ;;
		esac
		bundle own ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"$path\" | $userns | $rw"
		chmod 755 "$TAP_DIR" "$T"
		chown -R 200000:200000 "$T/rootfs"
		oci_ok --cgroup-manager $driver run --detach --bundle "$T/own" own
		check_eq "$(stat -c %u $g $g/cgroup.procs $g/cgroup.subtree_control $g/memory.max | tr '\n' ' ')" "200000 200000 200000 0 "
		oci_ok exec own sh -c 'mkdir /sys/fs/cgroup/sub && echo 0 >/sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup'
		check_eq "$(cat "$T/out")" "0::/sub"
		oci_ok delete --force own
		check_missing $g
		# read-only, or nobody's namespace: root's
		bundle own ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"$path\" | $userns | $rw | .mounts[-1].options += [\"ro\"]"
		oci_ok --cgroup-manager $driver run --detach --bundle "$T/own" own
		check_eq "$(stat -c %u $g)" 0
		oci_ok delete --force own
	done
	chown -R 0:0 "$T/rootfs"
}

test_a_restored_container_has_a_scope_again() {
	"$OCI" --version | grep -q '+CRIU' || skip "no CRIU (make criu)"
	# CRIU interrupts a sleep, and newer busyboxes' sleep ends with that.
	sleeper back machine.slice:p:back '.linux.resources.pids.limit = 66 | .process.args = ["sh", "-c", "while :; do sleep 1; done"]'
	oci_ok checkpoint --image-path "$T/img" --work-path "$T/work" back
	oci_ok delete back
	gone p-back.scope $ROOT/machine.slice/p-back.scope
	sd_ok restore --detach --bundle "$T/back" --image-path "$T/img" --work-path "$T/work" back
	check_eq "$(oci_status back)" running
	pid=$(oci state back && jq .pid "$T/out")
	check_eq "$(cat "/proc/$pid/cgroup")" "0::/machine.slice/p-back.scope"
	check grep -qx "$pid" $ROOT/machine.slice/p-back.scope/cgroup.procs
	shows p-back.scope TasksMax 66
	check_eq "$(cat $ROOT/machine.slice/p-back.scope/pids.max)" 66
	sd_ok delete --force back
	gone p-back.scope $ROOT/machine.slice/p-back.scope
}

test_features_and_version_tell_of_the_driver() {
	oci_ok features
	check_eq "$(jq -c '[.linux.cgroup.systemd, .linux.cgroup.systemdUser]' "$T/out")" '[true,true]'
	run "$OCI" --version
	check_contains "$T/out" '+SYSTEMD'
}
run_tests
