#!/bin/sh
# What is left of cells, calls and functions when a part of the daemon is killed, at every moment.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# kill -9 of fsboxd, which is told; the next one has the place before anything else happens.
CRASH='
import signal
def crash():
    old = pid_of("fsboxd")
    os.kill(old, signal.SIGKILL)
    return until(lambda: pid_of("fsboxd") not in (0, old) and pid_of("fsboxd"), "the next fsboxd")
def closed(client):
    try:
        got = client.recv()
    except (Closed, ConnectionResetError):
        return True
    raise AssertionError("not closed, but %r" % got)
'

test_idle_cells_are_taken_over_and_stay_warm() {
	daemon_start
	steps <<END
$CRASH
c.deploy("counter")
c.deploy("echo")
cell = c.invoke("counter")["cell"]
lease = c.call("Acquire", function="echo")
eq((c.cell(cell)["calls"], c.cell(lease["cell"])["calls"]), (1, 0))
boot = c.call("Describe")["bootId"]
groups = c.cell(cell)["cgroup"]
for i in range(2, 5):
    other = Client()
    other.send("Subscribe", more=True)
    other.recv()
    crash()
    true(closed(c), "clients see it")
    while True: # events of what was there before
        try:
            other.recv()
        except (Closed, ConnectionResetError):
            break
    c = Client()
    eq(c.call("Describe")["bootId"], boot)
    eq(sorted(f["name"] for f in c.functions()), ["counter", "echo"])
    eq(sorted(x["id"] for x in c.cells()), sorted([cell, lease["cell"]]))
    x = c.cell(cell)
    eq((x["state"], x["cgroup"], x["calls"]), ("idle", groups, i - 1))
    eq(c.cell(lease["cell"])["calls"], i - 2, "calls of before are counted")
    if is_frozen(x) is not None:
        until(lambda: is_frozen(x), "it sleeps again")
    r = c.invoke("counter")
    eq((r["cell"], r["startKind"], body(r)), (cell, "warm", str(i)))
    true(c.cell(lease["cell"])["leased"], "the lease lives on")
    eq(c.invoke(lease=lease["lease"], text="mine")["cell"], lease["cell"])
eq(c.call("Release", lease=lease["lease"]), {"existed": True})
eq(body(c.invoke("echo", "anybody")), "anybody")
c.call("Undeploy", name="counter")
until(lambda: [x["function"] for x in c.cells()] == ["echo"], "they are its own again")
END
	daemon_stop '^fsbox-spawn: fsboxd \(pid [0-9]+\) was ended by signal 9 \(KILL\)$'
}

test_a_request_token_gives_the_same_lease_after_a_crash() {
	daemon_start
	steps <<END
$CRASH
c.deploy("counter")
one = c.call("Acquire", function="counter", requestToken="mine", leaseMs=600000)
other = c.call("Acquire", function="counter", leaseMs=600000)
for stop in crash, crash, lambda: (os.kill(pid_of("fsboxd"), signal.SIGTERM), closed(c)):
    stop()
    c = Client()
    eq(c.call("Acquire", function="counter", requestToken="mine"), one)
eq(body(c.invoke(lease=one["lease"])), "1")
eq(len(c.cells()), 2, "no cell beside those that somebody knows of")
# It is the lease's, and ends with it: also what a pause has written does not lose it.
c.call("Pause", cell=one["cell"])
c.call("Resume", cell=one["cell"])
crash()
c = Client()
eq(c.call("Acquire", function="counter", requestToken="mine"), one)
true(c.call("Acquire", function="counter", requestToken="new")["lease"] not in (one["lease"], other["lease"]))
c.call("Release", lease=one["lease"])
crash()
c = Client()
true(c.call("Acquire", function="counter", requestToken="mine")["lease"] != one["lease"], "a new one after its end")
END
	daemon_stop '^fsbox-spawn: fsboxd .* (\(KILL\)|ended with status 0)$'
}

test_a_reader_of_logs_hears_that_they_went_with_fsboxd() {
	daemon_start
	steps <<END
$CRASH
c.deploy("log_lines")
c.invoke("log_lines", "{}")
last = [x["chunk"]["cursor"] for x in c.more("Logs") if "chunk" in x][-1]
eq(list(c.more("Logs", since=last)), [{}], "nothing is missing")
crash()
c = Client()
def first(since, **more):
    message = Client()
    message.send("Logs", more=True, since=since, **more)
    message = message.recv()
    eq(message.get("error"), "org.fsbox.Sandbox.Lost", str(message))
    return message["parameters"]["firstAvailable"]
since = first(last)
for old in 1, since - 1, since + 1000000:
    eq(first(old), since)
eq(first(last, follow=True), since)
eq(list(c.more("Logs", since=since)), [{}])
c.invoke("log_lines", "{}")
eq(list(c.more("Logs", since=since)), list(c.more("Logs")), "from there nothing is missing")
END
	daemon_stop '^fsbox-spawn: fsboxd .* \(KILL\)$'
}

