#!/bin/sh
# docs/kernel-requirements.md is what the programs of this folder print on each tier: the features that are tested and no
# others, each with the answer of the kernel that this runs on.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
again="make it anew: sh tests/guest/kernel-table.sh"
document=$FSBOX_SRC/docs/kernel-requirements.md

rows() { # feature, used for, without it, answer here
	for program in processes mounts cgroups; do
		"$FSBOX_BUILD/tests/kernel/$program" >"$T/out" 2>"$T/err" || fail "$program"
		sed -n 's/^# row	//p' "$T/out"
	done
}

# Its column in the table; none for a machine that is neither a guest nor hybrid.
column() {
	case ${FSBOX_TIER-} in
	guest-6.1) echo 5 ;;
	guest-6.12) echo 6 ;;
	*) [ "$(awk '$3 == "cgroup" { print "hybrid"; exit }' /proc/mounts)" != hybrid ] || echo 4 ;;
	esac
}

told() { # COLUMN...: those of the table's rows
	awk -v columns="$*" -F ' *[|] *' '
		BEGIN { n = split(columns, want, " ") }
		NF >= 7 && $2 !~ /^(feature|-+)$/ {
			for (i = 1; i <= n; i++)
				printf "%s%s", $(want[i] + 1), i < n ? "\t" : "\n"
		}' "$document"
}

test_the_table_has_a_row_for_each_feature_and_no_other() {
	# FEATURE(id, "name", … with the name on the same line
	sed -n 's/^FEATURE([a-z0-9_]*, "\(\([^"\\]\|\\.\)*\)".*/\1/p' "$FSBOX_SRC"/tests/kernel/*.c |
		sed 's/\\"/"/g' | sort >"$T/tested"
	check test -s "$T/tested"
	told 1 | sort >"$T/told"
	diff "$T/tested" "$T/told" >"$T/out" || {
		show
		fail "$again"
	}
}

test_the_table_says_what_this_kernel_shows() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	at=$(column)
	[ -n "$at" ] || skip_host "the table has no column for pure cgroup v2 outside of the guests"
	rows | cut -f 1-4 | sort >"$T/seen"
	check test -s "$T/seen"
	told 1 2 3 "$at" | sort >"$T/told"
	diff "$T/told" "$T/seen" >"$T/out" || {
		show
		fail "$again"
	}
}
run_tests "$@"
