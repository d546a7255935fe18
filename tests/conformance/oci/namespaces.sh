#!/bin/sh
# runtime-spec, config-linux.md: default file systems, namespaces, id maps, time offsets, devices. Which sentence each test
# stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

test_the_default_file_systems_are_there() {
	need_oci
	in_container 'awk "{ print \$5, \$0 }" /proc/self/mountinfo' .
	for wanted in '/proc .* - proc ' '/sys .* - sysfs ' '/dev/pts .* - devpts ' '/dev/shm .* - tmpfs '; do
		check_matches "$T/out" "^$wanted"
	done
}

# ---- Namespaces ----

# The eight types with their names below /proc/PID/ns.
TYPES="pid:pid network:net mount:mnt ipc:ipc uts:uts user:user cgroup:cgroup time:time"
user_maps='.linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] | .linux.gidMappings = .linux.uidMappings'

test_every_type_without_a_path_is_a_new_one() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	for of in $TYPES; do
		in_container "readlink /proc/self/ns/${of#*:}" "$user_maps | del(.linux.namespaces[] | select(.type == \"${of%%:*}\")) | .linux.namespaces += [{\"type\": \"${of%%:*}\"}] | if (.linux.namespaces | any(.type == \"user\")) then . else del(.linux.uidMappings, .linux.gidMappings) end"
		check_eq "$status" 0
		[ "$(cat "$T/out")" != "$(readlink "/proc/self/ns/${of#*:}")" ] || fail "${of%%:*} is the host's"
	done
}

test_a_type_that_is_not_listed_is_inherited() {
	need_oci
	for of in $TYPES; do
		[ "$of" != mount:mnt ] || continue
		in_container "readlink /proc/self/ns/${of#*:}" "del(.linux.namespaces[] | select(.type == \"${of%%:*}\")) | if \"${of%%:*}\" == \"uts\" then del(.hostname) else . end | if \"${of%%:*}\" == \"network\" then (.mounts[] | select(.type == \"sysfs\")) = {\"destination\": \"/sys\", \"source\": \"/sys\", \"options\": [\"rbind\", \"ro\"]} else . end"
		check_eq "$status" 0
		check_eq "$(cat "$T/out")" "$(readlink "/proc/self/ns/${of#*:}")"
	done
}

# The one type that must be listed: without it every mount would be the host's. See cases.tsv.
test_no_mount_namespace_is_refused_and_mounts_nothing() {
	need_oci
	findmnt -rn >"$T/before"
	refused 'del(.linux.namespaces[] | select(.type == "mount"))' "mount namespace"
	findmnt -rn >"$T/after"
	check cmp "$T/before" "$T/after"
}

test_a_path_is_the_namespace_that_is_entered() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	a=$(oci_id a)
	bundle a "$user_maps | .linux.namespaces += [{\"type\": \"user\"}, {\"type\": \"time\"}] | .process.args = [\"sleep\", \"60\"]"
	oci_ok run -d --bundle "$T/a" "$a"
	pid=$(oci_pid "$a")
	for of in network:net ipc:ipc uts:uts cgroup:cgroup pid:pid time:time; do
		in_container "readlink /proc/self/ns/${of#*:}" "del(.hostname) | del(.linux.namespaces[] | select(.type == \"${of%%:*}\")) | .linux.namespaces += [{\"type\": \"${of%%:*}\", \"path\": \"/proc/$pid/ns/${of#*:}\"}, {\"type\": \"user\", \"path\": \"/proc/$pid/ns/user\"}]"
		check_eq "$status" 0
		check_eq "$(cat "$T/out")" "$(readlink "/proc/$pid/ns/${of#*:}")"
	done
	oci_ok delete -f "$a"
}

test_a_path_to_another_type_is_an_error() {
	need_oci
	for of in $TYPES; do
		wrong=uts
		[ "$of" != uts:uts ] || wrong=ipc
		refused "del(.linux.namespaces[] | select(.type == \"${of%%:*}\")) | .linux.namespaces += [{\"type\": \"${of%%:*}\", \"path\": \"/proc/self/ns/$wrong\"}]" "namespace"
	done
	refused '(.linux.namespaces[] | select(.type == "network")).path = "/etc/passwd"' /etc/passwd
	refused '(.linux.namespaces[] | select(.type == "network")).path = "/nosuch"' /nosuch
}

test_a_path_is_absolute() {
	need_oci
	cd /proc/self/ns || return 1
	refused '(.linux.namespaces[] | select(.type == "network")).path = "net"' "not absolute"
}

test_a_type_twice_is_an_error() {
	need_oci
	for of in pid:pid network:net mount:mnt ipc:ipc uts:uts cgroup:cgroup; do
		refused ".linux.namespaces += [{\"type\": \"${of%%:*}\"}]" '$.linux.namespaces['
	done
	refused '.linux.namespaces += [{"type": "bogus"}]' bogus
	refused '.linux.namespaces += [{}]' type
}

# ---- Id maps and clocks ----

test_id_maps_are_the_configured_ones() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	in_container 'for m in uid gid; do awk "{ print \$1, \$2, \$3 }" /proc/self/${m}_map; done' '.linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 1000, "hostID": 300000, "size": 5}] | .linux.gidMappings = [{"containerID": 0, "hostID": 200000, "size": 77}]'
	check_eq "$(tr '\n' ';' <"$T/out")" "0 100000 1000;1000 300000 5;0 200000 77;"
	refused '.linux.uidMappings = [{"containerID": 0, "hostID": 0, "size": 1}]' "new user namespace"
	refused '.linux.namespaces += [{"type": "user"}]' uidMappings
	for missing in containerID hostID size; do
		refused ".linux.namespaces += [{\"type\": \"user\"}] | .linux.uidMappings = [{\"containerID\": 0, \"hostID\": 1, \"size\": 1} | del(.$missing)]" "$missing"
	done
}

test_id_maps_change_no_owner() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	mkdir "$T/src"
	echo >"$T/src/file"
	rootfs "$T/rootfs"
	(cd "$T" && find rootfs src -exec stat -c '%n %u %g' {} + | sort) >"$T/before"
	in_container true "$user_maps | .linux.namespaces += [{\"type\": \"user\"}] | .mounts += [{\"destination\": \"/tmp\", \"source\": \"$T/src\", \"options\": [\"bind\"]}]"
	check_eq "$status" 0
	(cd "$T" && find rootfs src -exec stat -c '%n %u %g' {} + | sort) >"$T/after"
	check cmp "$T/before" "$T/after"
}

