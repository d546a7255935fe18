#!/bin/sh
# The groups of `fsbox run` itself: where a cell's group is made, what stands in it while a function runs, and that the group
# which fsbox was started in looks afterwards as it did before.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
OWN=$(echo "fsbox-test-${TAP_DIR:-groups}-$$" | tr -c 'a-z0-9-\n' -)
PARENT=$OWN-cells
UNIFIED=$(cgroup2_root)
fsbox_pid=

# A group of cgroup2 that holds nothing.
own_group() {
	need_root
	[ -n "$UNIFIED" ] || skip_host "no cgroup2 here"
	[ "$(cgroup_mode)" != v2 ] || echo "+memory +cpu +pids" >"$UNIFIED/cgroup.subtree_control"
	trap drop_groups EXIT # of the test, which may fail at any line
	mkdir "$UNIFIED/$OWN"
}

drop_groups() {
	[ -z "$fsbox_pid" ] || kill -KILL "$fsbox_pid" 2>/dev/null || :
	for name in "$OWN" "$PARENT"; do
		undelegate "$name"
	done
	fsbox_pid=
}

# fsbox as the only process of the group, and its process is $!
start_in_own_group() { # fsbox run's arguments
	# shellcheck disable=SC2016 # for the inner shell
	sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$UNIFIED/$OWN" "$FSBOX" run "$@" >"$T/out" 2>"$T/err" </dev/null &
	fsbox_pid=$!
	wait_for 100 grep -q START "$T/err" || {
		show
		fail "the cell did not start"
	}
}

end_fsbox() {
	kill -TERM "$fsbox_pid"
	wait "$fsbox_pid" || :
	fsbox_pid=
}

cell_groups() { # of cgroup2, below NAME
	find "$UNIFIED/$1" -name 'cell-*' -type d
}

# ---- Being born in the group ----

# fork(2) compares the kills of the parent's group with those of the child's, and ends a child that seems to have missed one
# (Linux 6.12.y and later); then the child has to enter its group by itself.
test_a_cell_starts_from_a_group_that_was_once_killed() {
	watch_world
	own_group
	echo 1 >"$UNIFIED/$OWN/cgroup.kill"
	start_in_own_group --cgroup-parent "/$PARENT" --mem 128 --timeout 60 "$FUNCTIONS/sleep_forever.so"
	group=$(cell_groups "$PARENT")
	inside=$(wc -l <"$group/cgroup.procs")
	outside=$(wc -l <"$UNIFIED/$OWN/cgroup.procs")
	end_fsbox
	check test "$inside" -ge 2
	check_eq "$outside" 1
	drop_groups
	check_world
}

test_the_limits_hold_for_a_cell_that_entered_its_group_by_itself() {
	watch_world
	own_group
	echo 1 >"$UNIFIED/$OWN/cgroup.kill"
	# shellcheck disable=SC2016 # for the inner shell
	check_status 137 sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$UNIFIED/$OWN" "$FSBOX" run --cgroup-parent "/$PARENT" \
		--mem 64 --timeout 60 "$FUNCTIONS/memory_bomb.so"
	check_contains "$T/out" Runtime.OutOfMemory
	drop_groups
	check_world
}

# ---- Where it is made ----

mark_delegated() { # as systemd does for Delegate=yes
	python3 -c 'import os, sys; os.setxattr(sys.argv[1], "trusted.delegate", b"1")' "$UNIFIED/$OWN"
}

state_of() { # what a group is set to, and what is below it
	cat "$1/cgroup.subtree_control" "$1/cgroup.type"
	find "$1" -mindepth 1 -type d
}

test_root_puts_cells_below_its_own_group_only_where_systemd_delegated_it() {
	watch_world
	own_group
	start_in_own_group --timeout 60 "$FUNCTIONS/sleep_forever.so"
	unmarked=$(cell_groups "$OWN")
	end_fsbox
	mark_delegated
	before=$(state_of "$UNIFIED/$OWN")
	start_in_own_group --timeout 60 "$FUNCTIONS/sleep_forever.so"
	marked=$(cell_groups "$OWN")
	end_fsbox
	after=$(state_of "$UNIFIED/$OWN")
	check_eq "$unmarked" ""
	if [ "$(cgroup_mode)" = v2 ]; then
		check test -n "$marked"
	else # nobody marks the groups of v1
		check_eq "$marked" ""
	fi
	check_eq "$after" "$before"
	drop_groups
	check_world
}

# ---- What stands in it ----

in_cell() { # FILE: of cgroup2
	cat "$group/$1" 2>/dev/null || echo none
}

boost_is_over() {
	cpu=$(in_cell cpu.max)
	[ "${cpu% *}" != "${cpu#* }" ]
}

test_every_limit_of_cgroup2_stands_in_the_cells_group() {
	[ "$(cgroup_mode)" = v2 ] || return 0 # v1's are looked at by run_limits
	watch_world
	own_group
	start_in_own_group --cgroup-parent "/$PARENT" --mem 256 --pids 77 --timeout 60 "$FUNCTIONS/sleep_forever.so"
	group=$(cell_groups "$PARENT")
	wait_for 50 boost_is_over || note "the share of the init stays: $cpu"
	seen="$(in_cell memory.max) $(in_cell memory.oom.group) $(in_cell pids.max) $(in_cell cpu.weight) $(in_cell cpu.max)"
	swap=$(in_cell memory.swap.max)
	end_fsbox
	check_eq "$seen" "268435456 1 77 14 1447 10000"
	[ "$swap" = none ] || check_eq "$swap" 0
	drop_groups
	check_world
}

test_a_frozen_cell_ends_with_fsbox() {
	watch_world
	own_group
	start_in_own_group --cgroup-parent "/$PARENT" --timeout 60 "$FUNCTIONS/sleep_forever.so"
	group=$(cell_groups "$PARENT")
	echo 1 >"$group/cgroup.freeze"
	end_fsbox
	check test ! -d "$group"
	drop_groups
	check_world
}

run_tests "$@"
