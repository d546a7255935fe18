#!/bin/sh
# runtime-spec, config-linux.md: control groups. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# A container that waits for start with these resources: its group is there, and nothing runs.
with() { # JQ-PROGRAM; the id in $c
	c=$(oci_id r)
	bundle r "$1 | .process.args = [\"sleep\", \"60\"]"
	oci_ok create --bundle "$T/r" "$c"
}
is() { # WANTED V1-CONTROLLER V1-FILE V2-FILE
	check_eq "$(group_file "$c" "$2" "$3" "$4")" "$1"
}
done_with() {
	oci_ok delete -f "$c"
	check_nothing_left
}
need_v2() { oci_v2 || skip_host "cgroup v1 here: this runs in the guest"; }
need_v1() { ! oci_v2 || skip_host "cgroup v2 here: this runs on hybrid machines"; }
top() { # the root of a hierarchy that processes are in
	if oci_v2; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/pids; fi
}

# ---- Path ----

test_an_absolute_path_is_below_the_mount_point() {
	need_oci
	c=$(oci_id c)
	bundle b ".process.args = [\"sleep\", \"60\"] | .linux.cgroupsPath = \"/fsbox-test-$$-top/$c\""
	oci_ok run -d --bundle "$T/b" "$c"
	check_eq "$(cat "$(top)/fsbox-test-$$-top/$c/cgroup.procs")" "$(oci_pid "$c")"
	oci_ok delete -f "$c"
	find /sys/fs/cgroup -depth -type d -name "fsbox-test-$$-top" -exec rmdir {} +
	check_nothing_left
}

test_the_same_path_is_the_same_place() {
	need_oci
	for path in "/$(oci_id p)" "$(oci_id q)"; do
		places=
		for round in 1 2; do
			c=$(oci_id c)
			bundle b ".process.args = [\"sleep\", \"60\"] | .linux.cgroupsPath = \"$path\""
			oci_ok run -d --bundle "$T/b" "$c"
			places="$places $(grep -E '(:pids:|^0::)' "/proc/$(oci_pid "$c")/cgroup" | md5sum)"
			oci_ok delete -f "$c"
		done
		check_eq "$(echo "$places" | tr -d ' -' | cut -c 1-32)" "$(echo "$places" | tr -d ' -' | cut -c 33-64)"
	done
	check_nothing_left
}

test_a_path_that_is_not_valid_is_an_error() {
	need_oci
	for path in ../up /../up /a/../../up /; do
		refused ".linux.cgroupsPath = \"$path\"" cgroup
	done
	check_nothing_left
}

test_a_group_with_processes_is_an_error() {
	need_oci
	a=$(oci_id a)
	bundle a ".process.args = [\"sleep\", \"60\"] | .linux.cgroupsPath = \"/$a\""
	oci_ok run -d --bundle "$T/a" "$a"
	refused ".linux.cgroupsPath = \"/$a\"" "not empty"
	check_eq "$(oci_status "$a")" running
	oci_ok delete -f "$a"
	check_nothing_left
}

test_a_frozen_group_is_an_error() {
	need_oci
	c=$(oci_id f)
	hierarchy=/sys/fs/cgroup
	oci_v2 || hierarchy=/sys/fs/cgroup/freezer
	[ -e "$hierarchy/cgroup.procs" ] || skip_host "no freezer"
	mkdir "$hierarchy/$c"
	if oci_v2; then echo 1 >"$hierarchy/$c/cgroup.freeze"; else echo FROZEN >"$hierarchy/$c/freezer.state"; fi
	bundle b ".linux.cgroupsPath = \"/$c\""
	run timeout 20 "$OCI" --root "$T/state" create --bundle "$T/b" "$c"
	said=$status
	[ -d "$hierarchy/$c" ] && rmdir "$hierarchy/$c"
	check_eq "$said" 1
	check_contains "$T/err" frozen
	check_nothing_left
}

# ---- Ownership ----

owners() { # of the container's group and its files
	find /sys/fs/cgroup \( -path "*/$c" -o -path "*/$c/*" \) -exec stat -c %u {} + | sort -u | tr '\n' ' '
}

