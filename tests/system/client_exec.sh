#!/bin/sh
# fsbox exec and Exec: commands in cells that run, what they are there, what they cannot, and how they end.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

a_cell() { # [OPTION of deploy...]: one of echo; $CELL
	fsbox deploy "$@" f "$FUNCTIONS/echo.so" >"$T/deployed"
	fsbox invoke f --event '"x"' >"$T/invoked" 2>&1
	CELL=$(fsbox ps --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')
	check_eq "${#CELL}" 12
}

test_a_command_has_its_output_its_input_and_its_status() {
	daemon_start
	a_cell
	run fsbox exec "$CELL" echo hello
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" hello
	check_eq "$(cat "$T/err")" ""
	run fsbox exec "$CELL" -- sh -c 'echo out; echo err >&2; exit 7'
	check_eq "$status" 7
	check_eq "$(cat "$T/out")" out
	check_eq "$(cat "$T/err")" err
	run fsbox exec "$CELL" sh -c 'kill -SEGV $$'
	check_eq "$status" 139
	run fsbox exec --json "$CELL" sh -c 'echo out; exit 3'
	check_eq "$status" 3
	check grep -qxE '\{"exitStatus":3,"durationUs":[0-9]+\}' "$T/out"
	check_eq "$(cat "$T/err")" out
	run fsbox exec --json "$CELL" sh -c 'kill -9 $$'
	check_eq "$status" 137
	check_contains "$T/out" '"signal":9'
	head -c 3000000 /dev/urandom >"$T/in"
	fsbox exec "$CELL" cat <"$T/in" >"$T/back"
	check cmp "$T/in" "$T/back"
	check_eq "$(echo "a line" | fsbox exec "$CELL")" "" # a shell, whose input is its commands
	check_eq "$(echo "echo from a shell" | fsbox exec "$CELL" 2>&1)" "from a shell"
	check_eq "$(yes | fsbox exec "$CELL" head -n 1)" y
	check_eq "$(fsbox exec "$CELL" yes </dev/null | head -n 1)" y
	check_eq "$(echo kept | { fsbox exec --no-stdin "$CELL" cat; cat; })" kept
	check_eq "$(fsbox exec --env A=1 --env HOME=/x --cwd /tmp "$CELL" sh -c 'echo $A $HOME $PWD $LAMBDA_TASK_ROOT')" \
		"1 /x /tmp /var/task"
	daemon_stop
}

test_what_cannot_be_executed_is_said_so() {
	daemon_start
	a_cell
	run fsbox exec "$CELL" no-such-program
	check_eq "$status" 127
	check_contains "$T/err" "the cell has no command 'no-such-program'"
	run fsbox exec "$CELL" /etc/passwd
	check_eq "$status" 126
	check_contains "$T/err" "executing the command: Permission denied"
	run fsbox exec --cwd /no/where "$CELL" true
	check_eq "$status" 125
	check_contains "$T/err" "there is no directory '/no/where'"
	run fsbox exec 0123456789ab true
	check_eq "$status" 125
	check_contains "$T/err" "there is no cell '0123456789ab'"
	for wrong in "" "--env X" "--cwd tmp" "--tty --no-stdin $CELL true" "--tty $CELL true" "--what $CELL true"; do
		# shellcheck disable=SC2086 # words
		run fsbox exec $wrong
		check_eq "$status" 2
	done
	# A status of 127 that is the command's own is its own.
	run fsbox exec "$CELL" sh -c 'exit 127'
	check_eq "$status" 127
	check_eq "$(cat "$T/err")" ""
	daemon_stop
}

# A root with what the runtime needs and nothing else.
test_a_cell_may_have_no_shell() {
	daemon_start
	for file in $(ldd "$FSBOX_BUILD/runtime/native" "$FUNCTIONS/echo.so" | grep -o '/[^ )]*' | grep -v ':$' | sort -u); do
		install -D "$file" "$T/root$file"
	done
	a_cell --rootfs "$T/root"
	run fsbox exec "$CELL"
	check_eq "$status" 127
	check_contains "$T/err" "the cell has no /bin/sh"
	check_contains "$T/err" "give the command's path inside the cell"
	run fsbox exec "$CELL" /var/runtime/init # a program that is there; it says where it wants to be
	check_contains "$T/err" "PID 1 of a cell"
	daemon_stop
}

test_it_is_what_the_processes_of_the_cell_are() {
	daemon_start
	for policy in default strict; do
		steps "$policy" <<'END'
c.deploy("echo", policy=sys.argv[1], replace=True)
cell = c.invoke("echo", "x")["cell"]
own = c.cell(cell)
r, out = c.run_in(cell, "sh", "-c", "cat /proc/self/status; echo; readlink /proc/self/ns/*; echo; cat /proc/self/uid_map;"
                  "ls /proc/self/fd; readlink /proc/self/fd/0; ulimit -n; ulimit -c; umask; pwd; hostname; env | sort")
eq(r["exitStatus"], 0, out)
status, ns, rest = out.split("\n\n", 2)
status = dict(line.split(":", 1) for line in status.splitlines())
eq(status["Seccomp"].strip(), "2", "a filter is active")
eq(status["NoNewPrivs"].strip(), "1")
for caps in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
    eq(int(status[caps], 16), 0, caps)
for ids in "Uid", "Gid":
    eq(status[ids].split(), ["993"] * 4)
eq(status["Groups"].split(), [])
eq(status["SigBlk"].strip(), "0" * 16)
eq(status["SigIgn"].strip(), "0" * 16)
# The same namespaces as PID 1 has, all of them.
for line, name in zip(ns.splitlines(), "cgroup ipc mnt net pid pid time time user uts".split()):
    eq(line, os.readlink("/proc/%d/ns/%s" % (own["pid"], name)), name)
    true(name in ("time",) or line != os.readlink("/proc/self/ns/" + name), name + " is not the host's")
rest = rest.splitlines()
true(rest[0].split()[0] == "0" and int(rest[0].split()[1]) >= 65536, rest[0])
eq(rest[1:5], ["0", "1", "2", "3"], "its descriptors, and the one that ls reads with")
eq(rest[5], "/dev/null")
eq(rest[6:11], ["1024", "0", "0022", "/var/task", cell])
eq([line.split("=")[0] for line in rest[11:]],
   ["HOME", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "PATH", "PWD", "TZ"])
# And from outside: in all groups of the cell, so all its limits are the cell's.
x = Client()
x.send("Exec", cell=cell, argv=["sleep", "1000"])
def find():
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and open("/proc/%s/cmdline" % pid).read() == "sleep\0001000\0":
                return pid
        except OSError:
            pass
pid = until(find, "it runs")
groups = open("/proc/%s/cgroup" % pid).read().splitlines()
inside = [g for g in open("/proc/%d/cgroup" % own["pid"]).read().splitlines() if own["cgroup"] in g]
true(len(inside) > 0, inside)
for g in inside:
    true([h for h in groups if h == g or h.startswith(g + "/exec-")], "%s in %s" % (g, groups))
eq(os.readlink("/proc/%s/exe" % pid).split("/")[-1] in ("sleep", "coreutils", "busybox"), True)
eq(int(open("/proc/%s/oom_score_adj" % pid).read()) >= 0, True)
x.close()
until(lambda: not find(), "with its client it is gone")
END
	done
	daemon_stop
}

test_with_a_terminal() {
	daemon_start
	a_cell
	cat >"$T/pty.py" <<'END'
import fcntl, os, pty, select, struct, sys, termios, time
fsbox, cell, slower = os.environ["FSBOX"], sys.argv[1], int(os.environ.get("FSBOX_SLOWER", "1"))
class Session:
    def __init__(self, *argv):
        self.master, self.slave = os.openpty()
        self.size(40, 100)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in 0, 1, 2:
                os.dup2(self.slave, fd)
            os.closerange(3, 64)
            os.execv(fsbox, ["fsbox", "exec"] + list(argv))
    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    def type(self, text):
        os.write(self.master, text)
    def wait(self, what):
        end = time.monotonic() + 30 * slower
        while what not in self.seen:
            assert time.monotonic() < end, (what, self.seen)
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        self.seen = self.seen.split(what, 1)[1]
    def end(self):
        _, status = os.waitpid(self.pid, 0)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return status
# A shell, without being asked for: it has a terminal of its own, of our size, which controls it.
s = Session(cell)
s.wait(b"$ ")
s.type(b"stty size; test -t 0 && test -t 2 && echo all three; echo >/dev/tty $((40 + 2))\n")
s.wait(b"40 100\r\n")
s.wait(b"all three\r\n")
s.wait(b"42\r\n")
s.type(b"trap 'echo re''sized' WINCH; sh -c 'trap \"exit 5\" INT; echo go; while :; do sleep 0.1; done'; echo after $?\n")
s.wait(b"go\r\n")
s.type(b"\x03") # reaches the command, not fsbox
s.wait(b"after 5\r\n")
s.size(50, 120)
os.kill(s.pid, 28) # SIGWINCH, which the kernel sends to who is in front
s.type(b"while test \"$(stty size)\" != '50 120'; do sleep 0.1; done; echo lar''ger\n")
s.wait(b"larger\r\n")
s.type(b"exit 9\n")
assert os.waitstatus_to_exitcode(s.end()) == 9
# Without a terminal of its own although it is started from one.
s = Session(cell, "sh", "-c", "test -t 0 || echo none; read x; echo got $x")
s.wait(b"none")
s.type(b"abc\n")
s.wait(b"got abc")
assert s.end() == 0
# The window is closed.
s = Session("--tty", cell, "sh", "-c", "echo here; exec sleep 1001")
s.wait(b"here")
os.kill(s.pid, 1)
assert s.end() == 1, "it ends by SIGHUP"
END
	check python3 "$T/pty.py" "$CELL"
	steps <<'END'
until(lambda: c.cells()[0]["processes"] == 2, "nothing is left")
# What is no terminal is none.
r, w = os.pipe()
e = c.fails("InvalidSpec", "Exec", [r], cell=c.cells()[0]["id"], argv=["true"], stdinFd=0, tty=True)
true("terminal" in e["reason"], e)
c.fails("org.varlink.service.InvalidParameter", "Exec", [r, w], cell=c.cells()[0]["id"], argv=["true"], stdinFd=0, stdoutFd=1, tty=True)
END
	daemon_stop
}

test_only_who_may() {
	need_daemon
	cat >"$T/policy.json" <<'END'
{"rules": [{"uid": 0, "admin": true}, {"uid": 20001, "exec": true}, {"uid": 20002, "admin": true, "exec": false},
           {"uid": 20003}]}
END
	setpriv --reuid 20001 --regid 20001 --clear-groups test -r "$FUNCTIONS/echo.so" || skip "other users cannot reach $FUNCTIONS"
	for policy in "" "--policy-file $T/policy.json"; do
		# shellcheck disable=SC2086 # words
		daemon_start $policy
		steps "$policy" <<'END'
c.deploy("echo")
roots = c.invoke("echo", "x")["cell"]
def may(c, cell=None):
    if not cell:
        c.deploy("echo")
        cell = c.invoke("echo", "x")["cell"]
    c.call("Exec", cell=cell, argv=["true"])
def may_not(c):
    c.deploy("echo")
    e = c.fails("Denied", "Exec", cell=c.invoke("echo", "x")["cell"], argv=["true"])
    true("exec" in e["reason"], e)
    eq(c.call("Describe")["limits"]["exec"], False)
if sys.argv[1]:
    as_user(20001, may)
    # The right is for one's own cells.
    as_user(20001, lambda c: c.fails("NotFound", "Exec", cell=roots, argv=["true"]))
    as_user(20002, may_not)
    as_user(20003, may_not)
else:
    as_user(20001, may_not)
may(c)
true(c.call("Describe")["limits"]["exec"])
for x in c.cells(): # an administrator, in everybody's
    may(c, x["id"])
END
		daemon_stop
	done
}

test_parameters_are_looked_at() {
	daemon_start
	steps <<'END'
c.deploy("echo")
cell = c.invoke("echo", "x")["cell"]
def wrong(parameter, fds=(), **parameters):
    eq(c.fails("org.varlink.service.InvalidParameter", "Exec", fds, **dict({"cell": cell, "argv": ["true"]}, **parameters)),
       {"parameter": parameter})
wrong("argv", argv=[])
wrong("argv", argv=[""])
wrong("argv", argv=["x" * 70000])
wrong("argv", argv=["x"] * 257)
wrong("env", env=["A"])
wrong("env", env=["=A"])
wrong("cwd", cwd="tmp")
wrong("cwd", cwd="/" + "x" * 5000)
wrong("stdinFd", stdinFd=0)
wrong("stdinFd", tty=True)
r, out = c.run_in(cell, "sh", "-c", 'echo "$#" "$1" "$3" "$X"', "sh", "", "b", "c d\n\u00fc", env=["X=a=b"])
eq((r["exitStatus"], out), (0, "3  c d\n\u00fc a=b\n"))
r, out = c.run_in(cell, "sh", "-c", "echo $#", "sh", *["x" * 200] * 250)
eq(out, "250\n")
# Descriptors that lead elsewhere.
for path, flags in ("/", os.O_RDONLY), ("/etc/passwd", os.O_PATH), ("/dev/kmsg", os.O_RDONLY), ("/", os.O_PATH):
    fd = os.open(path, flags)
    e = c.fails("InvalidSpec", "Exec", [fd], cell=cell, argv=["true"], stdinFd=0)
    true("descriptor" in e["reason"], e)
with open("/etc/passwd") as f:
    eq(c.call("Exec", [f.fileno()], cell=cell, argv=["sh", "-c", "read x && test -n \"$x\""], stdinFd=0)["exitStatus"], 0)
eq(c.cell(cell)["execs"], 7, "those that were begun") # the refused descriptors were fsbox-spawn's to see
END
	daemon_stop
}

test_nothing_leads_out() {
	daemon_start
	sha256sum "$FSBOX" "$FSBOX_BUILD/fsbox-spawn" "$FSBOX_BUILD/fsboxd" "$FSBOX_BUILD/runtime/enter" >"$T/sums"
	steps <<'END'
c.deploy("echo", policy="none", pids=1000)
cell = c.invoke("echo", "x")["cell"]
# CVE-2024-21626: a directory by way of a descriptor that was left open.
for i in range(20):
    for name in "/proc/self/fd/%d", "/proc/self/fd/%d/..", "/proc/self/fd/%d/../../..":
        try:
            r, out = c.run_in(cell, "sh", "-c", "pwd; ls", cwd=name % i)
            true(False, "%s: %s %s" % (name % i, r, out))
        except Error as e:
            true(e.name in ("NotFound", "Denied"), e)
for name in "/proc/1/root", "/proc/1/cwd", "/proc/self/exe", "/sys/../..//proc/1/root":
    try:
        c.run_in(cell, "true", cwd=name)
        true(False, name)
    except Error as e:
        true(e.name in ("NotFound", "Denied"), e)
for name in "/proc/self/cwd", "/proc/self/root", "/proc/self/root/..", "/../..":
    eq(c.run_in(cell, "sh", "-c", "ls -d /var/runtime/enter; pwd -P", cwd=name)[1], "/var/runtime/enter\n/\n")
# CVE-2019-5736: what would execute the program that enters again, by name, by a link, behind #!.
make = """echo '#!/proc/self/exe' >/tmp/script; chmod +x /tmp/script; ln -s /proc/self/exe /tmp/link; ls /tmp"""
eq(c.run_in(cell, "sh", "-c", make)[1], "link\nscript\n")
for command in "/proc/self/exe", "/tmp/link", "/tmp/script":
    for args in [], ["--help"], ["-c", "id"], ["--uid", "0"]:
        r, out = c.run_in(cell, command, *args)
        eq((r.get("exitStatus"), out), (126, ""), command)
r, out = c.run_in(cell, "sh", "-c", "readlink /proc/$$/exe; : >>/var/runtime/enter")
true(out.startswith("/usr/bin/") and "cannot create" in out and r["exitStatus"] != 0, out)
END
	steps <<'END'
# A function without any filter that does nothing but wait for processes to come in.
c.deploy("watch_entering", policy="none", mem=1769, timeout=60)
other = Client()
other.send("Invoke", function="watch_entering", event={"text": "6000"})
cell = until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it watches")[0]["id"]
n = 0
while other.is_quiet(0.01):
    eq(c.run_in(cell, "true")[0].get("exitStatus"), 0)
    n += 1
r = other.result()
eq(r["status"], "success", r)
seen = json.loads(body(r))
print(n, "commands,", seen)
true(n >= 20 and seen["looks"] > 100, "it had something to see: %d commands, %r" % (n, seen))
eq(seen["got"], 0, "descriptors that lead somewhere")
inside = ("/var/runtime/", "/usr/", "/bin/", "/lib")
for exe in seen["exe"]:
    true(exe.startswith(inside) and "fsbox-spawn" not in exe, exe)
for fd in seen["fd"]:
    true(fd.startswith(("pipe:", "socket:", "/usr/lib", "/lib", "/etc/ld.so.")) or fd == "/dev/null", fd)
for words in seen["words"]:
    true(words.strip() in ("", "true", "enter true"), "somebody's command line: " + words)
for directory in seen["dir"]:
    true(directory in ("/", "/var/task"), directory)
END
	sha256sum -c --quiet "$T/sums" || fail "a program of the host has changed"
	daemon_stop
}

test_a_frozen_cell_wakes_up_and_takes_no_call_meanwhile() {
	daemon_start
	steps <<'END'
c.deploy("counter", maxCells=4)
cell = c.invoke("counter")["cell"]
can = "freeze" in c.call("Describe")["features"]
if can:
    until(lambda: is_frozen(c.cell(cell)), "it sleeps")
eq(c.run_in(cell, "echo", "awake")[1], "awake\n")
r, w = os.pipe()
x = Client()
x.send("Exec", [r], cell=cell, argv=["cat"], stdinFd=0)
until(lambda: c.cell(cell)["processes"] == 3, "it runs")
eq(c.cell(cell)["state"], "idle")
a = c.invoke("counter")
true(a["cell"] != cell and a["startKind"] == "cold", a)
eq(c.invoke("counter")["cell"], a["cell"])
if can:
    until(lambda: is_frozen(c.cell(a["cell"])), "the other sleeps")
    true(not is_frozen(c.cell(cell)), "it does not")
    c.fails("Busy", "Pause", cell=cell)
c.call("Kill", cell=a["cell"])
os.close(w)
os.close(r)
eq(x.result()["exitStatus"], 0)
until(lambda: len(c.cells()) == 1, "the other is gone")
b = c.invoke("counter")
eq((b["cell"], body(b)), (cell, "2"), "it takes calls again")
eq(c.cell(cell)["execs"], 2)
if can:
    until(lambda: is_frozen(c.cell(cell)), "it sleeps again")
    c.call("Pause", cell=cell)
    c.fails("Busy", "Exec", cell=cell, argv=["true"])
    c.call("Resume", cell=cell)
# A leased cell does one thing at a time as well.
l = c.call("Acquire", function="counter")
r, w = os.pipe()
x.send("Exec", [r], cell=l["cell"], argv=["cat"], stdinFd=0)
until(lambda: c.cell(l["cell"])["processes"] == 3, "it runs")
c.fails("Busy", "Invoke", lease=l["lease"])
os.close(w)
os.close(r)
x.result()
eq(c.invoke(lease=l["lease"])["cell"], l["cell"])
c.call("Release", lease=l["lease"])
# While a call runs, and longer than it does; nothing ends for being idle.
c.deploy("remaining", timeout=20)
y = Client()
y.send("Invoke", function="remaining", event={"text": "1500"})
busy = until(lambda: [z for z in c.cells() if z["state"] == "busy"], "a call runs")[0]["id"]
eq(c.run_in(busy, "echo", "hi")[1], "hi\n")
eq(y.result()["status"], "success")
END
	daemon_stop
}

test_a_command_that_runs_keeps_its_cell() {
	daemon_start --keep 1
	steps <<'END'
c.deploy("counter")
cell = c.invoke("counter")["cell"]
r, out = c.run_in(cell, "sleep", "2.5")
eq(r.get("exitStatus"), 0)
until(lambda: c.cells() == [], "then its time is over")
END
	daemon_stop
}

test_with_its_client_a_command_ends_and_all_that_it_started() {
	daemon_start
	a_cell
	steps "$CELL" <<'END'
cell = sys.argv[1]
script = "(setsid sleep 1000 &) ; sleep 1000 & trap '' HUP TERM; echo up; wait"
for i in range(10):
    r, w = os.pipe()
    x = Client()
    x.send("Exec", [w], cell=cell, argv=["sh", "-c", script], stdoutFd=0)
    os.close(w)
    if i % 2: # or before anything of it is there
        eq(os.read(r, 10), b"up\n")
    x.close()
    with os.fdopen(r, "rb") as f:
        f.read() # nobody has the other end any more
until(lambda: len(alive(c.cell(cell))) == 2, "nothing is left")
r, out = c.run_in(cell, "sh", "-c", "(setsid sleep 1000 &) ; sleep 1000 & echo done")
eq((r["exitStatus"], out), (0, "done\n"))
eq(len(alive(c.cell(cell))), 2, "nothing of it is left")
END
	"$FSBOX" exec "$CELL" sleep 1000 </dev/null &
	client=$!
	runs() { fsbox inspect "$CELL" | grep -q '"execs":12'; }
	wait_for 100 runs
	kill -TERM "$client" # a shell has its background ignore SIGINT
	wait "$client" || status=$?
	check_eq "$status" 143
	steps "$CELL" <<'END'
until(lambda: len(alive(c.cell(sys.argv[1]))) == 2, "nothing is left")
END
	daemon_stop
}

test_events_tell_of_it() {
	daemon_start
	steps <<'END'
c.deploy("echo")
cell = c.invoke("echo", "x")["cell"]
s = Client()
s.send("Subscribe", more=True)
eq(s.result()["event"]["cell"], cell)  # it is there from here on
c.run_in(cell, "sh", "-c", "exit 3")
c.fails("NotFound", "Exec", cell=cell, argv=["no\nsuch\u00fc" * 40])
got = []
while len(got) < 4:
    e = s.result()["event"]
    if e["kind"] == "exec":
        eq((e["cell"], e["function"]), (cell, "echo"))
        got.append((e["status"], e["detail"]))
eq(got[0], ("begun", "uid 0: sh"))
eq(got[1], ("ended", "exit status 3"))
true(got[2][0] == "begun" and got[2][1].startswith("uid 0: no?such\u00fcno?such"), got[2])
true(got[3][0] == "ended" and "not there" in got[3][1], got[3])
END
	daemon_stop
}

CRASH='
def crash():
    old = pid_of("fsboxd")
    os.kill(old, signal.SIGKILL)
    return until(lambda: pid_of("fsboxd") not in (0, old) and pid_of("fsboxd"), "the next fsboxd")
'

test_fsboxd_dies_in_the_middle() {
	daemon_start
	steps <<END
$CRASH
c.deploy("counter")
cell = c.invoke("counter")["cell"]
c.run_in(cell, "true")
for i in range(3):
    r, w = os.pipe()
    others = [Client() for k in range(4)]
    for x in others:
        x.call("Describe") # who is not heard yet is heard by the next one
    for k, x in enumerate(others):
        x.send("Exec", [w], cell=cell, argv=["sh", "-c", "echo up; (setsid sleep 1000 &) ; sleep 1000"], stdoutFd=0)
    if i > 0: # the first time nobody has begun
        eq(os.read(r, 3), b"up\n")
    os.close(w)
    crash()
    with os.fdopen(r, "rb") as f:
        f.read() # ended by the end of who asked for it
    c = Client()
    until(lambda: len(alive(c.cell(cell))) == 2, "nothing is left")
    true(c.cell(cell)["execs"] >= 1, "it is not forgotten that somebody was there")
    eq(c.run_in(cell, "echo", "again")[1], "again\n")
    eq(body(c.invoke("counter")), str(2 + i))
END
	daemon_stop '^fsbox-spawn: fsboxd \(pid [0-9]+\) was ended by signal 9 \(KILL\)$'
}

test_the_cell_ends_in_the_middle() {
	daemon_start
	steps <<'END'
c.deploy("counter")
for method in "Kill", "Remove", "Undeploy", "itself":
    cell = c.invoke("counter")["cell"]
    r, w = os.pipe()
    clients = [Client() for i in range(5)]
    for x in clients:
        x.send("Exec", [w], cell=cell, argv=["sh", "-c", "trap '' HUP TERM; echo up; sleep 1000"], stdoutFd=0)
    os.close(w)
    up = b""
    while up.count(b"up") < 5:
        up += os.read(r, 100)
    if method == "itself":
        pid = c.cell(cell)["pid"]
        os.kill(pid, signal.SIGKILL)
    else:
        c.call(method, **({"name": "counter"} if method == "Undeploy" else {"cell": cell}))
    for x in clients:
        eq(x.result().get("signal"), 9, method)
    until(lambda: c.cells() == [], "the cell is gone")
    c.deploy("counter")
    # And at its very end: an answer comes in any case.
    cell = c.invoke("counter")["cell"]
    for x in clients:
        x.send("Exec", cell=cell, argv=["sleep", "1000"])
    c.call("Kill", cell=cell)
    for x in clients:
        try:
            eq(x.result().get("signal"), 9)
        except Error as e:
            true(e.name in ("NotFound", "SystemFailure", "Cancelled"), e)
    until(lambda: c.cells() == [], "the cell is gone")
END
	daemon_stop
}

test_fifty_at_once_and_the_limits_are_the_cells() {
	daemon_start
	steps <<'END'
c.deploy("echo", mem=1769, pids=200)
cell = c.invoke("echo", "x")["cell"]
fds = fd_count(pid_of("fsbox-spawn")), fd_count(pid_of("fsboxd"))
r, w = os.pipe()
clients = [Client() for i in range(50)]
for i, x in enumerate(clients):
    x.send("Exec", [r], cell=cell, argv=["sh", "-c", "read x; exit %d" % i], stdinFd=0)
until(lambda: c.cell(cell)["processes"] == 52, "all run", 30)
os.close(w)
os.close(r)
for i, x in enumerate(clients):
    eq(x.result()["exitStatus"] in (i, 1), True)
    x.close()
until(lambda: len(alive(c.cell(cell))) == 2, "nothing is left")
until(lambda: (fd_count(pid_of("fsbox-spawn")), fd_count(pid_of("fsboxd"))) == fds, "no descriptor is left open")
# As many processes as the cell may have, and a command is one more.
c.deploy("echo", mem=256, pids=16, replace=True)
cell = until(lambda: c.invoke("echo", "x"), "a call")["cell"]
x = Client()
x.send("Exec", cell=cell, argv=["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 1000 & done; wait"])
until(lambda: c.cell(cell)["processes"] == 16, "the cell is full")
try:
    r, out = c.run_in(cell, "sh", "-c", "sleep 0; echo went on")
    true("went on" not in out, out)
except Error as e:
    true(e.name in ("SystemFailure", "Busy"), e)
x.close()
until(lambda: len(alive(c.cell(cell))) == 2, "nothing is left")
eq(body(c.invoke("echo", "fine")), "fine")
# What takes too much memory is ended by the cell's limit, and the cell with it or not, but nobody else.
try:
    c.run_in(cell, "sh", "-c", "head -c 600000000 /dev/zero | tail -c 590000000 >/dev/null; echo survived")
except Error as e:
    true(e.name in ("NotFound", "SystemFailure"), e)
eq(body(c.invoke("echo", "fine")), "fine")
END
	daemon_stop
}

test_no_user_takes_all_the_commands() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	echo '{"rules":[{"uid":0,"admin":true},{"uid":20001,"exec":true,"maxExecs":2},{"uid":20002,"exec":true},{"uid":20003}]}' >"$T/policy.json"
	daemon_start --policy-file "$T/policy.json"
	steps <<'END'
def cell_of(a):
    a.deploy("echo")
    return a.invoke("echo", "x")["cell"]
def second(a):
    eq(a.call("Describe")["limits"]["maxExecs"], 128)
    eq(a.call("Exec", cell=cell_of(a), argv=["true"])["exitStatus"], 0)
def first(a):
    eq(a.call("Describe")["limits"]["maxExecs"], 2)
    cell = cell_of(a)
    run = [Client(), Client()]
    for r in run:
        r.send("Exec", cell=cell, argv=["sleep", "60"])
    until(lambda: a.cell(cell)["execs"] == 2, "both run")
    eq(a.fails("CapacityExhausted", "Exec", cell=cell, argv=["true"])["resource"], "commands of this user")
    open(T + "/taken", "w").close()
    until(lambda: os.path.exists(T + "/served"), "the other one")
    run[0].close()
    def again():
        try:
            return a.call("Exec", cell=cell, argv=["true"])
        except Error as e:
            eq(e.name.rpartition(".")[2], "CapacityExhausted")
    eq(until(again, "a place is free again")["exitStatus"], 0)
os.chmod(T, 0o777)
eq(c.call("Describe")["limits"]["maxExecs"], 128)
as_user(20003, lambda a: eq(a.call("Describe")["limits"]["maxExecs"], 0))
taker = threading.Thread(target=as_user, args=(20001, first))
taker.start()
until(lambda: os.path.exists(T + "/taken"), "the first one has his")
as_user(20002, second)
open(T + "/served", "w").close()
taker.join()
END
	daemon_stop
}

