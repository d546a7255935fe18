#!/bin/sh
# shellcheck disable=SC2086 # CTL is words
# An ordinary user's own fsboxd, without root: by the user's units, and in a delegated scope on the command line.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
# shellcheck source=tests/lib/systemd_daemon.sh
. "$(dirname "$0")/../lib/systemd_daemon.sh"
USER_ID=1000
USER_NAME=$(sed -n "s/^\([^:]*\):[^:]*:$USER_ID:.*/\1/p" /etc/passwd | head -n 1)
HOME_DIR=/home/$USER_NAME
MANAGER=/sys/fs/cgroup/user.slice/user-$USER_ID.slice/user@$USER_ID.service
UNIT=$MANAGER/app.slice/fsbox.service
CTL="as_user systemctl --user"
AS=as_user
FSBOX_SOCKET=/run/user/$USER_ID/fsbox/fsbox.sock

as_user() {
	setpriv --reuid "$USER_ID" --regid "$USER_ID" --init-groups env HOME="$HOME_DIR" USER="$USER_NAME" \
		XDG_RUNTIME_DIR=/run/user/$USER_ID DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$USER_ID/bus "$@"
}

test_the_users_manager_runs() {
	check systemctl start user@$USER_ID.service
	wait_until /run/user/$USER_ID/bus there
}

test_the_first_client_starts_it() {
	check_first_client_starts_it
	check_eq "$(stat -c '%u %a' $FSBOX_SOCKET)" "$USER_ID 600"
	check_eq "$(stat -c %u "/proc/$(daemon_pid)" "/proc/$(main_pid)" | tr '\n' ' ')" "$USER_ID $USER_ID "
}

test_cells_stand_below_the_units_own_group() {
	check_cells_stand_below_the_unit
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

test_a_reload_and_a_stop_leave_nothing() {
	check_reload_and_stop
}

# What docs/daemon.md tells users to do.
test_a_scope_with_delegation_gives_limits_on_the_command_line() {
	as_user systemd-run --user --quiet --scope --unit=served -p Delegate=yes "$FSBOX" serve >"$T/daemon" 2>&1 &
	tries [ -S $FSBOX_SOCKET ]
	check_status 0 client deploy --mem 64 --timeout 60 bomb "$FUNCTIONS/memory_bomb.so"
	check_status 137 client invoke bomb
	check_contains "$T/out" Runtime.OutOfMemory
	check_status 0 client deploy --replace --mem 64 echo "$FUNCTIONS/echo.so"
	check_status 0 client invoke echo --event 6
	check_eq "$(cells)" "$(find "$MANAGER/app.slice/served.scope" -name 'cell-*' -type d)"
	tries grep -q 'frozen 1' "$(cells)/cgroup.events"
	kill -TERM "$(pgrep -x -u $USER_ID fsbox-spawn)"
	wait
	tries no_cells
	check [ ! -S $FSBOX_SOCKET ]
	check_eq "$(cat "$T/daemon")" ""
}
run_tests
