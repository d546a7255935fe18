# What the system tests of fsboxd share, beside tap.sh and cell.sh: one daemon for each test, and steps in Python.
#
#     . "$(dirname "$0")/../lib/tap.sh"
#     . "$(dirname "$0")/../lib/cell.sh"
#     . "$(dirname "$0")/../lib/daemon.sh"
#     test_a_call_is_answered() {
#             daemon_start --keep 60
#             steps <<'END'
#     c.deploy("echo")
#     eq(body(c.invoke("echo", "hi")), "hi")
#     END
#             daemon_stop         # SIGTERM; fails when anything of it is left, or when it complained
#     }
#
# In the steps everything of tests/lib/varlink.py is there, and `c`, a connection. The daemon's output is $T/daemon.
# shellcheck shell=sh
DAEMON_USER=${DAEMON_USER:-4711}
DAEMON_PROGRAM=${DAEMON_PROGRAM:-$FSBOX}
export PYTHONDONTWRITEBYTECODE=1

need_daemon() {
	need_root
	command -v python3 >/dev/null || skip "needs python3"
	# fsboxd runs as somebody else and is executed by that one.
	setpriv --reuid "$DAEMON_USER" --regid "$DAEMON_USER" --clear-groups test -x "${FSBOX%/*}/fsboxd" ||
		skip "fsboxd's user cannot reach ${FSBOX%/*}/fsboxd"
}

daemon_answers() {
	[ -S "$FSBOX_SOCKET" ] && { "$FSBOX" ps >"$T/answer" 2>&1 || grep -qiE "denied|policy|permi" "$T/answer"; } # a policy may forbid it
}

# Another fsboxd in the place of the build's: DAEMON_FSBOXD, a program or a script.
with_fsboxd() {
	[ -n "${DAEMON_FSBOXD-}" ] || return 0
	DAEMON_PROGRAM=$T/with/fsbox
	[ ! -e "$DAEMON_PROGRAM" ] || return 0
	mkdir -m 755 "$T/with"
	cp "$FSBOX" "${FSBOX%/*}/fsbox-spawn" "${FSBOX%/*}/fsbox-publish" "$T/with/"
	ln -s "${FSBOX%/*}/runtime" "$T/with/runtime"
	ln -s "$DAEMON_FSBOXD" "$T/with/fsboxd"
}

# Of the daemon that this test started: $DAEMON is fsbox-spawn.
daemon_begin() { # OPTION of fsbox serve...
	FSBOX_SOCKET=/run/fsbox/fsbox.sock
	: "${XDG_STATE_HOME:=$T/snapshots}"
	export FSBOX_SOCKET XDG_STATE_HOME
	with_fsboxd
	# shellcheck disable=SC2086 # words
	${DAEMON_WITH-} "$DAEMON_PROGRAM" serve --user "$DAEMON_USER" --group "$DAEMON_USER" --state "${DAEMON_STATE:-$T/state}" "$@" >>"$T/daemon" 2>&1 </dev/null &
	DAEMON=$!
	trap daemon_abandon EXIT # of the test's subshell: the next test has a daemon of its own
	wait_for 300 daemon_answers || {
		daemon_log
		fail "the daemon does not answer"
	}
	chmod 666 "$FSBOX_SOCKET" # who may do what is the policy's business in these tests
}

daemon_start() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	[ -f "$T/world" ] || watch_world
	daemon_begin "$@"
}

# The same with tests/lib/shim/faults.c in fsboxd, told by $T/faults what is to fail: Faults(T + "/faults") in the steps.
faults_start() { # OPTION of fsbox serve...
	faults_prepare
	daemon_start "$@"
}

faults_prepare() {
	need_daemon
	shim=$FSBOX_BUILD/tests/shim/faults.so
	[ -f "$shim" ] || skip "no $shim: make $shim"
	chmod 755 "$TAP_DIR" "$T"
	head -c 56 /dev/zero >"$T/faults"
	chmod 666 "$T/faults"
	DAEMON_WITH="env LD_PRELOAD=$shim FSBOX_TEST_FAULTS=$T/faults"
}

daemon_log() {
	[ ! -s "$T/daemon" ] || tail -n 40 "$T/daemon" | cut -c 1-300 | sed 's/^/#   daemon: /'
}

# Behind a test that failed.
daemon_abandon() {
	abandon_status=$?
	if ! daemon_gone; then
		kill -TERM "$DAEMON"
		wait_for 100 daemon_gone || kill -KILL "$DAEMON"
	fi
	exit $abandon_status
}

daemon_gone() {
	! kill -0 "$DAEMON" 2>/dev/null
}

daemon_end() { # SIGTERM; its status is $daemon_status
	kill -TERM "$DAEMON"
	wait_for 300 daemon_gone || {
		daemon_log
		fail "the daemon does not end"
	}
	daemon_status=0
	wait "$DAEMON" || daemon_status=$?
}

# What the daemon may have said is an ERE; whatever else it says is a failure.
daemon_stop() { # [ERE]
	daemon_end
	[ "$daemon_status" = 0 ] || {
		daemon_log
		fail "the daemon's status is $daemon_status"
	}
	grep -vE "${1:-^\$}" "$T/daemon" >"$T/complaints" || :
	[ ! -s "$T/complaints" ] || {
		daemon_log
		fail "the daemon complained"
	}
	[ ! -e "$FSBOX_SOCKET" ] || fail "the socket is left behind"
	check_world
}

steps() { # [WORD...]: Python on standard input; the words are sys.argv[1:]
	steps_with 'c = Client()' "$@"
}

steps_without() { # the same without a connection
	steps_with '' "$@"
}

steps_with() { # FIRST [WORD...]
	cat >"$T/steps.py"
	steps_first=$1
	shift
	PYTHONPATH="$FSBOX_SRC/tests/lib" T="$T" python3 -c "
import os, signal, sys, threading, time
from varlink import *
T = os.environ['T']
with open(T + '/steps.py') as f:
    steps = compile(f.read(), 'steps', 'exec')
$steps_first
exec(steps)
" "$@" >"$T/said" 2>&1 || {
		tail -n 40 "$T/said" | cut -c 1-1000 | sed 's/^/#   steps: /'
		daemon_log
		fail "the steps failed"
	}
}
