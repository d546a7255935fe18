#!/bin/sh
# Users of one daemon, protected from each other: what one cannot see, use up or be given. Test uids 20001 and 20002.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"
# The uids have no entry in passwd and nothing on this machine belongs to them.
USERS='A, B = 20001, 20002
F = os.environ["FUNCTIONS"]
'

can_reach() { # the functions of the build, as such a user
	setpriv --reuid 20001 --regid 20001 --clear-groups test -r "$FUNCTIONS/echo.so" -a -x "$FUNCTIONS" ||
		skip "other users cannot reach $FUNCTIONS"
}

test_one_cannot_see_or_touch_what_is_anothers() {
	can_reach
	daemon_start
	steps <<END
$USERS
import json
def other(b):
    b.deploy("sleep_forever", timeout=60)
    b.deploy("counter")
    b.deploy("echo")
    b.call("Invoke", function="echo", event={"text": "secret"}, logs=True)
    lease = b.call("Acquire", function="counter")
    b.send("Invoke", function="sleep_forever", invocation="mine")
    with Client() as b2:
        busy = until(lambda: [x for x in b2.cells("sleep_forever") if x["state"] == "busy"], "it runs")[0]
        idle = b2.cells("echo")[0]
        with open(T + "/b.json", "w") as f:
            json.dump([busy["id"], idle["id"], lease], f)
        os.rename(T + "/b.json", T + "/b")
        until(lambda: os.path.exists(T + "/done"), "the other is done", 60)
        eq(sorted(f["name"] for f in b2.functions()), ["counter", "echo", "sleep_forever"])
        eq([x for x in b2.cells("sleep_forever")][0]["state"], "busy", "it was not disturbed")
        eq(b2.invoke(lease=lease["lease"])["cell"], lease["cell"])
        eq(b2.call("Cancel", invocation="mine"), {"existed": True})
os.chmod(T, 0o777)
failed = []
def run_other():
    try:
        as_user(B, other)
    except BaseException as e:
        failed.append(e)
t = threading.Thread(target=run_other)
t.start()
until(lambda: failed or os.path.exists(T + "/b"), "B has begun")
if failed:
    raise failed[0]
with open(T + "/b") as f:
    busy, idle, lease = json.load(f)
def attack(a):
    eq(a.call("Describe")["uid"], A)
    eq(a.functions(), [])
    eq(a.cells(), [])
    eq([r for r in a.more("Functions", name="echo")], [{}])
    for name in "echo", "counter", "sleep_forever":
        eq(a.fails("NotFound", "Invoke", function=name)["what"], "function")
        eq(a.fails("NotFound", "Acquire", function=name)["what"], "function")
        eq(a.call("Undeploy", name=name), {"existed": False})
    eq(a.fails("NotFound", "Invoke", lease=lease["lease"])["what"], "lease")
    eq(a.call("Release", lease=lease["lease"]), {"existed": False})
    eq(a.call("Cancel", invocation="mine"), {"existed": False})
    for cell in busy, idle, lease["cell"]:
        for method in "Kill", "Remove":
            eq(a.call(method, cell=cell), {"existed": False})
        for method in "Inspect", "Pause", "Resume":
            eq(a.fails("NotFound", method, cell=cell), {"what": "cell", "id": cell})
        a.fails("NotFound", "Update", cell=cell, memoryMb=16)
        eq([r for r in a.more("Logs", cell=cell)], [{}])
    eq([r for r in a.more("Logs")], [{}])
    s = a.call("Stats")["stats"]
    eq((s["functions"], s["cells"]), ([], []))
    k = a.call("Capacity")
    eq((k["cells"], k["queued"], k["warm"], k["cpusBusy"]), (0, 0, {}, 0))
    eq(k["memoryFreeMb"], k["memoryBudgetMb"], "nor what others have taken")
    with Client() as quiet:
        quiet.send("Subscribe", more=True)
        true(quiet.is_quiet(), "no events of others")
        # The same names and ids are free for A.
        a.deploy("echo")
        eq(body(a.call("Invoke", function="echo", invocation="mine", event={"text": "a"})), "a")
        kinds = []
        while not kinds or kinds[-1] != "called":
            e = quiet.recv()["parameters"]["event"]
            eq(e["owner"], A)
            kinds.append(e["kind"])
    eq(len(a.functions()), 1)
as_user(A, attack)
# root sees all, by default.
eq(sorted((f["owner"], f["name"]) for f in c.functions()), [(A, "echo"), (B, "counter"), (B, "echo"), (B, "sleep_forever")])
open(T + "/done", "w").close()
t.join()
if failed:
    raise failed[0]
END
	daemon_stop
}

