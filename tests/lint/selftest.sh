#!/bin/sh
# The checks and the harness themselves: each must find what was planted for it.
. "$(dirname "$0")/../lib/tap.sh"
cd "$FSBOX_SRC" || exit 1

plant() { # PATH: writes stdin there below $T
	mkdir -p "$(dirname "$T/$1")"
	cat >"$T/$1"
}
lint_c() { # SCRIPT.awk FILE [OPTION...]: from $T, where the paths look like ours
	script=$FSBOX_SRC/tests/lint/$1 file=$2
	shift 2
	(cd "$T" && awk "$@" -f "$script" "$file")
}

test_layers_finds_a_sibling() {
	echo '#include "cgroup/cgroup.h"' | plant sandbox/rootfs/a.c
	check_status 1 lint_c layers.awk sandbox/rootfs/a.c
	check_contains "$T/out" "rootfs and cgroup are siblings"
}
test_layers_finds_an_upward_include() {
	echo '#include "cell/cell.h"' | plant cgroup/a.c
	check_status 1 lint_c layers.awk cgroup/a.c
	check_contains "$T/out" "ring 2 (cgroup) may not include ring 3"
}
test_layers_finds_a_private_header_from_outside() {
	echo '#include "cgroup/internal.h"' | plant sandbox/cell/a.c
	check_status 1 lint_c layers.awk sandbox/cell/a.c
	check_contains "$T/out" "from outside"
}
test_layers_finds_a_foreign_library_out_of_its_folder() {
	echo '#include <jansson.h>' | plant sandbox/spec/a.c
	check_status 1 lint_c layers.awk sandbox/spec/a.c
	check_contains "$T/out" "belongs to json/"
}
test_layers_lets_the_cell_read_the_channel() {
	printf '#include "runtime/channel.h"\n#include "confine/confine.h"\n#include "base/err.h"\n' | plant sandbox/cell/a.c
	check_status 0 lint_c layers.awk sandbox/cell/a.c
}
test_layers_knows_every_folder() {
	: | plant sandbox/attic/a.c
	echo 'int x;' >"$T/sandbox/attic/a.c"
	check_status 1 lint_c layers.awk sandbox/attic/a.c
	check_contains "$T/out" "has no ring"
}
test_code_blanks_comments_and_texts() {
	plant a.c <<-'END'
		int a; /* strcpy(a) */ char *b = "strcat(\"x\")"; // sprintf(
		/* over
		 * lines: atoi(x) */ int c = 'x';
	END
	check_status 0 lint_c code.awk a.c
	check_lacks "$T/out" strcpy
	check_lacks "$T/out" strcat
	check_lacks "$T/out" sprintf
	check_lacks "$T/out" atoi
	check_contains "$T/out" "int c ="
}
banned() { # the calls of stdin, as if they stood in PATH
	echo "# none" >"$T/allowed"
	[ -z "${2-}" ] || echo "$2" >>"$T/allowed"
	sed "s|^|$1:1:|" | awk -v allowed="$T/allowed" -f tests/lint/banned.awk >"$T/out"
}
test_banned_finds_a_call() {
	! echo 'n = atoi(s);' | banned sandbox/base/a.c || fail "atoi passed"
	check_contains "$T/out" "parse"
}
test_banned_finds_printing_below_ring_4() {
	! echo 'printf("x");' | banned sandbox/cell/a.c || fail "printf passed in cell/"
	echo 'printf("x");' | banned sandbox/cli/a.c || fail "printf refused in cli/"
}
test_banned_honours_an_exception_with_a_reason() {
	echo 'x = sleep(1);' | banned sandbox/cell/a.c "sandbox/cell/a.c sleep measured" || fail "exception ignored"
	! echo 'x = sleep(1);' | banned sandbox/cell/a.c "sandbox/cell/a.c sleep" || fail "an exception without a reason passed"
}
test_banned_lets_members_and_longer_names_be() {
	echo 'ops->system(x); opt.exit(1); my_printf(y); fd_dup(z);' | banned sandbox/cell/a.c || fail "$(cat "$T/out")"
}
test_sizes_finds_a_long_function() {
	{
		printf 'int long_one(void)\n{\n'
		i=0
		while [ $i -lt 110 ]; do
			echo "	;"
			i=$((i + 1))
		done
		echo "}"
	} | plant a.c
	check_status 1 lint_c sizes.awk a.c -v allowed=/dev/null
	check_contains "$T/out" "long_one() has 112 lines"
}

# The summing up of TAP: NAME PASSED FAILED SKIPPED for what a program said and how it ended.
sum() { # STATUS MUST: output on stdin
	awk -v name=x -v status="$1" -v limit=9 -v must="$2" -v sum="$T/sum" -f tests/lib/tap.awk >"$T/out"
	cat "$T/sum"
}
test_harness_counts_what_passed_and_failed() {
	check_eq "$(printf '1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP why\n' | sum 1 '')" "x 1 1 1"
	check_contains "$T/out" "FAIL  x: b"
}
test_harness_shows_the_lines_of_the_failing_test_only() {
	printf '1..2\n# begin 1 a\n# of a\nok 1 - a\n# begin 2 b\n# of b\nnot ok 2 - b\n' | sum 1 '' >/dev/null
	check_contains "$T/out" "of b"
	check_lacks "$T/out" "of a"
}
test_harness_names_the_test_in_which_a_program_died() {
	check_eq "$(printf '1..2\n# begin 1 a\nok 1 - a\n# begin 2 b\n' | sum 139 '')" "x 1 1 0"
	check_contains "$T/out" "b (the program was ended by signal 11 in it)"
}
test_harness_notices_tests_that_did_not_run() {
	check_eq "$(printf '1..3\nok 1 - a\n' | sum 0 '')" "x 1 1 0"
}
test_harness_notices_a_bad_end_after_good_tests() {
	check_eq "$(printf '1..1\nok 1 - a\n' | sum 1 '')" "x 1 1 0"
}
test_harness_takes_silence_for_a_failure() {
	check_eq "$(printf '' | sum 0 '')" "x 0 1 0"
	check_eq "$(printf '1..0\n' | sum 0 '')" "x 0 1 0"
}
test_harness_makes_skips_failures_when_told() {
	check_eq "$(printf '1..1\nok 1 - a # SKIP why\n' | sum 77 '')" "x 0 0 1"
	check_eq "$(printf '1..1\nok 1 - a # SKIP why\n' | sum 77 1)" "x 0 1 0"
	check_eq "$(printf '1..1\nok 1 - a # SKIP host: no such kernel\n' | sum 77 1)" "x 0 0 1"
	check_eq "$(printf '1..0 # SKIP why\n' | sum 77 1)" "x 0 1 0"
}
test_leak_audit_finds_what_is_left() {
	. tests/lib/world.sh
	world_look >"$T/before"
	grep -v "^link lo\$" "$T/before" >"$T/without"
	! world_diff "$T/without" >"$T/left" || fail "a new line was not seen"
	check_contains "$T/left" "+ link lo"
}
run_tests
