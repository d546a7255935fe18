#!/bin/sh
# Bug classes: ptrace of the parent, devices of the host, user namespaces as a key to the kernel, TIOCSTI, keyrings, sysctls,
# file handles, kernel modules, kexec, bpf, perf. Each with the default policy and without any: the second shows that the
# filter is not the only wall.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

PROBES="ptrace_init process_vm_readv process_vm_writev pidfd_getfd kcmp mount umount2 pivot_root chroot fsopen fsmount open_tree
move_mount mount_setattr open_by_handle_at quotactl swapon setns bpf perf_event_open kexec_load init_module finit_module
delete_module reboot acct settimeofday clock_settime sethostname iopl ioperm mknod mknodat vhangup setuid0 setgid0 setgroups capset
prctl_securebits prctl_ambient prctl_unset_nnp chown_root tiocsti tioclinux socket_raw socket_packet open_sysrq open_core_pattern
open_modprobe open_kcore open_kmsg open_mem open_fuse open_root_file open_usr_file open_task_file open_self_exe open_init_exe
open_init_root open_parent_root unshare_mount unshare_net"

check_doors() {
	for policy in default none; do
		cell_status 0 --policy "$policy" --timeout 20 "$FUNCTIONS/syscall_probe.so" --event "$PROBES"
		# where the kernel has these two they are covered by /dev/null, and opening that is no door
		check_ask '[to_entries[] | select((.value == 0 and (.key | IN("open_sysrq", "open_kcore") | not)) or .value == "no such probe") | .key] | join(" ")' ""
	done
}
test_every_door_is_shut_with_and_without_a_filter() {
	watch_world
	each_mode check_doors
	check_world
}

check_new_users() {
	cell_status 0 "$FUNCTIONS/syscall_probe.so" --event 'unshare_user clone_newuser clone3'
	check_ask .unshare_user 1
	check_ask .clone_newuser 1
	check_ask .clone3 38
	cell_status 0 "$FUNCTIONS/escape_exec.so" --event '"/usr/bin/unshare -Ur /bin/true"'
	check_true '.status != 0'
}
test_new_user_namespaces_are_refused() {
	watch_world
	each_mode check_new_users
	check_world
}

check_init() {
	cell_status 0 "$FUNCTIONS/attack_init.so"
	check_ask '[to_entries[] | select(.value == 0 and .key != "init_alive") | .key] | join(" ")' ""
	check_ask .init_alive 1
}
test_pid_1_cannot_be_traced_read_or_killed() {
	watch_world
	each_mode check_init
	check_world
}

check_devices() {
	cell_status 0 "$FUNCTIONS/escape_files.so" --event '"read /dev/vda /dev/sda /dev/mem /dev/kmsg /dev/tty /dev/console /dev/ptmx /dev/loop0 /dev/fuse /dev/net/tun"'
	check_ask '[.read | to_entries[] | select(.value | type != "number") | .key] | join(" ")' ""
	cell_status 0 "$FUNCTIONS/escape_files.so" --event '"read /dev/null /dev/zero /dev/full /dev/urandom"'
	check_ask '[.read[] | type] | unique | join(" ")' string
}
test_no_device_of_the_host_is_there_but_the_harmless_ones() {
	watch_world
	each_mode check_devices
	check_world
}

# Keys of the session that started fsbox stay outside.
test_a_key_of_the_caller_is_not_in_reach() {
	need_root
	command -v keyctl >/dev/null 2>&1 || skip "keyctl is missing: install keyutils"
	watch_world
	key=$(keyctl add user fsbox-test secret @s) || skip "this kernel has no keyrings"
	cell --policy none "$FUNCTIONS/syscall_probe.so" --event 'request_key keyctl'
	# without a session keyring @s means another one by the second look
	keyctl unlink "$key" @s >/dev/null 2>&1 || keyctl invalidate "$key" 2>/dev/null || :
	check_eq "$status" 0
	check_true '.request_key != 0'
	check_world
}

run_tests "$@"