test_on_v1_nobody_else_comes_to_own_the_group() {
	need_oci
	need_v1
	with '.process.user.uid = 1000 | (.mounts[] | select(.type == "cgroup")).options -= ["ro"]'
	check_eq "$(owners)" "0 "
	done_with
}

test_a_read_only_or_absent_mount_gives_nobody_the_group() {
	need_oci
	with '.process.user.uid = 1000'
	check_eq "$(owners)" "0 "
	done_with
	with '.process.user.uid = 1000 | del(.mounts[] | select(.type == "cgroup"))'
	check_eq "$(owners)" "0 "
	done_with
}

test_without_a_new_cgroup_namespace_nobody_gets_the_group() {
	need_oci
	with '.process.user.uid = 1000 | del(.linux.namespaces[] | select(.type == "cgroup")) | (.mounts[] | select(.type == "cgroup")).options -= ["ro"]'
	check_eq "$(owners)" "0 "
	done_with
}

test_on_v2_the_user_of_a_writable_mount_gets_the_group() {
	need_oci
	need_v2
	with '.process.user.uid = 1000 | (.mounts[] | select(.type == "cgroup")).options -= ["ro"]'
	group=$(find /sys/fs/cgroup -type d -name "$c")
	check_eq "$(stat -c %u "$group")" 1000
	for file in "$group"/*; do
		wanted=0
		! grep -qx "${file##*/}" /sys/kernel/cgroup/delegate || wanted=1000
		check_eq "${file##*/} $(stat -c %u "$file")" "${file##*/} $wanted"
	done
	done_with
}

# ---- Devices ----

test_rules_of_devices_hold_in_the_listed_order() {
	need_oci
	deny='{"allow": false, "access": "rwm"}'
	# Default devices are allowed whatever the list says, and so is making nodes: 1:11 shows what a list does.
	rule() { # JQ-VALUE: whether /dev/kmsg can be read and written
		in_container 'busybox mknod /tmp/k c 1 11; { : </tmp/k; } 2>/dev/null && echo r; { : >>/tmp/k; } 2>/dev/null && echo w; true' ".process.capabilities |= map_values(. + [\"CAP_MKNOD\", \"CAP_SYSLOG\"]) | .mounts += [{\"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"t\"}] | .linux.resources.devices = $1"
		tr -d '\n' <"$T/out"
	}
	check_eq "$(rule "[$deny]")" ""
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"c\", \"major\": 1, \"minor\": 11, \"access\": \"rwm\"}]")" rw
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"c\", \"major\": 1, \"minor\": 11, \"access\": \"rm\"}]")" r
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"c\", \"major\": 1, \"minor\": 11, \"access\": \"rwm\"}, {\"allow\": false, \"type\": \"c\", \"major\": 1, \"minor\": 11, \"access\": \"w\"}]")" r
	check_eq "$(rule "[{\"allow\": true, \"type\": \"c\", \"major\": 1, \"minor\": 11, \"access\": \"rwm\"}, $deny]")" ""
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"c\", \"access\": \"rwm\"}]")" rw
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"b\", \"access\": \"rwm\"}]")" ""
	check_eq "$(rule '[{"allow": true, "access": "rwm"}]')" rw
	check_eq "$(rule "[$deny, {\"allow\": true, \"type\": \"a\", \"access\": \"rwm\"}]")" rw
	refused '.linux.resources.devices = [{"access": "rwm"}]' allow
	check_nothing_left
}

# ---- Memory, CPU, processes ----

test_memory_limits_are_set() {
	need_oci
	with '.linux.resources.memory = {"limit": 67108864, "reservation": 33554432}'
	is 67108864 memory memory.limit_in_bytes memory.max
	is 33554432 memory memory.soft_limit_in_bytes memory.low
	done_with
	with '.linux.resources.memory = {"limit": -1}'
	if oci_v2; then is max memory memory.limit_in_bytes memory.max; else is 9223372036854771712 memory memory.limit_in_bytes memory.max; fi
	done_with
}