test_offsets_of_clocks_are_the_configured_ones() {
	need_oci
	in_container 'cat /proc/self/timens_offsets' '.linux.namespaces += [{"type": "time"}] | .linux.timeOffsets = {"monotonic": {"secs": 172800, "nanosecs": 5}, "boottime": {"secs": 604800}}'
	check_matches "$T/out" '^monotonic +172800 +5$'
	check_matches "$T/out" '^boottime +604800 +0$'
	refused '.linux.timeOffsets = {"boottime": {"secs": 1}}' timeOffsets
}

# ---- Devices ----

test_listed_devices_are_made_as_configured() {
	need_oci
	in_container 'stat -c "%n %F %t:%T %a %u %g" /dev/char /deep/er/char /dev/pipe /dev/disk /dev/unbuffered' '.root.readonly = false | .linux.devices = [
		{"path": "/dev/char", "type": "c", "major": 1, "minor": 5, "fileMode": 432, "uid": 7, "gid": 8},
		{"path": "/deep/er/char", "type": "c", "major": 1, "minor": 3},
		{"path": "/dev/pipe", "type": "p", "fileMode": 384},
		{"path": "/dev/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 400},
		{"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 7}]'
	check_eq "$status" 0
	check_contains "$T/out" "/dev/char character special file 1:5 660 7 8"
	check_contains "$T/out" "/deep/er/char character special file 1:3"
	check_contains "$T/out" "/dev/pipe fifo 0:0 600"
	check_contains "$T/out" "/dev/disk block special file 7:0 620"
	check_contains "$T/out" "/dev/unbuffered character special file 1:7"
	refused '.linux.devices = [{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]' path
	refused '.linux.devices = [{"path": "/dev/x", "major": 1, "minor": 3}]' type
	refused '.linux.devices = [{"path": "/dev/x", "type": "c", "minor": 3}]' '$.linux.devices[0]'
	refused '.linux.devices = [{"path": "/dev/x", "type": "b", "major": 7}]' '$.linux.devices[0]'
}

test_a_file_that_does_not_match_the_device_is_an_error() {
	need_oci
	rootfs "$T/rootfs"
	echo >"$T/rootfs/plain"
	mknod "$T/rootfs/other" c 1 3
	mknod "$T/rootfs/same" c 1 5
	refused '.linux.devices = [{"path": "/plain", "type": "c", "major": 1, "minor": 5}]' /plain
	refused '.linux.devices = [{"path": "/other", "type": "c", "major": 1, "minor": 5}]' /other
	in_container 'head -c 2 /same | wc -c' '.linux.devices = [{"path": "/same", "type": "c", "major": 1, "minor": 5}]'
	check_eq "$(cat "$T/out")" 2
}

test_the_default_devices_are_there() {
	need_oci
	in_container 'for d in null zero full random urandom tty; do stat -c "%n %F %t:%T %a" /dev/$d; done; readlink /dev/ptmx; head -c 3 /dev/zero | wc -c; echo x >/dev/null && echo written; head -c 5 /dev/urandom | wc -c' .
	check_eq "$(head -n 6 "$T/out" | tr '\n' ';')" "$(for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do echo "/dev/${d%%:*} character special file ${d#*:} 666"; done | tr '\n' ';')"
	check_eq "$(sed -n '7,$p' "$T/out" | tr '\n' ' ')" "pts/ptmx 3 written 5 "
}

test_default_devices_are_there_in_a_user_namespace() {
	need_oci
	chmod 755 "$TAP_DIR" "$T"
	in_container 'for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; echo x >/dev/null && echo written' "$user_maps | .linux.namespaces += [{\"type\": \"user\"}]"
	check_eq "$(tr '\n' ' ' <"$T/out")" "null zero full random urandom tty written "
}

test_devices_that_are_not_listed_cannot_be_used() {
	need_oci
	in_container 'busybox mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg' '.process.capabilities |= map_values(. + ["CAP_MKNOD"]) | .mounts += [{"destination": "/tmp", "type": "tmpfs", "source": "t"}]'
	[ "$status" != 0 ] || fail "used"
	check_contains "$T/err" "Operation not permitted"
}

run_tests "$@"
