#!/bin/sh
# Bug classes: signals to processes of the host, abstract sockets of the host, scores and limits of others, a sick PID 1.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

check_processes() {
	command sleep 30 &
	victim=$!
	# by the numbers that the host knows: this shell, the victim, nobody
	cell_status 0 --policy none "$FUNCTIONS/escape_processes.so" --event "\"$$ $victim 4000000\""
	kill -0 "$victim" || fail "[$MODE] the victim is gone"
	kill "$victim"
	wait "$victim" 2>/dev/null || :
	# ESRCH for all: there is no such process in there
	check_ask '.kill + .ptrace + .pidfd | unique | join(" ")' 3
	check_true '.init == 0'
	# sysrq-trigger is covered by /dev/null where the kernel has it: a write goes nowhere (system/run_isolation looks at masks)
	check_ask '[to_entries[] | select(.key == ("oomLower", "oomOfInit", "nice", "realtime", "rlimit", "core", "corePattern", "uidMap", "setgroups")) | select(.value == 0) | .key] | join(" ")' ""
}
test_processes_of_the_host_have_no_number_in_a_cell() {
	watch_world
	each_mode check_processes
	check_world
}

check_abstract() {
	perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un("\0fsbox-test-abstract")) or die; listen($s, 5); print "ready\n"; STDOUT->flush; sleep 20' >"$T/listening" &
	listener=$!
	wait_for 50 grep -q ready "$T/listening" || fail "no listener"
	for net in loopback none; do
		cell_status 0 --net "$net" "$FUNCTIONS/escape_net.so" --event '"fsbox-test-abstract"'
		check_ask .abstract 111
	done
	# the control: with the host's network it is there
	cell_status 0 --net host "$FUNCTIONS/escape_net.so" --event '"fsbox-test-abstract"'
	control=$(ask .abstract)
	kill "$listener"
	wait "$listener" 2>/dev/null || :
	check_eq "$control" 0
}
test_abstract_sockets_of_the_host_are_only_reachable_with_the_hosts_network() {
	watch_world
	each_mode check_abstract
	check_world
}

test_the_function_cannot_make_pid_1_end_before_itself() {
	need_root
	watch_world
	cell_status 0 "$FUNCTIONS/attack_init.so" --event 1 --event 2
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
	check_world
}

run_tests "$@"
