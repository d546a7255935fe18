#!/bin/sh
# Seccomp policies as a function meets them: the built-in ones and files.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

probe() { # fsbox run's options, then -- names of probes
	probe_options=
	while [ "$1" != -- ]; do
		probe_options="$probe_options $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	cell_status 0 $probe_options "$FUNCTIONS/syscall_probe.so" --event "$*"
}

check_default() {
	probe -- bpf perf_event_open userfaultfd kexec_load init_module reboot ptrace_init add_key request_key keyctl mount \
		umount2 pivot_root unshare_user unshare_mount setns clone_newuser open_by_handle_at io_uring_setup \
		iopl swapon acct
	check_ask '[to_entries[] | select(.value != 1 and .value != 38) | .key] | join(" ")' ""
	# what the kernel's own answer would be, too: the filter decides before it
	check_ask .io_uring_setup 1
	probe -- clone3 unknown_call
	check_ask .clone3 38
	check_ask .unknown_call 38
	probe -- getpid memfd_create getrandom socket_unix socket_inet socket_inet6
	check_ask '[to_entries[] | select(.value != 0) | .key] | join(" ")' ""
	probe -- socket_route socket_raw socket_packet socket_audit socket_netfilter socket_xfrm socket_alg socket_vsock socket_tipc \
		socket_bluetooth socket_can socket_rds socket_xdp
	check_ask '[to_entries[] | select(.value == 0) | .key] | join(" ")' ""
}
test_default_refuses_what_no_ordinary_function_needs_and_lets_the_rest_work() {
	watch_world
	each_mode check_default
	check_world
}

check_none() {
	inspect_none
	# without a filter the kernel still refuses everything that needs a capability
	probe --policy none -- mount umount2 pivot_root unshare_mount unshare_net chroot bpf reboot init_module kexec_load \
		sethostname swapon acct iopl settimeofday setuid0 capset mknodat open_by_handle_at quotactl
	check_ask '[to_entries[] | select(.value == 0) | .key] | join(" ")' ""
}
inspect_none() {
	cell_status 0 --policy none "$FUNCTIONS/inspect.so"
	check_ask .status.Seccomp 0
	check_ask .status.NoNewPrivs 1
	check_ask .status.CapEff 0000000000000000
}
test_none_has_no_filter_and_still_no_capabilities() {
	watch_world
	each_mode check_none
	check_world
}

check_strict() {
	cell_status 0 --policy strict "$FUNCTIONS/echo.so" --event '"computes"'
	check_eq "$(cat "$T/out")" '"computes"'
	cell_status 0 --policy strict "$FUNCTIONS/after_strict.so" --event '"print"' --event '"print"'
	# the init may still open files, the calls may not
	cell_status 0 --policy strict --env FSBOX_TEST_STRICT=init "$FUNCTIONS/after_strict.so" --event '"print"'
	for pair in open:openat socket:socket; do
		cell_status 159 --policy strict "$FUNCTIONS/after_strict.so" --event "\"${pair%:*}\""
		check_ask .errorType Runtime.ExitError
		check_ask ".errorMessage | test(\"bad system call.*'strict'.*${pair#*:}\")" true
	done
}
test_strict_begins_after_init_and_names_the_call_it_refused() {
	watch_world
	each_mode check_strict
	check_world
}

test_under_strict_forks_and_threads_are_refused_or_named() {
	need_root
	watch_world
	for what in fork thread; do
		cell --policy strict "$FUNCTIONS/after_strict.so" --event "\"$what\""
		check_matches "$T/out" 'errno|clone|fork'
	done
	check_world
}

test_after_a_refusal_under_strict_the_next_event_gets_a_new_cell() {
	need_root
	watch_world
	cell_status 159 --policy strict "$FUNCTIONS/after_strict.so" --event '"socket"' --event '"print"'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 2
	check_world
}

# A policy that allows everything but ERRNO for sethostname(2), in OCI's form.
policy() { # FILE ERRNO
	cat >"$1" <<-END
		{"defaultAction": "SCMP_ACT_ALLOW",
		 "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": $2}]}
	END
	chmod 644 "$1"
}

check_file() {
	user_dirs
	policy "$T/policy.json" 99
	probe --policy "$T/policy.json" -- sethostname getpid
	check_ask .sethostname 99
	check_ask .getpid 0
}
test_a_policy_file_in_ocis_form_is_imposed() {
	watch_world
	each_mode check_file
	check_world
}

test_a_policy_file_that_changes_is_read_again_even_with_the_same_size_and_time() {
	need_root
	watch_world
	for code in 91 92 93 94; do
		policy "$T/policy.json" "$code"
		touch -d '2020-01-01 00:00:00' "$T/policy.json"
		probe --policy "$T/policy.json" -- sethostname
		check_ask .sethostname "$code"
	done
	# replaced by another file
	policy "$T/other.json" 95
	touch -d '2020-01-01 00:00:00' "$T/other.json"
	mv "$T/other.json" "$T/policy.json"
	probe --policy "$T/policy.json" -- sethostname
	check_ask .sethostname 95
	check_world
}

test_a_policy_that_allows_nothing_ends_the_cell_and_fsbox_says_why() {
	need_root
	watch_world
	printf '{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": []}\n' >"$T/policy.json"
	cell --policy "$T/policy.json" "$FUNCTIONS/echo.so"
	check_ne "$status" 0
	check_matches "$T/err" 'bad system call|filter|policy|exec'
	printf '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}\n' >"$T/policy.json"
	cell --policy "$T/policy.json" "$FUNCTIONS/echo.so"
	check_ne "$status" 0
	check_matches "$T/err" '^fsbox: '
	check_world
}

test_foreign_architectures_are_killed() {
	need_root
	[ "$(uname -m)" = x86_64 ] || skip "x86-64 has a second and a third set of system calls"
	watch_world
	cell "$FUNCTIONS/escape_arch.so" --event '"i386"'
	check_ne "$status" 0
	check_contains "$T/out" "bad system call"
	cell "$FUNCTIONS/escape_arch.so" --event '"x32"'
	check_matches "$T/out" '"errno":(38|1)|bad system call'
	check_world
}

run_tests "$@"