test_files_are_opened_with_the_callers_own_permission() {
	can_reach
	mkdir "$TAP_DIR/roots" "$TAP_DIR/own" "$TAP_DIR/open"
	cp "$FUNCTIONS/echo.so" "$TAP_DIR/roots/f.so"
	cp "$FUNCTIONS/echo.so" "$TAP_DIR/own/f.so"
	cp "$FUNCTIONS/echo.so" "$TAP_DIR/open/f.so"
	echo secret >"$TAP_DIR/open/token"
	chmod 600 "$TAP_DIR/open/f.so" "$TAP_DIR/open/token"
	chmod 700 "$TAP_DIR/roots" "$TAP_DIR/own"
	cp "$FUNCTIONS/echo.so" "$TAP_DIR/own/closed.so" # the cell's user could not read it
	chmod 600 "$TAP_DIR/own/closed.so"
	chown -R 20001:20001 "$TAP_DIR/own"
	ln -s "$TAP_DIR/open/f.so" "$TAP_DIR/own/link.so"
	ln -s "$TAP_DIR/roots/f.so" "$TAP_DIR/own/through.so"
	daemon_start
	steps "$TAP_DIR" <<END
$USERS
D = sys.argv[1]
def spec(**more):
    return dict({"provisioned": 0, "reserved": 0, "maxCells": 0}, **more)
def attempt(a):
    for target in D + "/roots/f.so", D + "/open/f.so", D + "/own/link.so", D + "/own/through.so", D + "/own/closed.so":
        a.fails("Denied", "Deploy", **spec(name="f", spec={"target": target}))
    a.fails("NotFound", "Deploy", **spec(name="f", spec={"target": D + "/own/none.so"}))
    a.fails("Denied", "Deploy", **spec(name="f", spec={"target": F + "/echo.so", "secret": ["t=@" + D + "/open/token"]}))
    a.fails("Denied", "Deploy", **spec(name="f", spec={"target": F + "/echo.so", "layer": [D + "/roots"]}))
    a.fails("Denied", "Deploy", **spec(name="f", spec={"target": F + "/echo.so", "rootfs": D + "/roots"}))
    a.fails("InvalidSpec", "Deploy", **spec(name="f", spec={"target": "own/f.so"}))
    a.deploy("own", D + "/own/f.so")
    eq(body(a.invoke("own", "from a directory of 0700")), "from a directory of 0700")
    # What one cannot open one cannot pass as a path only, either.
    fd = os.open(D + "/open", os.O_PATH)
    try:
        a.call("Deploy", [fd], **spec(name="p", spec={"target": "f"}, codeFd=0))
        true(False, "it was taken")
    except Error as e:
        true(e.name in ("Denied", "InvalidSpec", "org.varlink.service.InvalidParameter"), e)
    # A descriptor that one has is enough.
    fd = os.open(D + "/own/f.so", os.O_RDONLY)
    a.call("Deploy", [fd], **spec(name="fd", spec={"target": "code.so"}, codeFd=0))
    eq(body(a.invoke("fd", "x")), "x")
as_user(A, attempt)
as_user(B, lambda b: b.fails("Denied", "Deploy", **spec(name="own", spec={"target": D + "/own/f.so"})))
c.deploy("roots", D + "/roots/f.so")
eq(body(c.invoke("roots", "root may")), "root may")
END
	daemon_stop
}

