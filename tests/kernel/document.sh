#!/bin/sh
# docs/kernel-requirements.md names the features that are tested, and no others.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

test_the_document_has_a_row_for_each_feature_and_no_other() {
	# FEATURE(id, "name", … with the name on the same line
	sed -n 's/^FEATURE([a-z0-9_]*, "\(\([^"\\]\|\\.\)*\)".*/\1/p' "$FSBOX_SRC"/tests/kernel/*.c |
		sed 's/\\"/"/g' | sort >"$T/tested"
	sed -n 's/^| \([^|]*[^ |]\) *|.*/\1/p' "$FSBOX_SRC/docs/kernel-requirements.md" | grep -v '^feature$' |
		sort >"$T/told"
	check test -s "$T/tested"
	diff "$T/tested" "$T/told" >"$T/out" || {
		show
		fail "make it anew: sh tests/guest/kernel-table.sh >docs/kernel-requirements.md"
	}
}
run_tests
