#!/bin/sh
# Makes docs/kernel-requirements.md from what the programs of tests/kernel printed on each tier.
#
#   sh tests/run.sh kernel; sh tests/guest/run.sh 6.1 kernel; sh tests/guest/run.sh 6.12 kernel
#   sh tests/guest/kernel-table.sh >docs/kernel-requirements.md
#
# It reads the logs in build/test-logs. A tier without logs keeps the column that the document has.
set -eu
cd "$(dirname "$0")/../.."
logs=build/test-logs
old=docs/kernel-requirements.md
work=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-table.XXXXXX")
trap 'rm -rf "$work"' EXIT

# TIER<TAB>FEATURE<TAB>USED FOR<TAB>WITHOUT<TAB>SEEN
rows() { # TIER LOG...
	tier=$1
	shift
	for log in "$@"; do
		[ ! -f "$log" ] || sed -n "s/^# row	/$tier	/p" "$log"
	done
}
{
	for program in processes mounts cgroups; do
		rows host "$logs/kernel.$program.log"
		for kernel in 6.1 6.12; do
			rows "$kernel" "$logs/guest-$kernel.kernel.$program.log"
		done
	done
} >"$work/rows"
[ -s "$work/rows" ] || {
	echo "table.sh: no rows in $logs; run the suite first, see the head of this file" >&2
	exit 1
}
[ ! -f "$old" ] || cp "$old" "$work/old"
: >>"$work/old"

cat <<'END'
# What fsbox needs of the kernel

The floor is Linux 6.1. The programs in `tests/kernel/` use each feature and look at its effect; they run on the machine that
builds (`make check`), and in the guest tier on Debian's kernels 6.1 and 6.12 with pure cgroup v2 (`make check-guest`, `make
check-all`). This table is what they printed; `sh tests/guest/kernel-table.sh >docs/kernel-requirements.md` makes it anew.
`fsbox check` says the same of the host it runs on.

"Elsewhere" means that the feature is one of cgroup2's controllers and this machine has them on v1, or the reverse. The hybrid
column is a machine with the controllers on v1 and an empty cgroup2 tree beside them.

END
awk -F '\t' '
	function cell(s) { gsub(/\|/, "\\|", s); gsub(/^ +| +$/, "", s); return s }
	FILENAME ~ /old$/ {
		if (split($0, c, / *\| */) >= 7 && c[2] !~ /^(feature|-+)$/) {
			was[c[2], "host"] = c[5]; was[c[2], "6.1"] = c[6]; was[c[2], "6.12"] = c[7]
		}
		next
	}
	{
		f = cell($2)
		if (!(f in used)) { used[f] = cell($3); without[f] = cell($4); order[++n] = f }
		seen[f, $1] = $5
		tier[$1] = 1
	}
	function look(f, t) { return (f, t) in seen ? seen[f, t] : !(t in tier) && (f, t) in was ? was[f, t] : "not run" }
	END {
		print "| feature | used for | without it | hybrid | 6.1 | 6.12 |"
		print "|---|---|---|---|---|---|"
		for (i = 1; i <= n; i++) {
			f = order[i]
			printf "| %s | %s | %s | %s | %s | %s |\n", f, used[f], without[f], look(f, "host"), look(f, "6.1"), \
				look(f, "6.12")
		}
	}' "$work/old" "$work/rows"
