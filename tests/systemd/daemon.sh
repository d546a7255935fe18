#!/bin/sh
# shellcheck disable=SC2086 # CTL is words
# fsboxd by the units of contrib/systemd: socket activation, readiness, cells below the unit's own group, restarts that keep
# cells and restarts that clean up; and systemd's own varlinkctl as its client. Needs systemd as PID 1: the guest tier.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
# shellcheck source=tests/lib/systemd_daemon.sh
. "$(dirname "$0")/../lib/systemd_daemon.sh"
CTL=systemctl
AS=
FSBOX_SOCKET=/run/fsbox/fsbox.sock
UNIT=/sys/fs/cgroup/system.slice/fsbox.service

test_sysusers_makes_the_user() {
	check systemd-sysusers
	check_eq "$(getent passwd fsbox | cut -d : -f 6)" /var/lib/fsboxd
	check getent group fsbox
}

test_the_units_have_no_mistake() {
	run systemd-analyze verify --man=no /etc/systemd/system/fsbox.service /etc/systemd/system/fsbox.socket
	check_eq "$status" 0
	check_eq "$(cat "$T/out" "$T/err")" ""
}

test_the_first_client_starts_it() {
	check_first_client_starts_it
	check_eq "$(stat -c '%U:%G %a' $FSBOX_SOCKET)" "root:fsbox 660"
	check_eq "$(stat -c '%U %a' /var/lib/fsboxd)" "fsbox 700"
	check_eq "$(sed -n 's/^CapEff:\t//p' "/proc/$(daemon_pid)/status")" 0000000000000000
}

test_varlinkctl_of_systemd_speaks_with_it() {
	run varlinkctl info $FSBOX_SOCKET
	check_matches "$T/out" 'Product: fsboxd'
	check_status 0 varlinkctl introspect $FSBOX_SOCKET org.fsbox.Sandbox
	check_contains "$T/out" 'method Invoke('
	check_status 0 varlinkctl call $FSBOX_SOCKET org.fsbox.Sandbox.Invoke '{"function":"echo","event":{"json":{"b":2}}}'
	check_eq "$(jq -c .payload.json "$T/out")" '{"b":2}'
	check_status 0 varlinkctl --more -j call $FSBOX_SOCKET org.fsbox.Sandbox.List '{}'
	check_eq "$(tr -d '\036' <"$T/out" | jq -r .cell.function)" echo
	run timeout 2 varlinkctl --more -j call $FSBOX_SOCKET org.fsbox.Sandbox.Subscribe '{}'
	check_eq "$(tr -d '\036' <"$T/out" | jq -r .event.status)" idle
}

test_cells_stand_below_the_units_own_group() {
	check_cells_stand_below_the_unit
}

test_who_is_not_in_the_group_cannot_connect() {
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$FSBOX" ps --socket $FSBOX_SOCKET
	check_eq "$status" 1
	check_contains "$T/err" 'Permission denied'
	run setpriv --reuid 65534 --regid 65534 --groups "$(getent group fsbox | cut -d : -f 3)" "$FSBOX" ps --socket $FSBOX_SOCKET
	check_eq "$status" 0
}

test_a_cell_that_runs_out_of_memory_is_no_failure_of_the_service() {
	check_a_cell_out_of_memory_is_no_failure
}

test_a_kill_9_of_fsboxd_leaves_cells_and_service() {
	check_fsboxd_dies_and_cells_stay
}

test_a_kill_9_of_everything_is_repaired() {
	check_kill_9_of_all_is_repaired
}

test_the_journal_has_what_it_says() {
	journal fsbox.service >"$T/journal"
	check_matches "$T/journal" 'fsbox-spawn: .*fsboxd'
}

test_a_reload_and_a_stop_leave_nothing() {
	check_reload_and_stop
}
run_tests
