#!/bin/sh
# What goes wrong around snapshots: CRIU or fsbox killed in the middle, a full disk, images that vanish. A sentence, the host
# as before, a store that holds nothing half. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

# An image that takes its time: 96 MiB.
heavy() {
	make_function heavy 'static char *p;' 'p = malloc(96 << 20); memset(p, 1, 96 << 20); printf("init is done\n");' \
		'return answer(call, p[12345678] == 1 ? "whole" : "broken");'
}

criu_runs() { # as its loader calls it, in this pid namespace
	pgrep 'ld-linux' >"$T/criu"
}

await() { # a hundred times a second, at most 20 s, until COMMAND is true
	await_left=$(slow 2000)
	until "$@"; do
		await_left=$((await_left - 1))
		[ "$await_left" -gt 0 ] || return 1
		nap 0.01
	done
}

test_criu_killed_in_the_middle_of_a_dump_or_a_restore() {
	own_store
	heavy
	# each time a little later: in the dump, in the trials
	for try in 1 2 3 4 5 6; do
		"$FSBOX" snapshot create --mem 512 "$T/heavy.so" >"$T/out" 2>"$T/err" &
		making=$!
		await criu_runs || fail "no CRIU was seen"
		nap "0.0$((try * 9 - 9 > 9 ? 9 : 1))"
		# shellcheck disable=SC2046 # words
		kill -9 $(cat "$T/criu") 2>/dev/null || :
		status=0
		wait "$making" || status=$?
		[ "$status" = 0 ] || check_matches "$T/err" '^fsbox: .*CRIU'
		check_store
		snapshot ls --json
		[ "$status" = 0 ] || check_ask '.snapshots | length' 0
		for id in $(jq -r '.snapshots[].id' "$T/out"); do
			snapshot_status 0 rm "$id"
		done
	done
	snapshot_status 0 create --mem 512 "$T/heavy.so"
	for try in 1 2 3 4 5 6; do
		"$FSBOX" run --mem 512 --snapshot=require "$T/heavy.so" >"$T/out" 2>"$T/err" &
		running=$!
		await criu_runs || fail "no CRIU was seen"
		nap "0.0$try"
		# shellcheck disable=SC2046 # words
		kill -9 $(cat "$T/criu") 2>/dev/null || :
		status=0
		wait "$running" || status=$?
		if [ "$status" = 0 ]; then
			check_eq "$(cat "$T/out")" whole
		else # the runtime itself, when it has not got its name back yet
			check_matches "$T/err" '^fsbox: .*CRIU|Error Type: Runtime.ExitError'
		fi
		check_world
	done
	cell_status 0 --mem 512 --snapshot=require "$T/heavy.so"
	check_eq "$(cat "$T/out")" whole
	check_store
}

gone() { # one name at a time: pgrep takes no pattern of more than 15 characters
	for gone_name in '^fsbox$' '^native$' '^fsbox-init$' '^ld-linux'; do
		! pgrep "$gone_name" >/dev/null || return 1
	done
}

test_fsbox_killed_at_any_moment_leaves_nothing() {
	own_store
	heavy
	for pause in 0.00 0.02 0.05 0.08 0.12 0.16 0.2 0.3; do
		"$FSBOX" snapshot create --mem 512 "$T/heavy.so" >"$T/out" 2>"$T/err" &
		making=$!
		nap "$pause"
		kill -9 "$making" 2>/dev/null || :
		wait "$making" 2>/dev/null || :
		wait_for 50 gone || fail "something runs on after $pause s: $(ps -e -o comm | sort -u | tr '\n' ' ')"
		# the next one works, and clears up
		cell_status 0 --mem 512 --snapshot=require "$T/heavy.so"
		snapshot_status 0 gc --max-age 36500
		check_store
		snapshot_status 0 gc --max-age 0 --max-size 0
	done
	cell_status 0 --mem 512 --snapshot=require "$T/heavy.so"
	for pause in 0.00 0.02 0.03 0.05 0.07 0.09; do
		"$FSBOX" run --mem 512 --snapshot=require "$T/heavy.so" >"$T/out" 2>"$T/err" &
		running=$!
		nap "$pause"
		kill -9 "$running" 2>/dev/null || :
		wait "$running" 2>/dev/null || :
		wait_for 50 gone || fail "something runs on after $pause s"
		cell_status 0 --mem 512 --snapshot=require "$T/heavy.so"
		check_store
	done
}

test_a_signal_ends_a_publish_in_good_order() {
	own_store
	heavy
	for pause in 0.02 0.1 0.2; do
		"$FSBOX" snapshot create --mem 512 "$T/heavy.so" >"$T/out" 2>"$T/err" &
		making=$!
		nap "$pause"
		kill -TERM "$making" 2>/dev/null || :
		status=0
		wait "$making" || status=$?
		[ "$status" = 0 ] || [ "$status" = 143 ] || fail "status $status"
		check_store
	done
}

test_a_full_disk_is_told_and_a_cold_start_serves() {
	own_store
	heavy
	mkdir "$T/small"
	mount -t tmpfs -o size=32m fsbox-test "$T/small"
	XDG_STATE_HOME=$T/small
	store=$T/small/fsbox/snapshots
	cell_status 0 --mem 512 --snapshot "$T/heavy.so"
	check_eq "$(cat "$T/out")" whole
	check_contains "$T/err" 'no snapshot is used'
	check_matches "$T/err" 'No space left|cannot dump'
	cell --mem 512 --snapshot=require "$T/heavy.so"
	check_eq "$status" 125
	find "$store" -mindepth 1 -maxdepth 1 ! -name index ! -name last >"$T/left"
	check_eq "$(cat "$T/left")" ''
	check_eq "$(df --output=used -k "$T/small" | tail -n 1 | awk '{ print ($1 < 1024) }')" 1
	umount "$T/small"
	check_world
}

test_images_that_vanish_do_not_disturb_running_clones() {
	own_store
	heavy
	cell_status 0 --mem 512 --snapshot=require "$T/heavy.so"
	mkfifo "$T/stall"
	"$FSBOX" run --mem 512 --snapshot=require --timeout 30 "$T/heavy.so" --event 1 --event "@$T/stall" >"$T/o" 2>"$T/e" &
	running=$!
	exec 8>"$T/stall" # it opens its end while it prepares its events
	echo 2 >&8
	rm -rf "$store"
	exec 8>&-
	status=0
	wait "$running" || status=$?
	if [ "$status" = 0 ]; then
		check_eq "$(tr '\n' ' ' <"$T/o")" 'whole whole '
	else
		check_matches "$T/e" 'snapshot' # removed before it was opened
	fi
	cell_status 0 --mem 512 --snapshot "$T/heavy.so"
	check_store
}
run_tests "$@"
