#!/bin/sh
# Restored cells and cold ones behave alike: the tests of cold cells, run once more with every cell a clone. Left out are those
# that ask for what only a cold start has: Init Duration, the number of init's reports, the environment's words for the kind
# of start. `make check` runs the two whose promises matter most, `make check-all` all of them. time-limit: 900
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

through() { # SCRIPT ERE of the names that are left out
	need_root
	[ -d "$FSBOX_BUILD/criu" ] || [ -d "$FSBOX_BUILD/../criu" ] || skip "there is no CRIU: sh tools/criu.sh"
	script=$FSBOX_SRC/tests/system/$1.sh
	sed -n 's/^test_\([A-Za-z0-9_]*\)() *{.*/\1/p' "$script" >"$T/all"
	grep -vE "$2" "$T/all" >"$T/names"
	check test "$(wc -l <"$T/names")" -gt 3
	status=0
	# shellcheck disable=SC2046 # words
	FSBOX_THROUGH_SNAPSHOT=1 sh "$script" $(cat "$T/names") >"$T/tap" 2>&1 || status=$?
	[ "$status" = 0 ] || {
		note "$(grep -E '^not ok' "$T/tap")"
		note "$(grep -B 12 -E '^not ok' "$T/tap" | tail -n 60)"
		fail "$1 through a snapshot: status $status"
	}
	check_eq "$(grep -c '^ok' "$T/tap")" "$(wc -l <"$T/names")"
}

in_check_all() {
	[ "${FSBOX_ALL-}" = 1 ] || skip_host "only in make check-all"
}

test_isolation() {
	through run_isolation 'the_environment_is_the_documented|every_mount_is_read_only'
}

test_limits() {
	through run_limits 'init_has_a_whole_cpu|twice_that_are_two'
}

test_answers() {
	in_check_all
	through run_answers 'form_and_surround|billed_duration_is|init_duration|report_of_a|json_log|json_is_one_document|with_every_stage'
}

test_outcomes() {
	in_check_all
	through run_outcomes 'init_that|^init_|second_init|^after_a_(crash|reported)|^with_mixed'
}

test_policies() {
	in_check_all
	through run_policies 'after_a_refusal_under_strict'
}

test_signals() {
	in_check_all
	through run_signals 'during_init|in_init'
}
run_tests "$@"
