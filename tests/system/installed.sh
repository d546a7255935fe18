#!/bin/sh
# What `make install` puts below DESTDIR is whole: it serves functions from there, without the tree that it was built in, and
# `make uninstall` leaves nothing.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

stage() { # install|uninstall: what is built as it is
	command -v make >/dev/null || skip "needs make"
	chmod 755 "$TAP_DIR" "$T"
	(umask 077 && cd "$FSBOX_SRC" && make -s -o all "$1" DESTDIR="$T/stage" PREFIX=/usr) >"$T/make" 2>&1 || {
		sed 's/^/#   make: /' "$T/make"
		fail "make $1"
	}
}

test_everything_of_the_daemon_is_installed() {
	stage install
	for f in bin/fsbox libexec/fsbox/fsboxd libexec/fsbox/fsbox-spawn libexec/fsbox/fsbox-scope share/man/man1/fsbox.1 share/man/man8/fsboxd.8 \
		share/man/man8/fsbox-spawn.8 lib/systemd/system/fsbox.service lib/systemd/system/fsbox.socket \
		lib/systemd/user/fsbox.service lib/systemd/user/fsbox.socket lib/sysusers.d/fsbox.conf \
		share/doc/fsbox/policy.json share/doc/fsbox/schedulers/autoscaler.py; do
		check [ -s "$T/stage/usr/$f" ]
	done
	# Every program that a unit starts is there, under the name that it has without DESTDIR.
	sed -n 's/^Exec[A-Za-z]*=\([^ ]*\) .*/\1/p' "$T"/stage/usr/lib/systemd/*/*.service | grep -v '^/bin/' | sort -u >"$T/programs"
	check_eq "$(cat "$T/programs")" /usr/bin/fsbox
	! grep -rq /usr/local "$T/stage/usr/lib/systemd" || fail "a unit has another prefix"
	# Whatever the umask of who installs it.
	check_eq "$(find "$T/stage" ! -type l ! -perm -o=r | head -n 1)" ""
}

test_an_installed_tree_serves() {
	need_daemon
	watch_world
	stage install
	DAEMON_PROGRAM=$T/stage/usr/bin/fsbox
	daemon_start
	printf 'def handler(event, context):\n    return {"got": event}\n' >"$T/f.py"
	chmod 644 "$T/f.py"
	fsbox=$T/stage/usr/bin/fsbox
	check_status 0 "$fsbox" deploy hello "$EXAMPLES/hello.so"
	check_status 0 "$fsbox" invoke hello --event '{"name":"ada"}'
	check_eq "$(cat "$T/out")" '{"message":"Hello, ada!"}'
	check_status 0 "$fsbox" deploy py "$T/f.py"
	check_status 0 "$fsbox" invoke py --event 1
	check_eq "$(cat "$T/out")" '{"got": 1}'
	# Nothing of it runs from, or has open, what lies in the build.
	for name in fsboxd fsbox-spawn fsbox-init; do
		pid=$(pgrep -x "$name" | head -n 1)
		[ -n "$pid" ] || continue
		case $(readlink "/proc/$pid/exe") in
		"$FSBOX_BUILD"/*) fail "$name is the one of the build" ;;
		esac
	done
	daemon_stop
}

test_uninstall_leaves_nothing() {
	stage install
	check [ "$(find "$T/stage" -type f | wc -l)" -gt 30 ]
	stage uninstall
	check_eq "$(find "$T/stage" ! -type d)" ""
}
run_tests
