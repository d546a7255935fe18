#!/bin/sh
# fsbox as an ordinary user who has logged in and no more: in a group that is not his (guest/as_user@user) or in one that
# was delegated to him (guest/as_user@delegated), where every limit holds without any root.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
scope=$own/scope

# What a user's systemd does with the group that it was given: itself aside, controllers handed down.
be_manager() {
	mkdir "$own/shell" || return 1
	while read -r pid; do
		echo "$pid" >"$own/shell/cgroup.procs" || return 1
	done <"$own/cgroup.procs"
	echo "+memory +cpu +pids" >"$own/cgroup.subtree_control"
}

# And what `systemd-run --user --scope -p Delegate=yes` does: the program alone in a new group.
in_scope() { # fsbox's arguments
	mkdir "$scope"
	# shellcheck disable=SC2016 # for the inner shell
	${EXEC-} sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$scope" "$FSBOX" "$@"
}

end_scope() { # holds no group and no process
	check_eq "$(find "$scope" -mindepth 1 -type d)" ""
	check rmdir "$scope"
}

wait_for_cell() {
	for _ in $(seq 100); do
		cell=$(find "$scope" -maxdepth 3 -name 'cell-*' -type d 2>/dev/null | head -n 1)
		[ -z "$cell" ] || [ -z "$(cat "$cell/cgroup.procs")" ] || return 0
		command sleep 0.1
	done
	fail "no cell below $scope"
}

test_anyway_this_is_no_root() {
	check test "$(id -u)" != 0
	check test -z "$(awk '/^CapEff/ && $2 !~ /^0+$/' /proc/self/status)"
}

test_without_delegation_the_error_says_so_and_nothing_runs() {
	run fsbox run "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_matches "$T/err" 'Permission denied|delegat'
	check_matches "$T/err" 'Delegate|--no-limits'
	check_eq "$(wc -c <"$T/out")" 0
}

test_without_delegation_a_cell_without_limits_can_be_asked_for() {
	check_status 0 fsbox run --no-limits "$FUNCTIONS/echo.so" --event '{"a":1}'
	check_contains "$T/out" '{"a":1}'
}

test_with_delegation_the_limits_stand_in_a_group_of_the_users() {
	EXEC="exec" in_scope run --mem 256 --pids 77 --timeout 60 "$FUNCTIONS/sleep_forever.so" >"$T/out" 2>"$T/err" </dev/null &
	pid=$!
	wait_for_cell
	memory=$(cat "$cell/memory.max") pids=$(cat "$cell/pids.max") group=$(cat "$cell/memory.oom.group")
	swap=$(cat "$cell/memory.swap.max" 2>/dev/null || echo 0) weight=$(cat "$cell/cpu.weight")
	for _ in $(seq 100); do # until the boost of the init is over
		cpu=$(cat "$cell/cpu.max")
		[ "${cpu% *}" = "${cpu#* }" ] || break
		command sleep 0.1
	done
	kill -TERM "$pid"
	wait "$pid" || :
	check_eq "$memory" 268435456
	check_eq "$pids" 77
	check_eq "$group" 1
	check_eq "$swap" 0
	check_eq "$weight" 14
	check_eq "$cpu" "1447 10000"
	end_scope
}

test_with_delegation_a_memory_bomb_ends_at_the_limit() {
	check_status 137 in_scope run --mem 64 --timeout 60 "$FUNCTIONS/memory_bomb.so"
	check_contains "$T/out" Runtime.OutOfMemory
	end_scope
}

test_with_delegation_a_fork_bomb_ends_at_its_timeout() {
	check_status 124 in_scope run --mem 128 --pids 50 --timeout 2 "$FUNCTIONS/fork_bomb.so"
	end_scope
}

test_with_delegation_an_answer_comes_and_nothing_is_left() {
	check_status 0 in_scope run "$FUNCTIONS/echo.so" --event '{"a":1}'
	check_contains "$T/out" '{"a":1}'
	end_scope
}

test_with_delegation_a_busy_scope_is_refused_with_the_remedy() {
	mkdir "$scope"
	# shellcheck disable=SC2016 # for the inner shell, which stays in the group
	check_status 125 sh -c 'echo 0 >"$0/cgroup.procs"; "$@"; exit $?' "$scope" "$FSBOX" run "$FUNCTIONS/echo.so"
	check_contains "$T/err" 'processes live in it'
	check_contains "$T/err" 'Delegate=yes'
	end_scope
}

# Whose group this is decides which tests there are: none has to be skipped.
if [ ! -w "$own/cgroup.procs" ]; then
	run_tests without_delegation anyway
else
	be_manager || exit 1
	run_tests with_delegation anyway
fi
