#!/bin/sh
# shellcheck disable=SC2086 # CTL is words
# The same as an ordinary user's service, without root: his manager delegates to the unit.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/systemd.sh
. "$(dirname "$0")/../lib/systemd.sh"
USER_ID=1000
USER_NAME=$(sed -n "s/^\([^:]*\):[^:]*:$USER_ID:.*/\1/p" /etc/passwd | head -n 1)
HOME_DIR=/home/$USER_NAME
SPECS=$HOME_DIR/.config/fsbox
UNIT_GROUP=/sys/fs/cgroup/user.slice/user-$USER_ID.slice/user@$USER_ID.service/app.slice/app-fsbox.slice
CTL="as_user systemctl --user"

as_user() {
	setpriv --reuid "$USER_ID" --regid "$USER_ID" --init-groups env HOME="$HOME_DIR" USER="$USER_NAME" \
		XDG_RUNTIME_DIR=/run/user/$USER_ID DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$USER_ID/bus "$@"
}

test_the_users_manager_runs_and_has_the_controllers() {
	check systemctl start user@$USER_ID.service
	wait_until /run/user/$USER_ID/bus there
	check_contains "/sys/fs/cgroup/user.slice/user-$USER_ID.slice/user@$USER_ID.service/cgroup.controllers" memory
	check_contains "/sys/fs/cgroup/user.slice/user-$USER_ID.slice/user@$USER_ID.service/cgroup.controllers" cpu
}

test_a_function_runs_as_the_user() {
	spec hello '{"target":"'"$EXAMPLES/hello.so"'","event":{"name":"ada"}}'
	check $CTL start --wait fsbox@hello
	check_eq "$(property hello Result)" success
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

# What fsbox's own hint tells users to do.
test_a_scope_with_delegation_gives_limits_on_the_command_line() {
	run as_user systemd-run --user --quiet --scope -p Delegate=yes "$FSBOX" run --mem 64 --timeout 60 "$FUNCTIONS/memory_bomb.so"
	check_eq "$status" 137
	check_contains "$T/out" Runtime.OutOfMemory
}

test_no_cell_is_left() {
	check_eq "$(find /sys/fs/cgroup -name 'cell-*' -type d | wc -l)" 0
	check_eq "$(pgrep -c -x native || :)" 0
}
run_tests