test_paused_cells_stay_paused() {
	daemon_start
	steps <<END
$CRASH
if "freeze" in c.call("Describe")["features"]:
    c.deploy("counter")
    cell = c.invoke("counter")["cell"]
    c.call("Pause", cell=cell)
    crash()
    c = Client()
    eq(c.cell(cell)["state"], "paused")
    until(lambda: is_frozen(c.cell(cell)), "it is frozen")
    true(c.invoke("counter")["cell"] != cell, "it takes no call")
    c.call("Resume", cell=cell)
    eq(c.cell(cell)["state"], "idle")
END
	daemon_stop '^fsbox-spawn: fsboxd .* \(KILL\)$'
}

test_what_was_in_the_middle_of_something_ends() {
	daemon_start
	steps <<END
$CRASH
c.deploy("sleep_forever", timeout=60)
c.deploy("init_sleep", timeout=60)
c.deploy("counter")
idle = c.invoke("counter")["cell"]
a, b, d = Client(), Client(), Client()
a.send("Invoke", function="sleep_forever", invocation="once")
busy = until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")[0]
b.send("Invoke", function="init_sleep")
init = until(lambda: [x for x in c.cells() if x["state"] == "init"], "it is in its init")[0]
c.call("Update", cell=idle, memoryMb=192)
crash()
for client in a, b, c:
    true(closed(client), "clients see it")
c = Client()
until(lambda: [x["id"] for x in c.cells()] == [idle], "only the idle one is left")
for x in busy, init:
    until(lambda: not os.path.exists("/proc/%d" % x["pid"]), "its processes have ended")
# It has begun: it does not begin again.
eq(c.fails("NotFound", "Invoke", function="sleep_forever", invocation="once")["what"], "invocation")
eq(body(c.invoke("counter")), "2")
# A deployment in the middle: it is there or it is not, and can be made again.
for i in range(6):
    d = Client()
    d.send("Deploy", name="new%d" % i, spec={"target": os.environ["FUNCTIONS"] + "/echo.so"}, provisioned=0, reserved=0, maxCells=0)
    time.sleep(0.003 * i)
    crash()
    c = Client()
    c.deploy("new%d" % i, "echo")
    eq(body(c.invoke("new%d" % i, "x")), "x")
eq(body(c.invoke("counter")), "3", "and all the time it was there")
END
	daemon_stop '^fsbox-spawn: fsboxd .* \(KILL\)$|^fsbox-spawn: .*[Bb]roken pipe'
}

test_a_hundred_cells_are_taken_over_within_a_second() {
	daemon_start
	steps <<END
$CRASH
c.deploy("counter", mem=16, provisioned=100)
until(lambda: len([x for x in c.cells() if x["state"] == "idle"]) == 100, "a hundred cells", 60)
before = sorted(x["id"] for x in c.cells())
began = time.monotonic()
crash()
c = Client()
c.call("Describe")
took = time.monotonic() - began
eq(sorted(x["id"] for x in c.cells()), before)
eq(c.invoke("counter")["startKind"], "warm")
print("taken over after %.0f ms" % (took * 1000))
true(took < 1 * int(os.environ.get("FSBOX_SLOWER", "1")) + 0.5, took)
c.call("Undeploy", name="counter")
until(lambda: c.cells() == [], "scaled to zero", 30)
END
	daemon_stop '^fsbox-spawn: fsboxd .* \(KILL\)$'
}

test_fsboxd_that_dies_again_and_again_comes_back_slower() {
	daemon_start
	steps <<END
$CRASH
c.deploy("counter")
cell = c.invoke("counter")["cell"]
for i in range(4):
    crash()
c = Client()
eq(c.invoke("counter")["cell"], cell)
END
	daemon_stop '^fsbox-spawn: fsboxd .* \(KILL\)$'
}

test_after_fsbox_spawn_was_killed_the_next_one_sweeps_and_functions_are_back() {
	daemon_start
	steps <<'END'
c.deploy("counter")
c.deploy("sleep_forever", timeout=60)
c.deploy("gone", "echo")
c.invoke("counter")
c.invoke("gone", "x")
a = Client()
a.send("Invoke", function="sleep_forever")
until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")
c.call("Undeploy", name="gone")
with open(T + "/groups", "w") as f:
    for x in c.cells():
        f.write("%s\n" % x.get("cgroup", ""))
END
	kill -KILL "$DAEMON"
	wait "$DAEMON" 2>/dev/null || :
	steps_without <<'END'
until(lambda: not pid_of("fsboxd"), "fsboxd ends with it")
until(lambda: not pid_of("fsbox-init"), "its cells end with it")
END
	daemon_begin
	steps <<'END'
until(lambda: sorted(f["name"] for f in c.functions()) == ["counter", "sleep_forever"], "the functions are back")
eq(c.cells(), [])
with open(T + "/groups") as f:
    for line in f:
        for root, dirs, files in os.walk("/sys/fs/cgroup"):
            true(not line.strip() or not root.endswith(line.strip()), "%s was swept" % line.strip())
r = c.invoke("counter")
eq((r["startKind"], body(r)), ("cold", "1"))
END
	daemon_stop '^fsboxd: fsbox-spawn is gone'
}

