#!/bin/sh
# fsboxd without memory, and with a wall clock that jumps: its allocations fail one by one, and many at a time, in everything that it
# does (tests/lib/shim/faults.c). A call may fail then; the daemon may not.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# What a client does, each by itself; a word that is among the answers says that it was done.
ACTIONS='
import socket
F = os.environ["FUNCTIONS"]
faults = Faults(T + "/faults")
def stream(a):
    return "".join(p.get("payload", {}).get("text", "") for p in a.more("Invoke", function="stream", stream=True, event={"text": "3"}))
def by_fd(a):
    fd = memfd(b"x" * 100000)
    try:
        return a.call("Invoke", [fd], function="echo", event={"fd": 0}, answerFd=True)["status"]
    finally:
        os.close(fd)
def lease(a):
    l = a.call("Acquire", function="echo", leaseMs=1000)
    a.call("Invoke", lease=l["lease"])
    return a.call("Release", lease=l["lease"])
def cold(a):
    for x in a.cells("cold"):
        a.call("Kill", cell=x["id"])
    return a.invoke("cold", "1", logs=True)["status"]
def watch(a):
    a.send("Subscribe", more=True)
    return a.result()["event"]
def logs(a):
    return list(a.more("Logs"))
actions = {
    "describe": lambda a: a.call("Describe"),
    "info": lambda a: a.call("org.varlink.service.GetInterfaceDescription", interface="org.fsbox.Sandbox"),
    "capacity": lambda a: a.call("Capacity"),
    "deploy": lambda a: a.deploy("new", "echo", env=["A=b"], replace=True),
    "replace": lambda a: a.deploy("echo", "echo", env=["A=%d" % time.monotonic_ns()], replace=True),
    "undeploy": lambda a: a.call("Undeploy", name="new"),
    "functions": lambda a: list(a.more("Functions")),
    "cells": lambda a: a.cells(),
    "cold": cold,
    "warm": lambda a: a.invoke("echo", "x")["status"],
    "once": lambda a: a.invoke("echo", "x", invocation="i%d" % time.monotonic_ns())["status"],
    "large": lambda a: a.invoke("echo", "x" * 100000)["status"],
    "descriptors": by_fd,
    "crash": lambda a: a.invoke("crash_segv", "x")["status"],
    "stream": stream,
    "lease": lease,
    "stats": lambda a: a.call("Stats"),
    "logs": logs,
    "watch": watch,
    "update": lambda a: a.call("Update", cell=a.cells("bystander")[0]["id"], memoryMb=128),
    "malformed": lambda a: a.call("Describe", nothing=1),
}
known = ("SystemFailure", "InternalError", "Busy", "CapacityExhausted", "DeadlineExceeded", "NotFound", "SlowConsumer", "Cancelled", "InvalidSpec",
         "org.varlink.service.InvalidParameter", "Denied")
def attempt(action):
    """What came of it; a daemon that does not answer at all is a failure."""
    try:
        with Client(timeout=10 * slower) as a:
            actions[action](a)
        return "done"
    except Error as e:
        true(e.name in known, "%s: %s" % (action, e))
        return e.name
    except (Closed, ConnectionResetError, BrokenPipeError):
        return "closed"
    except socket.timeout:
        raise AssertionError("%s: no answer" % action)
slower = int(os.environ.get("FSBOX_SLOWER", "1"))
def prepare():
    for name, target in ("echo", "echo"), ("cold", "log_lines"), ("crash_segv", "crash_segv"), ("stream", "stream"):
        c.deploy(name, target, replace=True, timeout=5 * slower)
    c.invoke("echo", "x")
    c.invoke("stream", "1")
'