test_results_are_kept_whatever_others_do() {
	can_reach
	daemon_start
	steps <<END
$USERS
def one(b):
    b.deploy("counter")
    eq(body(b.invoke("counter", invocation="mine")), "1")
def many(a):
    a.deploy("counter")
    for i in range(1100):
        a.invoke("counter", invocation="n%d" % i)
    eq(body(a.invoke("counter", invocation="n1099")), "1100")
    eq(a.fails("NotFound", "Invoke", function="counter", invocation="n0")["what"], "invocation")
as_user(B, one)
as_user(A, many)
as_user(B, lambda b: eq(body(b.invoke("counter", invocation="mine")), "1"))
END
	daemon_stop
}

test_the_policys_rules_hold() {
	can_reach
	mkdir "$TAP_DIR/allowed" "$T/mine"
	python3 -c 'import sys, zipfile; [zipfile.ZipFile(z, "w").writestr("bin/x", z) for z in sys.argv[1:]]' "$TAP_DIR/allowed/layer.zip" "$T/mine/layer.zip"
	cp "$FUNCTIONS/echo.so" "$FUNCTIONS/remaining.so" "$TAP_DIR/allowed/"
	ln -s "$FUNCTIONS/echo.so" "$TAP_DIR/allowed/out.so"
	cat >"$TAP_DIR/rules.json" <<-END
		{"rules": [
			{"uid": 0, "admin": true, "net": "*", "policies": "*"},
			{"uid": 20001, "maxCells": 2, "memoryMb": 300, "maxQueued": 1, "roots": ["$TAP_DIR/allowed"], "policies": ["strict"], "net": ["none"]},
			{"gid": 30001, "methods": ["Describe", "List"]}
		]}
	END
	daemon_start --policy-file "$TAP_DIR/rules.json"
	steps "$TAP_DIR/allowed" <<END
$USERS
D = sys.argv[1]
def deploy(a, name, target, **more):
    return a.deploy(name, D + "/" + target + ".so", **dict({"policy": "strict", "net": "none"}, **more))
def denied(what, name="Denied"):
    try:
        what()
    except Error as e:
        eq(e.name, name)
        return e.parameters
    raise AssertionError("allowed")
def as_a(a):
    d = a.call("Describe")
    eq(d["rule"], "rules[1]")
    eq({k: d["limits"][k] for k in ("maxCells", "maxQueued", "memoryMb", "admin")}, {"maxCells": 2, "maxQueued": 1, "memoryMb": 300, "admin": False})
    denied(lambda: a.deploy("f", "echo", policy="strict", net="none"))
    denied(lambda: deploy(a, "f", "out"))
    fd = os.open(D + "/layer.zip", os.O_RDONLY)
    more = {"target": D + "/echo.so", "policy": "strict", "net": "none", "layer": ["/l.zip"]}
    a.call("Deploy", [fd], name="zip", spec=more, layerFds=[0])
    denied(lambda: a.call("Deploy", [elsewhere], name="f", spec=more, layerFds=[0]))
    denied(lambda: deploy(a, "f", "echo", policy="default"))
    denied(lambda: deploy(a, "f", "echo", policy="none"))
    denied(lambda: deploy(a, "f", "echo", net="loopback"))
    denied(lambda: deploy(a, "f", "echo", net="host"))
    denied(lambda: deploy(a, "f", "echo", mem=301))
    denied(lambda: deploy(a, "f", "echo", **{"no-limits": True}))
    deploy(a, "echo", "echo", mem=128)
    deploy(a, "remaining", "remaining", mem=128, timeout=60)
    eq(body(a.invoke("echo", "x")), "x")
    clients = [Client() for i in range(4)]
    for i, client in enumerate(clients[:2]):
        client.send("Invoke", function="remaining", event={"text": "60000"}, invocation="i%d" % i)
        until(lambda: len([x for x in a.cells() if x["state"] == "busy"]) == i + 1, "it runs")
    eq(len(a.cells()), 2, "the idle one made room")
    clients[2].send("Invoke", function="remaining", event={"text": "60000"}, invocation="i2")
    until(lambda: [f for f in a.functions() if f["name"] == "remaining"][0]["queued"] == 1, "one waits")
    e = a.fails("Busy", "Invoke", function="remaining")
    e = a.fails("CapacityExhausted", "Invoke", function="echo")
    true("user" in e["resource"], e)
    denied(lambda: a.call("Update", cell=a.cells()[0]["id"], memoryMb=256))
    for i in 2, 1, 0:  # the one that waits first: no cell starts for it
        a.call("Cancel", invocation="i%d" % i)
    until(lambda: a.cells() == [], "they are gone")
    eq(body(a.invoke("echo", "x")), "x")
# The same name in a mount namespace of another's is another file.
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ours = os.open("/proc/self/ns/mnt", os.O_RDONLY)
eq(libc.unshare(0x20000), 0, "unshare(CLONE_NEWNS)")
eq(libc.mount(None, b"/", None, 0x44000, None), 0, "private")
eq(libc.mount((T + "/mine").encode(), D.encode(), None, 4096, None), 0, "bind")
theirs = os.open("/proc/self/ns/mnt", os.O_RDONLY)  # its mounts stay
elsewhere = os.open(D + "/layer.zip", os.O_RDONLY)
eq(libc.setns(ours, 0), 0, "back")
eq(os.readlink("/proc/self/fd/%d" % elsewhere), D + "/layer.zip", "as the daemon sees it")
as_user(A, as_a)
def as_group(b):
    b.call("Describe")
    eq(b.cells(), [])
    denied(lambda: b.deploy("f", "echo"), "org.varlink.service.PermissionDenied")
    denied(lambda: b.call("Capacity"), "org.varlink.service.PermissionDenied")
    eq(b.call("Describe")["rule"], "rules[2]")
as_user(B, as_group, [30001])
def as_nobody(b):
    eq(b.call("Describe")["rule"], "no rule matches")
    denied(lambda: b.call("Capacity"), "org.varlink.service.PermissionDenied")
    b.call("org.varlink.service.GetInfo")
as_user(B, as_nobody, [30002])
c.deploy("echo", net="host", policy="none")
eq(body(c.invoke("echo", "x")), "x")
END
	daemon_stop
}