test_memory_and_swap_are_set() {
	need_oci
	[ -e /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes ] || oci_v2 || skip_host "no accounting of swap"
	with '.linux.resources.memory = {"limit": 67108864, "swap": 100663296}'
	is "$(if oci_v2; then echo 33554432; else echo 100663296; fi)" memory memory.memsw.limit_in_bytes memory.swap.max
	done_with
}

test_memory_settings_of_v1_are_set_or_errors() {
	need_oci
	if oci_v2; then
		refused '.linux.resources.memory = {"swappiness": 33}' swappiness
		refused '.linux.resources.memory = {"disableOOMKiller": true}' disableOOMKiller
	else
		with '.linux.resources.memory = {"swappiness": 33, "disableOOMKiller": true}'
		is 33 memory memory.swappiness -
		check_contains "$(find /sys/fs/cgroup/memory -path "*/$c/memory.oom_control")" "oom_kill_disable 1"
		done_with
	fi
	refused '.linux.resources.memory = {"swappiness": 101}' swappiness
}

# The limit is one that it uses more than.
test_a_limit_below_the_use_is_rejected_when_asked_to() {
	need_oci
	c=$(oci_id m)
	bundle b '.process.args = ["sh", "-c", "head -c 20000000 /dev/zero >/m/x; : >/m/done; sleep 60"] | .linux.resources.memory = {"limit": 67108864} | .mounts += [{"destination": "/m", "type": "tmpfs", "source": "t"}]'
	oci_ok run -d --bundle "$T/b" "$c"
	for limit_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -e "/proc/$(oci_pid "$c")/root/m/done" ] || break
		command sleep 0.1
	done
	echo '{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}' >"$T/r"
	oci update --resources "$T/r" "$c"
	check_eq "$status" 1
	is 67108864 memory memory.limit_in_bytes memory.max
	check_eq "$(oci_status "$c")" running
	oci_ok delete -f "$c"
}

test_shares_quota_and_cpus_are_set() {
	need_oci
	with '.linux.resources.cpu = {"shares": 2048, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"}'
	if oci_v2; then
		is "20000 50000" - - cpu.max
		is 0 - - cpuset.cpus
	else
		is 2048 cpu cpu.shares -
		is 20000 cpu cpu.cfs_quota_us -
		is 50000 cpu cpu.cfs_period_us -
		is 0 cpuset cpuset.cpus -
		is 0 cpuset cpuset.mems -
	fi
	done_with
}

test_idle_is_set() {
	need_oci
	with '.linux.resources.cpu = {"idle": 1}'
	is 1 cpu cpu.idle cpu.idle
	done_with
	refused '.linux.resources.cpu = {"idle": 2}' idle
}

test_burst_is_set_and_not_above_the_quota() {
	need_oci
	with '.linux.resources.cpu = {"quota": 20000, "period": 50000, "burst": 10000}'
	is 10000 cpu cpu.cfs_burst_us cpu.max.burst
	done_with
	refused '.linux.resources.cpu = {"quota": 20000, "period": 50000, "burst": 30000}' burst
	check_nothing_left
}

test_the_number_of_processes_is_set() {
	need_oci
	with '.linux.resources.pids = {"limit": 17}'
	is 17 pids pids.max pids.max
	done_with
	with '.linux.resources.pids = {"limit": -1}'
	is max pids pids.max pids.max
	done_with
}

test_no_processes_is_a_limit_of_its_own() {
	need_oci
	with '.linux.resources.pids = {"limit": 0}'
	is 0 pids pids.max pids.max
	done_with
}

# ---- The other controllers ----

disk() { # MAJOR:MINOR of a disk
	for device in /sys/block/[svn][dvm]*/dev; do
		[ ! -e "$device" ] || {
			cat "$device"
			return
		}
	done
}

