#!/bin/sh
# How a service manager starts fsboxd: words to $NOTIFY_SOCKET, a socket by LISTEN_FDS, an end when what it was told is wrong.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

manager() { # hears what is said to $T/notify into $T/heard
	rm -f "$T/notify"
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    with open(sys.argv[2], "ab") as f:
        f.write(s.recv(4096) + b"\n")' "$T/notify" "$T/heard" &
	MANAGER=$!
	wait_for 100 test -S "$T/notify"
}

heard() { # TEXT
	grep -qx "$1" "$T/heard" 2>/dev/null
}

test_it_says_when_clients_are_served_and_when_it_ends() {
	need_daemon
	watch_world
	manager
	NOTIFY_SOCKET=$T/notify
	export NOTIFY_SOCKET
	daemon_start
	check wait_for 100 heard READY=1
	steps <<-'END'
		with open("/proc/%d/environ" % pid_of("fsboxd"), "rb") as f:
		    true(b"NOTIFY_SOCKET" not in f.read())
		os.kill(pid_of("fsboxd"), signal.SIGKILL)
		until(lambda: Client().call("Describe")["uid"] == 0, "the next fsboxd")
	END
	check_eq "$(grep -c READY "$T/heard")" 1
	daemon_end
	check wait_for 100 heard STOPPING=1
	kill "$MANAGER"
	wait "$MANAGER" 2>/dev/null || :
	check_world
}

test_the_name_of_an_abstract_socket_is_understood() {
	need_daemon
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + sys.argv[1])
print(s.recv(100).decode())' "fsbox-test-$$" >"$T/heard" &
	manager=$!
	wait_for 100 grep -q "@fsbox-test-$$" /proc/net/unix
	NOTIFY_SOCKET=@fsbox-test-$$
	export NOTIFY_SOCKET
	daemon_start
	wait "$manager"
	check heard READY=1
	daemon_stop
}

test_it_serves_on_the_socket_that_it_is_given() {
	need_daemon
	watch_world
	chmod 755 "$TAP_DIR" "$T"
	FSBOX_SOCKET=$T/given.sock
	export FSBOX_SOCKET
	python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(64)
os.chmod(sys.argv[1], 0o666)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])' "$FSBOX_SOCKET" "$FSBOX" serve --user "$DAEMON_USER" --group "$DAEMON_USER" \
		--state "$T/state" --socket "$T/unused.sock" >"$T/daemon" 2>&1 &
	DAEMON=$!
	trap daemon_abandon EXIT
	wait_for 100 test -S "$FSBOX_SOCKET"
	# Who connects before anybody serves waits.
	steps "$EXAMPLES" <<-'END'
		c.call("Deploy", name="hello", spec={"target": sys.argv[1] + "/hello.so"})
		eq(c.invoke("hello")["status"], "success")
	END
	daemon_end
	check_eq "$daemon_status" 0
	check [ ! -e "$T/unused.sock" ]
	check [ -S "$FSBOX_SOCKET" ] # whoever made it removes it
	check_world
}

test_a_state_directory_that_is_not_fsboxds_ends_it() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	mkdir -m 755 "$T/roots"
	: >"$T/file"
	ln -s "$T/nothing" "$T/link"
	for state in roots file link; do
		run timeout 60 "$FSBOX" serve --user "$DAEMON_USER" --group "$DAEMON_USER" --state "$T/$state"
		check_eq "$status" 1
		check_contains "$T/err" "$T/$state/once"
		check_contains "$T/err" 'a directory that belongs to --user'
		check_eq "$(grep -c 'ended with status 2' "$T/err")" 1
		check [ ! -e /run/fsbox/fsbox.sock ]
	done
}

test_a_policy_with_an_error_at_the_start_ends_it() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	echo '{"rules":[{"uid":"root"}]}' >"$T/policy.json"
	run timeout 60 "$FSBOX" serve --user "$DAEMON_USER" --group "$DAEMON_USER" --state "$T/state" --policy-file "$T/policy.json"
	check_eq "$status" 1
	check_contains "$T/err" 'policy.json: $.rules[0].uid'
	check [ ! -e /run/fsbox/fsbox.sock ]
}
# sched_getattr(2): since Linux 6.12 what it says of the length of a turn is so. A cell has what others have.
test_fsboxd_has_short_turns_and_its_cells_have_not() {
	daemon_start
	steps <<'END'
import ctypes, platform
NUMBER = {"x86_64": 315, "aarch64": 275}[platform.machine()]
def turn_ns(pid):
    attr = (ctypes.c_char * 56)()
    eq(ctypes.CDLL(None, use_errno=True).syscall(NUMBER, pid, ctypes.byref(attr), 56, 0), 0)
    return struct.unpack_from("=Q", attr.raw, 24)[0]
c.deploy("echo")
c.invoke("echo")
usual = turn_ns(0)
if tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 12):
    eq(turn_ns(pid_of("fsboxd")), 100000)
    true(usual > 100000, usual)
eq(turn_ns(pid_of("native")), usual)
END
	daemon_stop
}

run_tests
