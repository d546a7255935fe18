#!/bin/sh
# Static checks. Without arguments: all the quick ones.
#
#   sh tests/lint/run.sh               quick: under 20 s
#   sh tests/lint/run.sh --all         and clang-tidy, cppcheck, a compiler for aarch64, sizes beyond the aims
#   sh tests/lint/run.sh CHECK...      some: the names that --list prints
#
# A check prints its findings and fails; a tool that is not there is a skip (status 77 for a single check).
set -u
cd "$(dirname "$0")/../.." || exit 1
LC_ALL=C.UTF-8
export LC_ALL
FSBOX_QUICK="layers banned names sizes headers marks scripts cases format makefile manual spelling"
FSBOX_SLOW="tidy cppcheck cross aims"

files() { # PATTERN DIR...: the files, in order, of those folders that exist
	pattern=$1
	shift
	for dir in "$@"; do
		[ -d "$dir" ] && find "$dir" -name "$pattern" -type f
	done | sort
}
product="sandbox cgroup netns snapshot"
all_c() { files '*.[ch]' sandbox cgroup netns snapshot tools tests contrib; }
need() {
	command -v "$1" >/dev/null 2>&1 || {
		echo "no $1 here (Debian package ${2:-$1})"
		exit 77
	}
}
code() { # the sources without comments and texts
	all_c | xargs -r awk -f tests/lint/code.awk
}

check_layers() {
	# shellcheck disable=SC2086 # words
	files '*.[ch]' $product | xargs -r awk -f tests/lint/layers.awk
}

check_banned() { code | awk -v allowed=tests/lint/allowed -f tests/lint/banned.awk; }

check_names() { # an attic has no subject; files are named after theirs
	# shellcheck disable=SC2086 # words
	! find $product tests tools contrib -type f \( -name 'util.*' -o -name 'utils.*' -o -name 'common.*' -o \
		-name 'misc.*' -o -name 'helper.*' -o -name 'helpers.*' \) 2>/dev/null | grep .
}

check_sizes() { all_c | xargs -r awk -v allowed=tests/lint/allowed -f tests/lint/sizes.awk; }
check_aims() { all_c | xargs -r awk -v aims=1 -v allowed=tests/lint/allowed -f tests/lint/sizes.awk; }

# Each header compiles alone: whoever includes it needs to know nothing else.
check_headers() {
	need pkg-config pkgconf
	# shellcheck disable=SC2016 # for the inner shell
	files '*.h' sandbox cgroup netns snapshot tests/lib | xargs -r -P "$(nproc)" -n 1 sh -c '
		echo "#include \"$1\"" | ${CC:-cc} -x c -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -Isandbox -I. \
			$(pkg-config --cflags libnl-3.0) -fsyntax-only - || exit 1' sh
}

check_marks() { # unfinished work belongs to an issue, not to a comment
	words='TO''DO|FIX''ME|XX''X|HA''CK'
	! all_c | xargs -r grep -nEw "$words" &&
		! grep -rnEw "$words" Makefile README.md docs tools policies contrib .ci 2>/dev/null
}

check_scripts() {
	need shellcheck
	{
		files '*.sh' tests tools contrib sandbox
		ls .ci/run
	} | xargs -r -P "$(nproc)" -n 16 shellcheck -x -e SC1090,SC1091,SC2016,SC2034,SC2119,SC2154,SC2317 # sourced by computed paths (and its variables); inner shells; words that may be absent; called by name
}

