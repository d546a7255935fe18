#!/bin/sh
# A hundred at once: every cell answers its own event, no two share ids or anything else, and nothing is left.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

MANY=100

start_many() { # FUNCTION [options]: each with its own number as the event, statuses in $T/status.N
	many_function=$1
	shift
	for n in $(seq 1 "$MANY"); do
		# shellcheck disable=SC2046 # words
		(
			many_status=0
			in_mode "$FSBOX" run $(mode_options) "$@" --event "$n" "$many_function" >"$T/out.$n" 2>"$T/err.$n" || many_status=$?
			echo "$many_status" >"$T/status.$n"
		) &
	done
}

all_done() {
	wait
	failed=0
	for n in $(seq 1 "$MANY"); do
		[ "$(cat "$T/status.$n")" = 0 ] || {
			failed=$((failed + 1))
			note "$n: status $(cat "$T/status.$n"): $(head -c 300 "$T/err.$n")"
		}
	done
	[ "$failed" = 0 ] || fail "[$MODE] $failed of $MANY failed"
}

check_many_echoes() {
	rm -f "$T"/out.* "$T"/status.*
	start_many "$FUNCTIONS/echo.so" --timeout 60
	all_done
	for n in $(seq 1 "$MANY"); do
		check_eq "$(cat "$T/out.$n")" "$n"
	done
}
test_a_hundred_cells_at_once_answer_each_its_own_event() {
	watch_world
	each_mode check_many_echoes
	check_world
}

test_a_hundred_cells_that_live_together_have_ranges_of_ids_of_their_own() {
	need_root
	watch_world
	start_many "$FUNCTIONS/remaining.so" --timeout 60 --mem 16 --name many
	# the event is how long they sleep: 1 … 100 ms are too short to see, so a second round lives for 3 s
	all_done
	rm -f "$T"/status.* "$T"/out.*
	for n in $(seq 1 "$MANY"); do
		(
			many_status=0
			"$FSBOX" run --timeout 60 --mem 16 --event $((4000 * ${FSBOX_SLOWER:-1})) "$FUNCTIONS/remaining.so" >"$T/out.$n" 2>"$T/err.$n" || many_status=$?
			echo "$many_status" >"$T/status.$n"
		) &
	done
	most=0
	look=0
	while [ "$(find "$T" -maxdepth 1 -name 'status.*' | wc -l)" -lt "$MANY" ]; do # until the last has ended
		look=$((look + 1))
		for p in /proc/[0-9]*; do
			[ "$(cat "$p/comm" 2>/dev/null)" != native ] || sed 's/^ *//' "$p/uid_map" 2>/dev/null
		done | tr -s ' ' >"$T/maps.$look"
		seen=$(wc -l <"$T/maps.$look")
		[ "$seen" -le "$most" ] || {
			most=$seen
			cp "$T/maps.$look" "$T/maps"
		}
		[ "$most" -lt "$MANY" ] || break
		nap 0.1
	done
	note "$most cells were seen at once"
	check_between "$most" 60 "$MANY" "cells at once"
	check_eq "$(cut -d' ' -f2 "$T/maps" | sort -u | wc -l)" "$most"
	# 65,536 each: no range reaches into the next
	cut -d' ' -f2 "$T/maps" | sort -n | awk 'NR > 1 && $1 - last < 65536 { exit 1 } { last = $1 }' || fail "ranges overlap"
	all_done
	check_world
}

test_the_slots_are_used_again() {
	need_root
	watch_world
	for n in 1 2 3; do
		cell_status 0 "$FUNCTIONS/inspect.so"
		ask '.uidMap[0]' | tr -s ' ' >>"$T/maps"
	done
	check_eq "$(sort -u "$T/maps" | wc -l)" 1
	check_world
}

test_when_every_slot_is_taken_that_is_said() {
	need_root
	watch_world
	# one range only: /etc/subuid says so, in a mount namespace of its own
	printf 'fsbox:2000000000:65536\n' >"$T/subid"
	cat >"$T/inner.sh" <<-'END'
		mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid || exit 99
		"$FSBOX" run --timeout 20 --event 1500 "$FUNCTIONS/remaining.so" >/dev/null 2>"$2/first" &
		for i in $(seq 1 50); do
			grep -q START "$2/first" && break
			command sleep 0.1
		done
		status=0
		"$FSBOX" run "$FUNCTIONS/echo.so" || status=$?
		wait
		exit $status
	END
	[ -e /etc/subuid ] || skip "/etc/subuid is missing"
	[ -e /etc/subgid ] || skip "/etc/subgid is missing"
	run unshare --mount sh "$T/inner.sh" "$T/subid" "$T"
	check_eq "$status" 125
	check_contains "$T/err" "all 1 slots"
	check_world
}

run_tests "$@"