test_sigterm_lets_calls_end_and_a_start_brings_the_functions_back() {
	daemon_start
	steps <<'END'
import signal
c.deploy("remaining", timeout=20)
c.deploy("counter")
c.invoke("counter")
a = Client()
a.send("Invoke", function="remaining", event={"text": "1000"})
until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")
os.kill(os.getppid(), 0)
os.kill(pid_of("fsbox-spawn"), signal.SIGTERM)
eq(a.result()["status"], "success", "what runs is answered")
END
	wait_for 100 daemon_gone || fail "it does not end"
	daemon_begin
	steps <<'END'
until(lambda: sorted(f["name"] for f in c.functions()) == ["counter", "remaining"], "the functions are back")
eq(c.cells(), [])
eq(body(c.invoke("counter")), "1")
END
	daemon_stop
}

test_sigterm_lets_a_call_have_the_cell_that_starts_for_it() {
	daemon_start
	steps <<'END'
c.deploy("init_slow", env=["FSBOX_TEST_MS=1500"])
a = Client()
a.send("Invoke", function="init_slow")
until(lambda: [x for x in c.cells() if x["state"] in ("starting", "init")], "its cell starts")
time.sleep(0.3)
os.kill(pid_of("fsbox-spawn"), signal.SIGTERM)
eq(a.result()["status"], "success")
END
	wait_for 100 daemon_gone || fail "it does not end"
	check_world
}

test_a_call_in_the_time_in_which_functions_are_brought_back_is_busy() {
	daemon_start
	steps <<'END'
for i in range(60):
    c.deploy("f%d" % i, "echo")
END
	daemon_end
	# From the first answer on, not when all is there.
	FSBOX_SOCKET=/run/fsbox/fsbox.sock
	"$DAEMON_PROGRAM" serve --user "$DAEMON_USER" --group "$DAEMON_USER" --state "$T/state" >>"$T/daemon" 2>&1 </dev/null &
	DAEMON=$!
	steps_without <<'END'
def first():
    try:
        return Client()
    except OSError:
        return None
c = until(first, "a connection")
a, b = Client(), Client()
a.send("Functions", more=True)
b.send("Functions", more=True)
b.close() # who does not wait for it takes nothing along
for i in 59, 0, 30:
    while True:
        try:
            eq(body(c.invoke("f%d" % i, "x")), "x")
            break
        except Error as e:
            eq((e.name, e.parameters["retryAfterMs"] > 0), ("Busy", True), e)
            time.sleep(0.005)
listed = [a.recv()]
while listed[-1].get("continues"):
    listed.append(a.recv())
eq(sorted(m["parameters"]["function"]["name"] for m in listed), sorted("f%d" % i for i in range(60)), "no list without them")
c.fails("NotFound", "Invoke", function="f60")
eq(len(c.functions()), 60)
END
	daemon_stop
}

test_sighup_reads_the_policy_again_and_keeps_the_old_one_when_it_is_bad() {
	printf '{"rules": [{"methods": ["Describe"]}]}' >"$TAP_DIR/policy.json"
	daemon_start --policy-file "$TAP_DIR/policy.json"
	steps <<'END'
import signal
policy = os.environ["T"].rsplit("/", 1)[0] + "/policy.json"
def reload(text):
    with open(policy, "w") as f:
        f.write(text)
    os.kill(pid_of("fsbox-spawn"), signal.SIGHUP)
c.fails("org.varlink.service.PermissionDenied", "Capacity")
reload('{"rules": [{"methods": ["Describe", "Capacity"]}]}')
def may():
    try:
        return c.call("Capacity")
    except Error:
        return None
until(may, "more is allowed")
for bad in "{", '{"rules": [{"uid": "all"}]}', "":
    before = os.stat(T + "/daemon").st_size
    reload(bad)
    until(lambda: os.stat(T + "/daemon").st_size > before, "it complains")
    true(may(), "the rules that held go on")
reload('{"rules": []}')
until(lambda: not may(), "nothing is allowed")
END
	daemon_stop '^fsboxd: .*policy.json'
}
run_tests "$@"
