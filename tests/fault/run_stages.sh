#!/bin/sh
# Every stage of a cell's building is made to fail: the error names the stage, fsbox ends with 125, and the machine is as
# before. Then fsbox itself dies there: no process of the cell goes on, and the next start removes the rest.
# Uses build/fault/fsbox (make VARIANT=fault), whose stages fail on request; see sandbox/cell/stages.c.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
case $FSBOX_BUILD in
*/fault) ;;
*) FSBOX=$FSBOX_BUILD/fault/fsbox ;;
esac

HOST_STAGES="slot plan cgroup netns rootfs pipes spawn budget handover arrival restore"
CHILD_STAGES="namespaces net ids mounts pivot files session limits caps filter exec"
RESTORE_STAGES="tmp worker settle user" # of the child, between session and limits

need_faults() {
	need_root
	[ -x "$FSBOX" ] || skip "no $FSBOX: make VARIANT=fault"
	FSBOX_FAULT=slot "$FSBOX" run "$FUNCTIONS/echo.so" >/dev/null 2>&1 && fail "$FSBOX has no faults built in"
	:
}

test_the_stages_listed_here_are_all_that_the_source_has() {
	awk '/^const struct (host|child)_stage .*\[\] = \{/ { in_table = 1; next } /^\};/ { in_table = 0 }
		in_table && match($0, /"[a-z]+"/) { print substr($0, RSTART + 1, RLENGTH - 2) }' \
		"$FSBOX_SRC/sandbox/cell/stages.c" "$FSBOX_SRC/sandbox/cell/child.c" | sort >"$T/source"
	# shellcheck disable=SC2086 # words
	printf '%s\n' $HOST_STAGES $CHILD_STAGES $RESTORE_STAGES | sort >"$T/here"
	diff "$T/source" "$T/here" >"$T/out" || {
		show
		fail "the tables of stages have changed"
	}
}

# The whole error, and nothing else: no answer, no log line of a call that never began.
check_one_fault() { # STAGE
	FSBOX_FAULT=$1 cell "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_contains "$T/err" "(stage $1)"
	check_contains "$T/err" "injected fault"
	check_eq "$(wc -c <"$T/out")" 0
	check_lacks "$T/err" "REPORT"
}

check_every_fault() {
	need_faults
	for stage in $HOST_STAGES $CHILD_STAGES; do
		check_one_fault "$stage"
	done
	cell_status 0 "$FUNCTIONS/echo.so"
}
test_a_stage_that_fails_is_named_and_nothing_is_left() {
	watch_world
	each_mode check_every_fault
	check_world
}

test_each_stage_that_fails_leaves_nothing_by_itself() {
	need_faults
	for stage in $HOST_STAGES $CHILD_STAGES; do
		watch_world
		check_one_fault "$stage"
		note "$stage"
		check_world
	done
}

test_a_failure_in_the_net_and_other_options_stages_undoes_those_too() {
	need_faults
	watch_world
	mkdir "$T/a" "$T/b"
	chmod 755 "$TAP_DIR" "$T" "$T/a" "$T/b"
	for stage in rootfs spawn budget handover mounts pivot exec; do
		FSBOX_FAULT=$stage cell --layer "$T/a" --layer "$T/b" --net none --tmp 8 --mem 32 "$FUNCTIONS/echo.so"
		check_eq "$status" 125
		check_contains "$T/err" "(stage $stage)"
	done
	check_world
}

# The child dies without a word: the host says so, and where.
test_a_child_that_dies_between_stages_is_125_and_nothing_is_left() {
	need_faults
	watch_world
	for stage in $CHILD_STAGES; do
		FSBOX_FAULT="$stage!" cell "$FUNCTIONS/echo.so"
		check_eq "$status" 125
		check_lacks "$T/err" REPORT
		check_matches "$T/err" '^fsbox: .*(stage|died|ended|exit)'
	done
	check_world
}

