#!/bin/sh
# Bug class: release_agent and notify_on_release (CVE-2022-0492), hierarchies mounted from inside, leaving the own group.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

check_cgroups() {
	for policy in default none; do
		cell_status 0 --policy "$policy" "$FUNCTIONS/escape_cgroup.so"
		check_ask '[to_entries[] | select(.value == 0 and (.key | test("^(sys is empty|unshare user and cgroup)$") | not)) | .key] | join(", ")' ""
		# without a filter the kernel gives anybody a user namespace; it does not open what came before
		[ "$policy" = none ] || check_true '."unshare user and cgroup" != 0'
		check_ask '."sys is empty"' 0
	done
}
test_a_cell_finds_no_hierarchy_and_mounts_none() {
	watch_world
	each_mode check_cgroups
	check_world
}

# The groups of a running cell, seen from outside: nothing in them belongs to the cell's user.
test_the_cells_groups_are_not_its_own() {
	need_root
	watch_world
	parent=$(echo "${TAP_DIR##*/}" | tr . -)
	"$FSBOX" run --cgroup-parent "/$parent" --timeout 20 "$FUNCTIONS/sleep_forever.so" >"$T/out" 2>"$T/err" &
	pid=$!
	wait_for 50 grep -q START "$T/err" || fail "no start"
	# shellcheck disable=SC2046 # words
	find $(cgroup_roots) -xdev -path "*/$parent/cell-*" ! -user 0 >"$T/theirs"
	# v1's event_control is everybody's by the kernel's making; what can be done with it needs the other files
	# shellcheck disable=SC2046 # words
	find $(cgroup_roots) -xdev -path "*/$parent/cell-*" -perm -o+w ! -name cgroup.event_control >>"$T/theirs"
	# shellcheck disable=SC2046 # words
	find $(cgroup_roots) -xdev -path "*/$parent/cell-*" -name notify_on_release -exec cat {} + >"$T/notify"
	kill -TERM "$pid"
	wait "$pid" 2>/dev/null || :
	undelegate "$parent"
	[ ! -s "$T/theirs" ] || fail "files that are not only root's: $(cat "$T/theirs")"
	check_lacks "$T/notify" 1
	check_world
}

run_tests "$@"