test_the_daemon_ends_with_a_command_running() {
	daemon_start
	a_cell
	"$FSBOX" exec "$CELL" sleep 1000 </dev/null 2>"$T/client" &
	runs() { fsbox inspect "$CELL" | grep -q '"processes":3'; }
	wait_for 100 runs
	daemon_stop
	status=0
	wait $! || status=$?
	check test "$status" -ne 0
}

# Where the cell's user is the user of everything on the host's side as well, and fsbox-spawn's program may be its own.
test_in_an_ordinary_users_cells() {
	need_root
	user_dirs
	as_user test -x "$FSBOX" || skip "other users cannot reach $FSBOX"
	mkdir "$T/own"
	cp "$FSBOX" "$FSBOX_BUILD/fsbox-spawn" "$FSBOX_BUILD/fsboxd" "$T/own/"
	cp -r "$FSBOX_BUILD/runtime" "$T/own/runtime"
	chown -R "$CELL_USER" "$T/own"
	sha256sum "$T/own/fsbox-spawn" "$T/own/runtime/enter" >"$T/sums"
	(EXEC="exec" as_user "$T/own/fsbox" serve --no-limits --state "$T/xdg/state" >"$T/daemon" 2>&1 </dev/null) &
	DAEMON=$!
	trap daemon_abandon EXIT
	own() { as_user "$FSBOX" "$@"; }
	wait_for 300 own ps >"$T/waited" 2>&1 || {
		daemon_log
		fail "the daemon does not answer"
	}
	own deploy --policy none f "$EXAMPLES/hello.so" >"$T/deployed"
	own invoke f >"$T/invoked" 2>&1
	CELL=$(own ps --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')
	run own exec "$CELL" sh -c 'grep CapEff /proc/self/status; exit 4'
	check_eq "$status" 4
	check_contains "$T/out" "0000000000000000"
	run own exec "$CELL" sh -c 'echo x >/var/runtime/enter'
	check_contains "$T/err" "Read-only" # its own file, but not from there
	own exec "$CELL" sh -c 'echo "#!/proc/self/exe" >/tmp/x; chmod +x /tmp/x' </dev/null
	for command in /proc/self/exe /tmp/x; do
		run own exec "$CELL" "$command" --help
		check_eq "$status" 126
		check_eq "$(cat "$T/out")" ""
	done
	run sha256sum -c --quiet "$T/sums"
	check_eq "$status" 0
	daemon_end
	check_eq "$daemon_status" 0
}

run_tests "$@"
