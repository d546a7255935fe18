#!/bin/sh
# Containers in little memory: the runtime's part in the container, and the kernel's for it, fit into 4 MiB.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

FOUR=4194304
LIMIT=".linux.resources.memory = {\"limit\": $FOUR}"

memory_of() { # ID V1-FILE V2-FILE: the content of one that is there
	for memory_file in "/sys/fs/cgroup/memory/fsbox-oci/$1/$2" "/sys/fs/cgroup/fsbox-oci/$1/$3"; do
		[ ! -e "$memory_file" ] || cat "$memory_file"
	done
}

need_memory() {
	need_oci
	[ -d /sys/fs/cgroup/memory ] || grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null ||
		skip_host "no cgroup controller of memory"
}

# Nobody was killed, and the limit was there: it is the peak that shows it, where the kernel tells it (v1; v2 from 5.19).
check_within() { # ID
	check_eq "$(memory_of "$1" memory.limit_in_bytes memory.max)" "$FOUR"
	peak=$(memory_of "$1" memory.max_usage_in_bytes memory.peak)
	[ -z "$peak" ] || [ "$peak" -gt 0 ] || fail "no memory was used"
	[ -z "$peak" ] || [ "$peak" -le "$FOUR" ] || fail "peak of $peak bytes"
	note "peak: ${peak:-unknown}"
	for killed in $(memory_of "$1" memory.oom_control memory.events | sed -n 's/^oom_kill //p'); do
		check_eq "$killed" 0
	done
}

test_the_steps_of_an_engine_fit_into_4_mib() {
	need_memory
	bundle b "$LIMIT | .process.args = [\"sleep\", \"60\"]"
	c=$(oci_id c)
	for round in 1 2 3 4 5; do
		oci_ok create --bundle "$T/b" "$c"
		check_eq "$(memory_of "$c" memory.limit_in_bytes memory.max)" "$FOUR"
		oci_ok start "$c"
		oci_ok exec "$c" echo inside
		check_eq "$(cat "$T/out")" inside
		check_eq "$(oci_status "$c")" running
		check_within "$c"
		oci_ok delete --force "$c"
	done
	check_nothing_left
}

test_run_and_its_status_fit_into_4_mib() {
	need_memory
	in_container 'echo out; exit 3' "$LIMIT"
	check_eq "$status" 3
	check_eq "$(cat "$T/out")" out
	check_nothing_left
}

# A filter, a user namespace, devices, hooks, masks: all that is heavy at once.
test_a_full_container_fits_into_4_mib() {
	need_memory
	chmod 755 "$TAP_DIR" "$T"
	names=$(printf '"%s",' openat read write close execve mmap brk exit_group fstat newfstatat access arch_prctl capset \
		prctl rt_sigaction rt_sigprocmask set_tid_address mprotect ioctl)
	in_container 'echo out; sleep 0' "$LIMIT"' |
		.linux.namespaces += [{"type": "user"}] |
		.linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] |
		.linux.gidMappings = .linux.uidMappings |
		.linux.seccomp = {"defaultAction": "SCMP_ACT_ALLOW",
			"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
			"syscalls": [{"names": ['"${names%,}"'], "action": "SCMP_ACT_ALLOW"}, {"names": ["kexec_load", "bpf"], "action": "SCMP_ACT_ERRNO"}]} |
		.mounts += [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}] |
		.mounts += [range(20) | {"destination": "/tmp/m\(.)", "type": "tmpfs", "source": "tmpfs"}] |
		.hooks.startContainer = [{"path": "/bin/true"}]'
	[ "$status" = 0 ] || note "$(cat "$T/err")"
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" out
	check_nothing_left
}

# The limit is one: a program that wants more does not get it.
test_more_than_4_mib_is_not_to_be_had() {
	need_memory
	in_container 'exec awk "BEGIN { s = \"x\"; while (length(s) < 33554432) s = s s; print length(s) }"' \
		"$LIMIT"' | .linux.resources.memory.swap = '"$FOUR"
	check_eq "$(cat "$T/out")" ""
	[ "$status" != 0 ] || fail "32 MiB in a group of 4"
	check_nothing_left
}

run_tests "$@"
