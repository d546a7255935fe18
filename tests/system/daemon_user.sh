#!/bin/sh
# An ordinary user's own fsboxd, without root: without limits, and below a group that was delegated to him. What the units
# for users add is in tests/systemd/user_daemon.sh.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

client() { # fsbox's arguments; no socket is named
	run as_user env -u FSBOX_SOCKET "$FSBOX" "$@"
}

client_ok() {
	client "$@"
	check_eq "$status" 0
}

own_socket() {
	[ -S "$T/xdg/fsbox/fsbox.sock" ]
}

own_begin() {
	user_dirs
	FSBOX_SOCKET=$T/xdg/fsbox/fsbox.sock
	export FSBOX_SOCKET
	# shellcheck disable=SC2046 # words
	(EXEC="exec" in_mode env -u FSBOX_SOCKET XDG_STATE_HOME="$T/xdg/state" "$FSBOX" serve $(mode_options)) >"$T/daemon" 2>&1 </dev/null &
	DAEMON=$!
	trap daemon_abandon EXIT
	wait_for 300 own_socket || {
		daemon_log
		fail "[$MODE] there is no socket"
	}
}

own_end() {
	daemon_end
	check_eq "$daemon_status $(cat "$T/daemon")" "0 $1"
	! own_socket || fail "[$MODE] the socket is left"
	check_world
	rm -rf "$T/xdg"
	trap - EXIT
}

own_functions() {
	printf 'def handler(event, context):\n    return {"got": event}\n' >"$T/f.py"
	chmod 644 "$T/f.py"
	client_ok deploy hello "$EXAMPLES/hello.so"
	client_ok deploy py "$T/f.py"
}

first_cell() {
	as_user env -u FSBOX_SOCKET "$FSBOX" ps --json hello | jq -r '.cells[0].id'
}

has_feature() { # NAME
	python3 -c '
import sys
sys.path.insert(0, sys.argv[1])
from varlink import Client
print(sys.argv[2] in Client().call("Describe")["features"])' "$FSBOX_SRC/tests/lib" "$1"
}

check_serves() {
	watch_world
	own_begin
	# Only that user can reach it, and root.
	check_eq "$(stat -c '%u %a' "$T/xdg/fsbox/fsbox.sock")" "$CELL_USER 660"
	check_status 1 setpriv --reuid 4711 --regid 4711 --clear-groups "$FSBOX" ps
	check_contains "$T/err" 'Permission denied'
	own_functions
	client_ok invoke hello --event '{"name":"ada"}'
	check_eq "$(cat "$T/out")" '{"message":"Hello, ada!"}'
	client_ok invoke py --event 1
	check_eq "$(cat "$T/out")" '{"got": 1}'
	client_ok stats --json
	# Both processes, and the cells, are the user's.
	for name in fsboxd fsbox-spawn; do
		check_eq "$(stat -c %u "/proc/$(pgrep -x "$name")")" "$CELL_USER"
	done
	wanted=False
	! has_limits || wanted=True
	check_eq "$(has_feature limits)" "$wanted"
	client_ok deploy --mem 64 --timeout 60 bomb "$FUNCTIONS/memory_bomb.so"
	if has_limits; then
		client invoke bomb
		check_eq "$status" 137
		check_contains "$T/out" Runtime.OutOfMemory
		check_eq "$(find "$(cgroup2_root)/$DELEGATED" -type d -name "cell-$(first_cell)" | wc -l)" 1
	fi
	own_end ""
}

test_it_serves_its_user() {
	need_daemon
	each_mode check_serves user delegated
}

check_restarts() {
	watch_world
	own_begin
	own_functions
	client_ok invoke hello
	id=$(first_cell)
	kill -KILL "$(pgrep -x fsboxd)"
	client_ok ps
	client_ok invoke hello
	check_eq "$(first_cell)" "$id"
	# All of it, and a new one finds what was deployed, and nothing of before.
	kill -KILL "$DAEMON"
	wait "$DAEMON" 2>/dev/null || :
	wait_for 100 check_dead
	own_begin
	wait_for 100 invoked
	check_ne "$(first_cell)" "$id"
	own_end ""
}

check_dead() {
	! cat /proc/[0-9]*/comm 2>/dev/null | grep -qxE 'fsboxd|fsbox-spawn|fsbox-init|native'
}

invoked() {
	client invoke hello
	[ "$status" = 0 ]
}

