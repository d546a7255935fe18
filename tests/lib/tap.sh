# Tests in sh that speak TAP, as tests/lib/tap.h does for C. A script defines functions test_SENTENCE and ends with
# run_tests:
#
#     . "$(dirname "$0")/../lib/tap.sh"
#     test_the_answer_goes_to_stdout() {
#             run fsbox run "$EXAMPLES/hello.so"      # status in $status, streams in $T/out and $T/err
#             check_eq "$status" 0
#             check_contains "$T/err" "REPORT RequestId"
#     }
#     run_tests
#
# Each test runs in a subshell with `set -e` and a fresh directory $T, removed afterwards: the first failing check or
# command ends it. `skip WHY` ends it as skipped; with FSBOX_MUST_RUN=1 that is a failure. `skip_host WHY`
# is for what no set-up can give this machine, as a feature of the kernel: it stays a skip.
# shellcheck shell=sh
set -u
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
FSBOX_BUILD=${FSBOX_BUILD:-$FSBOX_SRC/build}
FSBOX=${FSBOX:-$FSBOX_BUILD/fsbox}
EXAMPLES=$FSBOX_BUILD/examples
FUNCTIONS=$FSBOX_BUILD/tests/functions
export FSBOX_SRC FSBOX_BUILD FSBOX EXAMPLES FUNCTIONS

note() { printf '%s\n' "$*" | sed 's/^/# /'; }

fail() {
	note "failed: $*"
	exit 1
}

skip() {
	note "skip: $*"
	printf '%s\n' "$*" >"$TAP_DIR/skip"
	exit 77
}

skip_host() { # WHY: no set-up could give it to this machine
	: >"$TAP_DIR/host"
	skip "host: $*"
}

fsbox() { "$FSBOX" "$@"; }

# Runs a command; never fails itself.
run() {
	status=0
	"$@" >"$T/out" 2>"$T/err" </dev/null || status=$?
}

show() { # the streams of the last run, for the log
	for stream in out err; do
		[ ! -s "$T/$stream" ] || head -c 4000 "$T/$stream" | tr -d '\000' | sed "s/^/#   $stream: /"
	done
}

check() { # COMMAND...: is true
	"$@" || {
		[ ! -d "$T" ] || show
		fail "$*"
	}
}

check_eq() { # GOT WANTED
	[ "$1" = "$2" ] || {
		show
		fail "got '$1', wanted '$2'"
	}
}

check_contains() { # FILE TEXT
	grep -qF -e "$2" "$1" || {
		show
		fail "$1 does not contain: $2"
	}
}

check_matches() { # FILE ERE
	grep -qE -e "$2" "$1" || {
		show
		fail "$1 has no line like: $2"
	}
}

check_lacks() { # FILE TEXT
	! grep -qF -e "$2" "$1" || {
		show
		fail "$1 contains: $2"
	}
}

check_status() { # STATUS COMMAND...
	wanted=$1
	shift
	run "$@"
	[ "$status" = "$wanted" ] || {
		show
		fail "exit status $status, wanted $wanted: $*"
	}
}

run_tests() {
	tap_names=$(sed -n 's/^\(test_[A-Za-z0-9_]*\)() *{.*/\1/p' "$0")
	# shellcheck disable=SC2086 # words
	[ $# -gt 0 ] || set -- ${TAP_ONLY-}
	if [ $# -gt 0 ]; then
		tap_names=$(for w in "$@"; do printf '%s\n' "$tap_names" | grep -F -e "$w"; done)
	fi
	TAP_DIR=$(mktemp -d "${TMPDIR:-/tmp}/fsbox-test.XXXXXX") || exit 1
	trap 'rm -rf "$TAP_DIR"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# shellcheck disable=SC2086 # words
	set -- $tap_names
	echo "1..$#"
	tap_number=0 tap_failed=0 tap_skipped=0
	for tap_name in "$@"; do
		tap_number=$((tap_number + 1))
		T=$TAP_DIR/$tap_number
		mkdir "$T"
		echo "# begin $tap_number ${tap_name#test_}"
		# Not the condition of an `if`, in which set -e would have no effect.
		(
			set -e
			"$tap_name"
		)
		tap_status=$?
		if [ $tap_status = 0 ]; then
			echo "ok $tap_number - ${tap_name#test_}"
		elif [ $tap_status = 77 ] && [ -f "$TAP_DIR/skip" ] && { [ "${FSBOX_MUST_RUN-}" != 1 ] || [ -f "$TAP_DIR/host" ]; }; then
			tap_skipped=$((tap_skipped + 1))
			echo "ok $tap_number - ${tap_name#test_} # SKIP $(cat "$TAP_DIR/skip")"
		else
			tap_failed=$((tap_failed + 1))
			[ $tap_status = 1 ] || note "ended with status $tap_status"
			echo "not ok $tap_number - ${tap_name#test_}"
		fi
		rm -rf "$T" "$TAP_DIR/skip" "$TAP_DIR/host"
	done
	[ $tap_failed = 0 ] || exit 1
	[ $tap_skipped -lt $tap_number ] || [ $tap_number = 0 ] || exit 77
	exit 0
}