test_each_allocation_may_fail_and_the_daemon_goes_on() {
	faults_start
	steps <<END
other = Bystander()
$ACTIONS
prepare()
for action in actions:
    came, n, missing = {}, 0, 0
    while missing < 3 and n < 2000: # three times none was left to fail: it takes no more
        faults.fail(n, 1)
        what = attempt(action)
        failed = faults.end()
        missing = 0 if failed else missing + 1
        if failed:
            came[what] = came.get(what, 0) + 1
        n += 1 if n < 60 else 7
        r = other.client.invoke("bystander")
        other.count = int(body(r)) - 1 # it may be another cell's, should its own have been hit
        eq([pid_of("fsboxd"), pid_of("fsbox-spawn")], other.pids, "%s, allocation %d: the daemon's processes" % (action, n))
    print("without memory: %s: %s" % (action, sorted(came.items())))
    prepare()
    eq(attempt(action), "org.varlink.service.InvalidParameter" if action == "malformed" else "done", action + " again")
for f in c.functions():
    c.call("Undeploy", name=f["name"])
until(lambda: c.cells() == [], "nothing is left", 30)
END
	grep '^without' "$T/said" | sed 's/^/# /'
	daemon_stop 'emory|^fsboxd: '
}

test_no_memory_at_all_for_a_while_ends_connections_at_most() {
	faults_start
	steps <<END
other = Bystander()
$ACTIONS
prepare()
for action in actions:
    for after in 0, 1, 3, 10, 30, 100:
        faults.fail(after, 1 << 40)
        threads = [threading.Thread(target=lambda: attempt(action)) for i in range(2)]
        for t in threads:
            t.start()
        time.sleep(0.02)
        faults.end()
        for t in threads:
            t.join()
        eq([pid_of("fsboxd"), pid_of("fsbox-spawn")], other.pids, "%s: the daemon's processes" % action)
prepare()
for action in actions:
    eq(attempt(action), "org.varlink.service.InvalidParameter" if action == "malformed" else "done", action + " again")
c = Client()
for f in c.functions():
    c.call("Undeploy", name=f["name"])
until(lambda: c.cells() == [], "nothing is left", 30)
END
	daemon_stop 'emory|^fsboxd: '
}

test_a_wall_clock_that_jumps_changes_no_duration() {
	faults_start --keep 3600
	steps <<END
other = Bystander()
$ACTIONS
YEAR = 365 * 24 * 3600 * 10 ** 9
c.deploy("remaining", timeout=5 * slower)
c.deploy("counter")
lease = c.call("Acquire", function="counter", leaseMs=60000 * slower)
once = c.invoke("remaining", "0", invocation="once")
cursors = []
events = Client()
events.send("Subscribe", more=True)
for jump in YEAR, -3 * YEAR, 3600 * 10 ** 9, -YEAR, 0:
    a = Client()
    a.send("Invoke", function="remaining", event={"text": "300"}, deadlineMs=4000 * slower)
    until(lambda: [x for x in c.cells("remaining") if x["state"] == "busy"], "it runs")
    faults.set(faults.WALL, jump) # in the middle of a call
    r = a.result()
    eq(r["status"], "success")
    true(250000 < r["usage"]["durationUs"] < 4000000 * slower, r["usage"])
    true(3000 < int(body(r)) * slower * 1000, "what the call has left: %s" % body(r))
    eq(c.invoke("remaining", "0", invocation="once"), once, "kept results stay")
    eq(c.invoke(lease=lease["lease"])["status"], "success")
    other.is_undisturbed()
    eq({x["function"] for x in c.cells()}, {"bystander", "counter", "remaining"})
    wall = time.time() + jump / 1e9
    stats = c.call("Stats")["stats"]
    true(abs(stats["timeMs"] / 1e3 - wall) < 60, "the time that is told is the clock's")
    true(0 < stats["uptimeMs"] < 600000 * slower, stats["uptimeMs"])
while not events.is_quiet(0.2):
    cursor = events.result()["event"]["cursor"]
    if cursor:
        true(not cursors or cursor > cursors[-1], "cursors rise")
        cursors.append(cursor)
true(len(cursors) > 10, cursors)
END
	daemon_stop
}
run_tests "$@"
