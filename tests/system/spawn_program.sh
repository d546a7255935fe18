#!/bin/sh
# fsbox-spawn is small: what parses text of others, or compiles, is not in it.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
SPAWN=$FSBOX_BUILD/fsbox-spawn

test_no_parser_and_no_compiler_is_linked_into_it() {
	nm "$SPAWN" >"$T/symbols" || fail "nm cannot read $SPAWN"
	check_contains "$T/symbols" " spawn_check"
	# jansson, SQLite, protobuf, libcrypto, libarchive; of libseccomp its API; of ours what reads JSON, specs and policies
	for family in json_ jsonp_ sqlite3_ protobuf_c_ EVP_ OPENSSL_ archive_read_ seccomp_ spec_read policy_read \
		filter_build code_open image_parse manifest_; do
		grep -E " [A-Za-z] $family" "$T/symbols" >"$T/out" && {
			show
			fail "$family… is in fsbox-spawn"
		}
	done
	:
}

test_no_loader_runs_before_it() {
	[ "${FSBOX_BUILD##*/}" != asan ] || skip "with sanitizers it is dynamic"
	readelf -l "$SPAWN" >"$T/out"
	check_lacks "$T/out" INTERP
	check_contains "$T/out" DYN
}

test_it_says_what_is_missing_on_its_command_line() {
	status=0
	"$SPAWN" 2>"$T/err" || status=$?
	check_eq "$status" 2
	check_contains "$T/err" "--socket"
	status=0
	"$SPAWN" --socket "$T/s" --runtime "$FSBOX_BUILD/runtime" --daemon /bin/true --state "$T" --uid 0 --gid 0 2>"$T/err" ||
		status=$?
	check_eq "$status" 2
	check_contains "$T/err" "--uid"
}

test_a_fsboxd_that_cannot_be_executed_ends_it() {
	need_root
	status=0
	timeout 20 "$SPAWN" --socket "$T/s" --runtime "$FSBOX_BUILD/runtime" --daemon "$T/nothing" --state "$T" --uid 64321 \
		--gid 64321 2>"$T/err" || status=$?
	check_eq "$status" 1
	check_contains "$T/err" "$T/nothing"
	[ ! -e "$T/s" ] || fail "its socket stays"
}

run_tests "$@"