test_a_flood_of_one_does_not_stop_the_others_calls() {
	can_reach
	daemon_start --max-cells 40
	steps <<END
$USERS
os.chmod(T, 0o777)
def flood(a):
    a.deploy("busy", timeout=20, mem=128)
    # Connections, as many as one gets; calls and subscriptions on each of them, whose answers hardly anybody reads.
    clients, n = [], 0
    for i in range(300):
        try:
            clients.append(Client(timeout=1))
        except OSError:
            break
    for client in clients:
        client.sock.setblocking(False)
    call = b'{"method":"org.fsbox.Sandbox.Invoke","parameters":{"function":"busy","event":{"text":"200"}}}\0'
    more = b'{"method":"org.fsbox.Sandbox.Subscribe","more":true,"parameters":{"since":0}}\0'
    missing = {b'"kind":"result"', b"Sandbox.Busy"} # what shows that it has its cells, and more calls than they take
    while not os.path.exists(T + "/stop"):
        for i, client in enumerate(clients):
            try:
                n += client.sock.send(more if i % 20 == 0 else call)
                got = client.sock.recv(65536)
            except OSError: # full, or closed
                continue
            seen = {word for word in missing if word in got}
            missing -= seen
            if seen and not missing:
                open(T + "/flooding", "w").close()
        time.sleep(0.001) # it is the daemon's time that is to be taken, not the machine's
def measure(b):
    b.deploy("echo", timeout=20)
    def calls():
        took, end = [], time.monotonic() + 2
        while len(took) < 60 or time.monotonic() < end:
            began = time.monotonic()
            r = b.invoke("echo", "x")
            eq(body(r), "x")
            took.append((time.monotonic() - began, r["phases"]))
        return sorted(took, key=lambda t: t[0])
    def middle(took):
        return took[len(took) // 2][0]
    alone = calls()
    open(T + "/go", "w").close()
    until(lambda: os.path.exists(T + "/flooding"), "the flood has begun", 30)
    beside = calls()
    open(T + "/stop", "w").close()
    print("median %.2f ms alone, %.2f ms beside the flood; longest %.0f ms: %s" % (
        middle(alone) * 1e3, middle(beside) * 1e3, beside[-1][0] * 1e3, beside[-1][1]))
    # Whatever else takes the machine: calls of B do not stand in line behind A's.
    true(sorted(t[1]["queueUs"] for t in beside)[len(beside) // 2] < 100000, "queue")
    true(middle(beside) < slower, middle(beside))
    with Client() as b2: # new ones come in, too
        b2.deploy("counter", timeout=20)
        eq(body(b2.invoke("counter")), "1")
slower = int(os.environ.get("FSBOX_SLOWER", "1"))
flooder = os.fork()
if flooder == 0:
    try:
        until(lambda: os.path.exists(T + "/go"), "the beginning", 60)
        as_user(A, flood)
    finally:
        os._exit(0)
try:
    as_user(B, measure)
finally:
    for name in "/go", "/stop":
        open(T + name, "w").close()
    os.waitpid(flooder, 0)
true([f for f in c.functions() if f["owner"] == A and f["calls"] > 0 and f["rejected"] > 0], "the flood had its share")
END
	grep '^median' "$T/said" | sed 's/^/# /'
	daemon_stop
}
test_what_one_reserves_leaves_room_for_others() {
	can_reach
	daemon_start --memory 2000 --max-cells 40
	steps <<END
$USERS
def greedy(a):
    a.fails("Denied", "Deploy", name="f", spec={"target": F + "/echo.so", "mem": 64}, reserved=4096)
    a.fails("Denied", "Deploy", name="f", spec={"target": F + "/echo.so", "mem": 500}, reserved=3)
    a.deploy("f", "echo", mem=64, reserved=12)
    a.fails("Denied", "Deploy", name="g", spec={"target": F + "/echo.so", "mem": 64}, reserved=12)
    a.fails("Denied", "Scale", name="f", reserved=30)
    eq(a.call("Scale", name="f", reserved=10)["reserved"], 10)
def other(b):
    eq(b.fails("CapacityExhausted", "Deploy", name="f", spec={"target": F + "/echo.so", "mem": 64}, reserved=15)["resource"], "memory")
    b.deploy("f", "echo", mem=64)
    eq(body(b.invoke("f", "hi")), "hi")
as_user(A, greedy)
as_user(B, other)
END
	daemon_stop
}

test_limits_that_grow_at_once_keep_to_the_budget() {
	daemon_start --memory 600
	steps <<'END'
c.deploy("echo", mem=64)
cells = [c.call("Acquire", function="echo")["cell"] for n in range(4)]
clients = [Client() for cell in cells]
for client, cell in zip(clients, cells):
    client.send("Update", cell=cell, memoryMb=200)
done = 0
for client in clients:
    try:
        client.result()
        done += 1
    except Error as e:
        true(e.name.rpartition(".")[2] in ("CapacityExhausted", "Denied"), e)
eq(done, 2)
def used():
    return sum(cell["memoryMb"] for cell in c.cells())
eq(used(), 2 * 200 + 2 * 64)
os.kill(pid_of("fsboxd"), signal.SIGKILL)
def again():
    try:
        return Client()
    except OSError:
        return None
c = until(again, "a new one answers")
eq(used(), 2 * 200 + 2 * 64, "the new one knows the limits")
END
	daemon_stop 'SIG|signal 9|KILL'
}
run_tests "$@"