# The sentences of the runtime-spec have tests, the document's table counts them, and the fuzzer knows every key.
check_cases() {
	missing=$(grep -hoE '\{"[A-Za-z0-9_-]+",' sandbox/oci/config*.c | sed 's/^{"\(.*\)",$/"\\"\1\\""/' | sort -u |
		grep -vxF -f tests/fuzz/oci_config.dict) && {
		printf 'not in tests/fuzz/oci_config.dict:\n%s\n' "$missing"
		return 1
	}
	set -- tests/conformance/oci/cases.tsv tests/conformance/oci/*.sh
	table=$(awk -v table=1 -f tests/lint/cases.awk "$@") || {
		printf '%s\n' "$table"
		return 1
	}
	said=$(grep '^| [a-z-]*\.md | ' docs/oci.md)
	[ "$table" = "$said" ] || {
		printf 'docs/oci.md has another table of the spec than cases.tsv:\n%s\n' "$table"
		return 1
	}
}

check_format() {
	need clang-format
	version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
	[ "$version" = 14 ] || {
		echo "clang-format is $version, and only version 14 agrees with itself"
		exit 77
	}
	wrong=$(all_c | xargs -r -P "$(nproc)" -n 8 sh -c 'for f; do clang-format "$f" | cmp -s - "$f" || echo "$f"; done' sh)
	[ -z "$wrong" ] || {
		for f in $wrong; do
			clang-format "$f" | diff -u --label "$f" --label "$f (formatted)" "$f" - | head -n 20
		done
		echo "repair with: make format"
		return 1
	}
	# The formatter leaves comments and texts alone; tables that it must not touch may be as wide as they read best.
	! all_c | xargs -r awk '
		FNR == 1 || /clang-format on/ { table = 0 }
		/clang-format off/ { table = 1 }
		{ l = $0; gsub(/\t/, "        ", l); gsub(/[\200-\277]/, "", l) }
		!table && length(l) > 124 { print FILENAME ":" FNR ": over 124 columns" }' |
		grep .
}

check_makefile() {
	lines=$(wc -l <Makefile)
	[ "$lines" -le 250 ] || {
		echo "Makefile has $lines lines (limit 250)"
		return 1
	}
	make -n --warn-undefined-variables help 2>&1 >/dev/null | grep -v "undefined variable '\(V\|DEV\|DESTDIR\|CPPFLAGS\|LDFLAGS\|SAN_\|DEFS_\|MAKE_TERM\|GNUMAKEFLAGS\)" | grep 'undefined' && return 1
	return 0
}

check_manual() {
	need man man-db
	status=0
	for page in $(files '*.[1-8]' docs/man); do
		said=$(MANROFFSEQ='' MANWIDTH=100 MAN_DISABLE_SECCOMP=1 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
		[ -z "$said" ] || {
			echo "$said"
			status=1
		}
	done
	return "$status"
}

check_spelling() {
	need codespell
	codespell -q 3 -L "crate,ser,statics,ue,nd,hist,mis,fo,clos,inout,te,ans,requestor" -S '*.awk,package-lock.json,./build,*/corpus/*,allowed,LICENSE' \
		Makefile sandbox cgroup netns snapshot tools tests contrib docs policies README.md .ci 2>/dev/null
}

tidy_flags() {
	echo "-std=gnu17 -D_GNU_SOURCE -DFSBOX_VERSION=\"0\" -Isandbox -Isandbox/runtime -I. -Ibuild/gen $(pkg-config --cflags libnl-3.0)"
}
check_tidy() {
	need clang-tidy
	need pkg-config pkgconf
	# shellcheck disable=SC2016 # for the inner shell
	files '*.c' sandbox cgroup netns snapshot tools | xargs -r -P "$(nproc)" -n 4 sh -c '
		flags=$1
		shift
		clang-tidy --quiet --warnings-as-errors="*" "$@" -- $flags 2>&1 | grep -v "warnings generated\|^Suppressed\|^Use -header" >"/tmp/fsbox-tidy.$$"
		cat "/tmp/fsbox-tidy.$$"
		! grep -q "error:" "/tmp/fsbox-tidy.$$"
		status=$?
		rm -f "/tmp/fsbox-tidy.$$"
		exit $status' sh "$(tidy_flags)"
}
check_cppcheck() {
	need cppcheck
	# shellcheck disable=SC2046 # words
	cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppressions-list=tests/lint/cppcheck.txt -D_GNU_SOURCE -D__x86_64__ -D__linux__ '-DFSBOX_VERSION="0"' \
		-Isandbox -I. $(ls -d sandbox cgroup netns snapshot tools 2>/dev/null)
}

# What is written for two processors is built for one: a compiler for the other one reads all of it. What runs before the C
# library (tools/oci.mk) must need nothing of it on that one either.
check_cross() {
	need aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu, libc6-dev-arm64-cross"
	cross="aarch64-linux-gnu-gcc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Isandbox -Isandbox/runtime -I."
	object=$(mktemp) || return 1
	status=0
	# shellcheck disable=SC2086 # words
	$cross -fPIE -fstack-clash-protection -ftrivial-auto-var-init=zero -ffreestanding -fno-stack-protector \
		-fno-tree-loop-distribute-patterns -c -o "$object" sandbox/oci/early.c || status=1
	[ "$status" != 0 ] || [ "$(aarch64-linux-gnu-nm -u "$object")" = "                 U _start" ] || {
		echo "sandbox/oci/early.c needs what is not there yet:"
		aarch64-linux-gnu-nm -u "$object"
		status=1
	}
	rm -f "$object"
	# shellcheck disable=SC2086 # words
	for f in $(all_c | grep "\.c$" | xargs grep -l __aarch64__); do
		$cross -fsyntax-only "$f" || status=1
	done
	return "$status"
}

checks=
single=
for arg in "$@"; do
	case $arg in
	--all) checks="$FSBOX_QUICK $FSBOX_SLOW" ;;
	--list)
		echo "$FSBOX_QUICK $FSBOX_SLOW"
		exit
		;;
	*)
		checks="$checks $arg"
		single=$arg
		;;
	esac
done
case " $FSBOX_QUICK $FSBOX_SLOW " in
*" ${single:-layers} "*) ;;
*)
	echo "lint: no check '$single'; there are: $FSBOX_QUICK $FSBOX_SLOW" >&2
	exit 2
	;;
esac
status=0
for check in ${checks:-$FSBOX_QUICK}; do
	said=$("check_$check" 2>&1)
	result=$?
	[ -z "$said" ] || printf '%s\n' "$said"
	case $result in
	0) echo "lint: $check: ok" ;;
	77)
		echo "lint: $check: skipped"
		[ -z "$single" ] || status=77
		;;
	*)
		echo "lint: $check: FAILED"
		status=1
		;;
	esac
done
exit $status
