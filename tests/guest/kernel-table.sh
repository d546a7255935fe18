#!/bin/sh
# Makes docs/kernel-requirements.md from what the programs of tests/kernel print on each tier: this machine, which has to
# have hybrid cgroups for the column of that name, and the guests. kernel/document compares it in every run of the tests.
#
#   sh tests/guest/kernel-table.sh              runs them and writes the document
#   sh tests/guest/kernel-table.sh --logs       prints it from the logs of earlier runs in build/test-logs
#
# A tier without logs, and this machine if its cgroups are not hybrid, keeps the column that the document has.
set -eu
cd "$(dirname "$0")/../.."
logs=build/test-logs
old=docs/kernel-requirements.md
programs="kernel/processes kernel/mounts kernel/cgroups"
if [ "${1-}" != --logs ]; then
	for program in $programs; do
		set -- "$@" "$program" "guest-6.1/$program" "guest-6.12/$program"
	done
	sh tests/run.sh "$@"
	sh tests/guest/kernel-table.sh --logs >build/kernel-requirements.md
	mv build/kernel-requirements.md $old
	exit
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-table.XXXXXX")
trap 'rm -rf "$work"' EXIT

# TIER<TAB>FEATURE<TAB>USED FOR<TAB>WITHOUT<TAB>SEEN<TAB>RELEASE
rows() { # TIER LOG...
	tier=$1
	shift
	for log in "$@"; do
		[ ! -f "$log" ] || sed -n "s/^# row	/$tier	/p" "$log"
	done
}
{
	for program in processes mounts cgroups; do
		! grep -q '^[^ ]* [^ ]* cgroup ' /proc/mounts ||
			rows host "$logs/kernel.$program.log"
		for kernel in 6.1 6.12; do
			rows "$kernel" "$logs/guest-$kernel.kernel.$program.log"
		done
	done
} >"$work/rows"
[ -s "$work/rows" ] || {
	echo "kernel-table.sh: no rows in $logs: run it without --logs" >&2
	exit 1
}
[ ! -f "$old" ] || cp "$old" "$work/old"
: >>"$work/old"

cat <<'END'
# What fsbox needs of the kernel

The floor is Linux 6.1. The programs in `tests/kernel/` use each feature and look at its effect; they run on the machine that
builds (`make check`), and in the guest tier on Debian's kernels 6.1 and 6.12 with pure cgroup v2 (`make check-guest`, `make
check-all`). This table is what they printed; `sh tests/guest/kernel-table.sh` makes it anew, and `kernel/document` fails where
a run shows something else. `fsbox check` says the same of the host it runs on.

"Elsewhere" means that the feature is one of cgroup2's controllers and this machine has them on v1, or the reverse. The hybrid
column is a machine with the controllers on v1 and an empty cgroup2 tree beside them.

END
awk -F '\t' '
	$1 == "host" { sub(/[^0-9.].*/, "", $6) } # the rest is its builder
	!($1 in release) { release[$1] = $6 }
	END {
		printf "Kernels of the last run: hybrid %s, 6.1 %s, 6.12 %s.\n\n", look("host"), look("6.1"), look("6.12")
	}
	function look(t) { return t in release ? release[t] : "not run" }' "$work/rows"
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
