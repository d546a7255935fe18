#!/bin/sh
# shellcheck disable=SC2086 # CTL is words
# fsbox as a system service, by the unit of contrib/systemd with Delegate=yes: limits stand below the unit's own group,
# systemd and fsbox agree on who ends what, and nothing is left. Needs systemd as PID 1: the guest tier has it.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
CTL=systemctl
SPECS=/etc/fsbox
UNIT_GROUP=/sys/fs/cgroup/system.slice/system-fsbox.slice

test_a_function_runs_and_its_log_is_in_the_journal() {
	spec hello '{"target":"'"$EXAMPLES/hello.so"'","event":{"name":"ada"}}'
	check $CTL start --wait fsbox@hello
	check_eq "$(property hello Result)" success
	journal fsbox@hello >"$T/journal"
	check_contains "$T/journal" 'Hello, ada!'
	check_matches "$T/journal" 'REPORT RequestId'
	check_gone hello
}

test_limits_stand_below_the_units_own_group() {
	check_limits_of_unit
}

test_stopping_the_unit_ends_the_cell_and_removes_its_group() {
	check_stop_of_unit
}

test_a_kill_9_of_fsbox_leaves_no_cell() {
	check_kill_of_unit
}

test_running_out_of_memory_ends_the_cell_and_not_the_service_by_force() {
	check_oom_of_unit
}

test_a_restart_after_a_kill_works_and_cleans_up() {
	start_sleeper again
	check $CTL kill --kill-whom=main -s KILL fsbox@again
	wait_until "$(group again)" gone
	check $CTL reset-failed fsbox@again
	start_sleeper again
	check_eq "$(find "$(group again)" -name 'cell-*' -type d | wc -l)" 1
	check $CTL stop fsbox@again
	check_gone again
}

test_no_group_was_made_outside_of_the_unit() {
	check_eq "$(find /sys/fs/cgroup -maxdepth 1 -name 'fsbox*' | wc -l)" 0
	check_eq "$(find /sys/fs/cgroup -name 'cell-*' -type d | wc -l)" 0
}

test_check_agrees_in_a_delegated_scope() {
	run systemd-run --quiet --scope -p Delegate=yes "$FSBOX" check --json
	check_eq "$status" 0
	check_eq "$(jq -r .run "$T/out")" yes
	check_matches "$T/out" '"detail":"/system.slice/run-[^"]*scope'
}
run_tests