test_it_survives_what_the_systems_daemon_survives() {
	need_daemon
	each_mode check_restarts user delegated
}

test_it_says_what_an_ordinary_user_lacks() {
	need_daemon
	user_dirs
	run as_user timeout 20 env -u FSBOX_SOCKET XDG_STATE_HOME="$T/xdg/state" "$FSBOX" serve
	check_eq "$status" 1
	check_matches "$T/err" 'without limits: --no-limits'
	run as_user env -u FSBOX_SOCKET "$FSBOX" serve --user nobody --no-limits
	check_eq "$status" 2
	check_contains "$T/err" 'only root can start it as somebody else'
}
# Another user beside the one that tests/lib/cell.sh has.
OTHER_USER=23456

as_other() {
	${EXEC-} setpriv --reuid "$OTHER_USER" --regid "$OTHER_USER" --clear-groups --inh-caps=-all --no-new-privs \
		env -u FSBOX_SOCKET XDG_RUNTIME_DIR="$T/other" XDG_STATE_HOME="$T/other/state" "$@"
}

other_begin() {
	[ -d "$T/other" ] || {
		mkdir -m 700 "$T/other"
		chown "$OTHER_USER:$OTHER_USER" "$T/other"
	}
	(EXEC="exec" as_other "$FSBOX" serve --no-limits) >"$T/other-daemon" 2>&1 </dev/null &
	OTHER=$!
	trap others_abandon EXIT
	wait_for 300 test -S "$T/other/fsbox/fsbox.sock" || fail "the other one has no socket"
}

others_abandon() {
	others_status=$?
	kill -KILL "$OTHER" 2>/dev/null
	(exit "$others_status")
	daemon_abandon
}

other_cell() {
	as_other "$FSBOX" ps --json | jq -r '.cells[0].id'
}

calls() { # TEXT COMMAND...: twenty, each answered with its own
	calls_text=$1
	shift
	for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$("$@" invoke same --event "\"$calls_text $n\"" 2>/dev/null)" = "\"$calls_text $n\"" ] || return 1
	done
}

test_two_users_have_one_each_at_the_same_time() {
	need_daemon
	MODE=user
	watch_world
	own_begin
	other_begin
	# One name, two functions; neither sees the other's.
	client_ok deploy same "$FUNCTIONS/echo.so"
	as_other "$FSBOX" deploy same "$FUNCTIONS/echo.so" >/dev/null
	calls mine as_user env -u FSBOX_SOCKET "$FSBOX" >"$T/mine" 2>&1 &
	mine=$!
	calls theirs as_other "$FSBOX" || fail "the other one's calls"
	wait "$mine" || fail "the first one's calls"
	id=$(other_cell)
	check_eq "$(as_other "$FSBOX" ps --json | jq -r '.cells | length')" 1
	check_ne "$(as_user env -u FSBOX_SOCKET "$FSBOX" ps --json | jq -r '.cells[0].id')" "$id"
	for pid in $(pgrep -x native); do
		stat -c %u "/proc/$pid"
	done | sort >"$T/owners"
	check_eq "$(tr '\n' ' ' <"$T/owners")" "$CELL_USER $OTHER_USER "
	for socket in "$T/xdg/fsbox/fsbox.sock:as_other" "$T/other/fsbox/fsbox.sock:as_user"; do
		! "${socket#*:}" "$FSBOX" ps --socket "${socket%:*}" >"$T/out" 2>&1 || fail "a socket of somebody else's"
		check_contains "$T/out" 'Permission denied'
	done
	# The end of the one, in whatever way, is nothing to the other, and its next one neither.
	kill -KILL "$DAEMON"
	wait "$DAEMON" 2>/dev/null || :
	calls on as_other "$FSBOX" || fail "the other one's calls after the first one's death"
	check_eq "$(other_cell)" "$id"
	own_begin
	trap others_abandon EXIT
	wait_for 100 invoked_same
	kill -TERM "$OTHER"
	status=0
	wait "$OTHER" || status=$?
	check_eq "$status $(cat "$T/other-daemon")" "0 "
	calls still as_user env -u FSBOX_SOCKET "$FSBOX" || fail "the first one's calls after the other one's end"
	rm -rf "$T/other"
	own_end ""
}

invoked_same() {
	client invoke same
	[ "$status" = 0 ]
}
run_tests
