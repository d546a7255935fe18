#!/bin/sh
# fsbox as an ordinary user who has logged in and no more: in a group that is not his (guest/as_user@user) or in one that
# was delegated to him (guest/as_user@delegated), where every limit holds without any root.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)

need_delegated() {
	[ -w "$own/cgroup.procs" ] || skip "this is the user without a group of his own"
}
need_plain() {
	[ ! -w "$own/cgroup.procs" ] || skip "this is the user with a group of his own"
}

# tests/run.sh has a time limit for each program; a cell that waits is ended by fsbox's own.
wait_for_cell() {
	for _ in $(seq 100); do
		cell=$(find "$own" -maxdepth 3 -name 'cell-*' -type d 2>/dev/null | head -n 1)
		[ -z "$cell" ] || [ -z "$(cat "$cell/cgroup.procs")" ] || return 0
		command sleep 0.1
	done
	fail "no cell below $own"
}

test_this_is_no_root() {
	check test "$(id -u)" != 0
	check test -z "$(awk '/^CapEff/ && $2 !~ /^0+$/' /proc/self/status)"
}

test_without_delegation_the_error_says_so_and_nothing_runs() {
	need_plain
	run fsbox run "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_matches "$T/err" 'Permission denied|delegat'
	check_matches "$T/err" 'Delegate|--no-limits'
	check_eq "$(wc -c <"$T/out")" 0
}

test_without_delegation_a_cell_without_limits_can_be_asked_for() {
	need_plain
	check_status 0 fsbox run --no-limits "$FUNCTIONS/echo.so" --event '{"a":1}'
	check_contains "$T/out" '{"a":1}'
}

test_the_limits_stand_in_a_group_of_the_users() {
	need_delegated
	"$FSBOX" run --mem 256 --pids 77 --timeout 30 "$FUNCTIONS/sleep_forever.so" >"$T/out" 2>"$T/err" </dev/null &
	pid=$!
	wait_for_cell
	memory=$(cat "$cell/memory.max") pids=$(cat "$cell/pids.max") group=$(cat "$cell/memory.oom.group")
	swap=$(cat "$cell/memory.swap.max" 2>/dev/null || echo 0)
	kill -TERM "$pid"
	wait "$pid" || :
	check_eq "$memory" 268435456
	check_eq "$pids" 77
	check_eq "$group" 1
	check_eq "$swap" 0
	check test ! -d "$cell"
}

test_a_memory_bomb_ends_at_the_limit() {
	need_delegated
	check_status 137 fsbox run --mem 64 --timeout 60 "$FUNCTIONS/memory_bomb.so"
	check_contains "$T/out" Runtime.OutOfMemory
}

test_a_fork_bomb_ends_at_its_timeout() {
	need_delegated
	check_status 124 fsbox run --mem 128 --pids 50 --timeout 2 "$FUNCTIONS/fork_bomb.so"
}

test_nothing_is_left_below_the_group() {
	need_delegated
	check_status 0 fsbox run "$FUNCTIONS/echo.so"
	check_eq "$(find "$own" -mindepth 1 -type d | wc -l)" 0
}
run_tests