lives() { # a process of a cell, started since the look
	world_lines | comm -13 "$T/world" - | grep -qE '^process (fsbox|fsbox-init|native) '
}
gone() {
	! lives
}

# fsbox dies in a stage of its own: 99 is its status then.
test_after_fsbox_died_in_a_stage_nothing_runs_and_the_next_start_removes_the_rest() {
	need_faults
	watch_world
	for stage in $HOST_STAGES; do
		FSBOX_FAULT="$stage!" cell "$FUNCTIONS/echo.so"
		check_eq "$status" 99
		wait_for 20 gone || fail "something of the cell runs on after a death in '$stage'"
		cell_status 0 "$FUNCTIONS/echo.so"
		check_world
	done
}

check_death_in_spawn() {
	need_faults
	for stage in spawn budget handover; do
		FSBOX_FAULT="$stage!" cell "$FUNCTIONS/echo.so"
		check_eq "$status" 99
		wait_for 20 gone || fail "something of the cell runs on after a death in '$stage'"
		cell_status 0 "$FUNCTIONS/echo.so"
	done
}
test_after_a_death_in_other_modes_the_next_start_cleans_up_as_well() {
	watch_world
	each_mode check_death_in_spawn
	check_world
}

test_a_second_cell_that_cannot_be_built_is_an_error_after_the_first_call() {
	need_faults
	watch_world
	# the crash takes the first cell; nothing may be left of the first when the second fails
	FSBOX_FAULT=none cell --event 1 --event 2 "$FUNCTIONS/crash_abort.so"
	check_eq "$status" 134
	check_world
}

# ---- Restores ----

with_snapshot() {
	need_faults
	[ -d "$FSBOX_SRC/build/criu" ] || skip "there is no CRIU: sh tools/criu.sh"
	XDG_STATE_HOME=$T/state
	export XDG_STATE_HOME
	cell_status 0 --snapshot=require "$FUNCTIONS/echo.so"
	watch_world
}

test_a_stage_of_a_restore_that_fails_is_named_and_leaves_nothing() {
	with_snapshot
	for stage in $HOST_STAGES $CHILD_STAGES $RESTORE_STAGES; do
		FSBOX_FAULT=$stage cell --snapshot=require "$FUNCTIONS/echo.so"
		check_eq "$status" 125
		check_contains "$T/err" "(stage $stage)"
		check_contains "$T/err" "injected fault"
		check_lacks "$T/err" REPORT
		note "$stage"
		check_world
	done
	cell_status 0 --snapshot=require "$FUNCTIONS/echo.so"
	check_contains "$T/err" RESTORE_REPORT
}

test_a_child_that_dies_in_a_restore_is_125_and_leaves_nothing() {
	with_snapshot
	for stage in $CHILD_STAGES $RESTORE_STAGES; do
		FSBOX_FAULT="$stage!" cell --snapshot=require "$FUNCTIONS/echo.so"
		check_eq "$status" 125
		check_lacks "$T/err" REPORT
		note "$stage"
		check_world
	done
}

test_a_restore_that_fails_is_a_cold_start_unless_it_is_required() {
	with_snapshot
	for stage in $RESTORE_STAGES; do
		FSBOX_FAULT=$stage cell --snapshot "$FUNCTIONS/echo.so" --event x
		check_eq "$status" 0
		check_eq "$(cat "$T/out")" x
		check_contains "$T/err" 'no snapshot is used'
		check_contains "$T/err" 'Init Duration'
	done
	check_world
}

test_after_fsbox_died_in_a_restore_nothing_runs_and_the_next_start_removes_the_rest() {
	with_snapshot
	for stage in $HOST_STAGES; do
		FSBOX_FAULT="$stage!" cell --snapshot=require "$FUNCTIONS/echo.so"
		check_eq "$status" 99
		wait_for 20 gone || fail "something of the cell runs on after a death in '$stage'"
		cell_status 0 --snapshot=require "$FUNCTIONS/echo.so"
		check_world
	done
}

run_tests "$@"
