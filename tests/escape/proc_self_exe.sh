#!/bin/sh
# Bug class: overwriting the runtime through /proc/self/exe (CVE-2019-5736). What executes in a cell comes from read-only
# mounts, so there is no way to write it; and the host's programs are bit by bit what they were.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

sums() {
	sha256sum "$FSBOX" "$FSBOX_BUILD/runtime/init" "$FSBOX_BUILD/runtime/native" "$FUNCTIONS/escape_exe.so"
}

check_exe() {
	sums >"$T/sums"
	for policy in default none; do
		cell_status 0 --policy "$policy" "$FUNCTIONS/escape_exe.so"
		check_ask '[to_entries[] | select(.value == 0) | .key] | join(", ")' ""
	done
	sums | diff - "$T/sums" >"$T/diff" || {
		note "$(cat "$T/diff")"
		fail "[$MODE] a program of the host has changed"
	}
}
test_the_programs_that_run_in_a_cell_cannot_be_written_from_inside() {
	watch_world
	each_mode check_exe
	check_world
}

# Where the programs belong to the function's own user on the host (an ordinary user's build), the mount has to hold.
check_own() {
	user_dirs
	mkdir "$T/own"
	cp -r "$FSBOX_BUILD/runtime" "$T/own/runtime"
	cp "$FSBOX" "$T/own/fsbox"
	cp "$FUNCTIONS/escape_exe.so" "$T/own/function.so"
	chown -R "$CELL_USER" "$T/own"
	chmod -R u+w "$T/own"
	run in_mode "$T/own/fsbox" run --no-limits "$T/own/function.so"
	check_eq "$status" 0
	check_ask '[to_entries[] | select(.value == 0) | .key] | join(", ")' ""
	# not somebody else's file, as above, but a read-only file system
	check_ask '[."truncate /var/runtime/native", ."truncate /var/runtime/init", ."chmod /proc/self/exe", ."unlink /var/runtime/init"] | unique | join(" ")' 30
	check cmp "$FSBOX_BUILD/runtime/native" "$T/own/runtime/native"
	rm -rf "$T/own"
}
test_programs_that_belong_to_the_functions_own_user_cannot_be_written_either() {
	watch_world
	each_mode check_own user userns
	check_world
}

run_tests "$@"