test_throttles_of_disks_are_set() {
	need_oci
	d=$(disk)
	[ -n "$d" ] || skip_host "no disk"
	entry() { echo "[{\"major\": ${d%%:*}, \"minor\": ${d#*:}, \"rate\": $1}]"; }
	with ".linux.resources.blockIO = {\"throttleReadBpsDevice\": $(entry 1048576), \"throttleWriteBpsDevice\": $(entry 2097152), \"throttleReadIOPSDevice\": $(entry 100), \"throttleWriteIOPSDevice\": $(entry 200)}"
	if oci_v2; then
		is "$d rbps=1048576 wbps=2097152 riops=100 wiops=200" - - io.max
	else
		is "$d 1048576" blkio blkio.throttle.read_bps_device -
		is "$d 2097152" blkio blkio.throttle.write_bps_device -
		is "$d 100" blkio blkio.throttle.read_iops_device -
		is "$d 200" blkio blkio.throttle.write_iops_device -
	fi
	done_with
}

test_an_entry_about_a_disk_is_whole() {
	need_oci
	refused '.linux.resources.blockIO = {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}' rate
	refused '.linux.resources.blockIO = {"throttleReadBpsDevice": [{"major": 8, "rate": 1}]}' minor
	refused '.linux.resources.blockIO = {"weightDevice": [{"major": 8, "minor": 0}]}' weight
	refused '.linux.resources.hugepageLimits = [{"pageSize": "2MB"}]' limit
	refused '.linux.resources.network = {"priorities": [{"name": "lo"}]}' priority
	check_nothing_left
}

has_controller() {
	[ -e "/sys/fs/cgroup/$1" ] || grep -qw "$1" /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null
}

# What a machine has no controller for is not taken in silence.
test_a_limit_without_its_controller_is_an_error() {
	need_oci
	has_controller hugetlb || refused '.linux.resources.hugepageLimits = [{"pageSize": "2MB", "limit": 4194304}]' hugetlb
	[ -e /sys/fs/cgroup/net_cls ] || refused '.linux.resources.network = {"classID": 1048577}' net_cls
	[ -e /sys/fs/cgroup/net_prio ] || refused '.linux.resources.network = {"priorities": [{"name": "lo", "priority": 5}]}' net_prio
	check_nothing_left
}

# Wherever the controller is.
unified_is() { # WANTED FILE
	check_eq "$(find /sys/fs/cgroup -path "*/$c/$2" -exec cat {} +)" "$1"
}

test_limits_of_huge_pages_are_set() {
	need_oci
	has_controller hugetlb || skip_host "no hugetlb"
	with '.linux.resources.hugepageLimits = [{"pageSize": "2MB", "limit": 4194304}]'
	if [ -e /sys/fs/cgroup/hugetlb ]; then
		unified_is 4194304 hugetlb.2MB.limit_in_bytes
	else
		unified_is 4194304 hugetlb.2MB.max
		unified_is 4194304 hugetlb.2MB.rsvd.max
	fi
	done_with
	refused '.linux.resources.hugepageLimits = [{"pageSize": "3MB", "limit": 4194304}]' 3MB
	check_nothing_left
}

# ---- Unified ----

test_files_of_the_unified_hierarchy_are_written() {
	need_oci
	controllers=$(cat /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null || :)
	[ -n "$controllers" ] || skip_host "cgroup v2 has no controllers here"
	for controller in $controllers; do # enabled for the group, whichever it is
		case $controller in
		memory) file=memory.high value=33554432 ;;
		pids) file=pids.max value=55 ;;
		hugetlb) file=hugetlb.2MB.max value=4194304 ;;
		*) continue ;;
		esac
		with ".linux.resources.unified = {\"$file\": \"$value\", \"cgroup.max.depth\": \"7\"}"
		unified_is "$value" "$file"
		unified_is 7 cgroup.max.depth # of no controller, and in no table of the runtime
		done_with
	done
}

test_a_controller_that_is_not_there_is_an_error() {
	need_oci
	refused '.linux.resources.unified = {"nosuch.max": "1"}' nosuch
	refused '.linux.resources.unified = {"../x": "1"}' '../x'
	oci_v2 || refused '.linux.resources.unified = {"memory.high": "33554432"}' memory
	check_nothing_left
}

run_tests "$@"
