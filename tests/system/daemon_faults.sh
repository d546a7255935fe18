#!/bin/sh
# What clients and the host can do wrong to fsboxd: messages that are none, descriptors that do not belong, readers that do
# not read, clients that die in every state, no descriptors, no disk. Another user's warm cell is called all the time.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_messages_that_are_none_end_their_connection_at_most() {
	daemon_start
	steps <<'END'
other = Bystander()
I = "org.fsbox.Sandbox."
def raw(data, fds=()):
    """What comes until nothing more does: names of errors, "ok", and "closed"."""
    got = []
    with Client() as a:
        try:
            a.send_bytes(data, fds)
            a.sock.shutdown(socket.SHUT_WR)
            while True:
                got.append(a.recv().get("error", "ok").rsplit(".", 1)[-1])
        except (Closed, BrokenPipeError, ConnectionResetError):
            return got + ["closed"]
import socket
describe = b'{"method":"org.fsbox.Sandbox.Describe"}\0'
eq(raw(describe), ["ok", "closed"])
# No object, or no end of the message to be found: nothing behind it is looked at.
for text in b"", b" ", b"null", b"[]", b"17", b'"Describe"', b"{", b"}", b'{"method":', b"\xff\xfe", b"\x1b[31m", b"{}}", b"{}{}", \
        b'{"method":"org.fsbox.Sandbox.Describe"', b'{"a":"\xc3\x28"}', b'{"a":1,"a":2}', b'{"a":"\\u0000"}', b'{"a":"\\ud800"}', \
        b"[" * 100000, b'{"a":' * 20000, b"{" + b'"%d":1,' * 3, b'{"a":1e999}', b'{"a":01}', b"{'a':1}", b'{"a":NaN}':
    answers = raw(text + b"\0" + describe)
    true(answers[-1] == "closed" and "ok" not in answers and len(answers) <= 2, (text[:40], answers))
other.is_undisturbed()
# An object that is no call: it is refused, and the next one is answered.
for text in b"{}", b'{"method":1}', b'{"method":null}', b'{"method":""}', b'{"method":"Describe"}', b'{"method":"org.fsbox.Sandbox."}', \
        b'{"method":".Describe"}', b'{"method":"org.fsbox.Sandbox.describe"}', b'{"method":"org.example.Describe"}', \
        b'{"method":"org.fsbox.Sandbox.Describe","parameters":[]}', b'{"method":"org.fsbox.Sandbox.Describe","parameters":{"a":1}}', \
        b'{"method":"org.fsbox.Sandbox.Describe","more":1}', b'{"method":"org.fsbox.Sandbox.Describe","other":{}}', \
        b'{"method":"org.fsbox.Sandbox.Describe","upgrade":true}', b'{"method":"org.fsbox.Sandbox.List"}', \
        b'{"method":"org.fsbox.Sandbox.Kill","parameters":{"cell":7}}', \
        b'{"method":"org.fsbox.Sandbox.Update","parameters":{"cell":"x","memoryMb":1e3}}', \
        b'{"method":"org.fsbox.Sandbox.Update","parameters":{"cell":"x","memoryMb":9007199254740993}}', \
        b'{"method":"org.fsbox.Sandbox.%s"}' % (b"A" * 100000):
    answers = raw(text + b"\0" + describe)
    true(len(answers) == 3 and answers[0] != "ok" and answers[1:] == ["ok", "closed"], (text[:80], answers))
# Too long, with and without an end, and too many values.
for text in b'{"a":"' + b"x" * (16 << 20) + b'"}\0', b"x" * (17 << 20), b'{"a":[' + b"1," * 16384 + b"1]}\0":
    answers = raw(text + describe)
    true("ok" not in answers, answers)
    other.is_undisturbed()
# In pieces and glued together.
with Client() as a:
    for byte in describe * 2:
        a.send_bytes(bytes([byte]))
    eq([a.result()["vendor"], a.result()["vendor"]], ["fsbox", "fsbox"])
    a.send_bytes(describe * 500 + describe[:20])
    for i in range(500):
        a.result()
    a.send_bytes(describe[20:])
    a.result()
    true(a.is_quiet(), "no answer too many")
# A random walk over a real conversation: bits flipped, parts left out, repeated, cut.
import random
dice = random.Random(6)
good = b"".join([describe, b'{"method":"org.fsbox.Sandbox.Capacity"}\0',
                 b'{"method":"org.fsbox.Sandbox.List","more":true,"parameters":{"function":"bystander"}}\0',
                 b'{"method":"org.fsbox.Sandbox.Logs","more":true,"parameters":{"since":17,"follow":false}}\0',
                 b'{"method":"org.fsbox.Sandbox.Deploy","parameters":{"name":"f","spec":{"target":"/none","env":["A=b"]},"codeFd":0}}\0',
                 b'{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"org.fsbox.Sandbox"}}\0'])
for i in range(300):
    data = bytearray(good)
    for change in range(dice.randrange(1, 5)):
        at, to = sorted((dice.randrange(len(data)), dice.randrange(len(data))))
        kind = dice.randrange(4)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[at:min(to, at + 20)]
        elif kind == 2:
            data[at:at] = data[at:min(to, at + 50)]
        else:
            data[at] = dice.choice(b'\0"{}[],:\\')
    raw(bytes(data), [sys.stdin.fileno()] if i % 7 == 0 else ())
other.holds_no_more()
END
	daemon_stop
}

test_half_closed_clients_get_their_answers() {
	daemon_start
	steps <<'END'
import socket
other = Bystander()
c.deploy("remaining", timeout=20)
c.deploy("big_answer", timeout=20, mem=256)
def half(method, **parameters):
    a = Client()
    a.send(method, **parameters)
    a.sock.shutdown(socket.SHUT_WR)
    return a
# While it waits, while it runs, while the answer is longer than any buffer.
waits = [half("Invoke", function="remaining", event={"text": "300"}) for i in range(3)]
long = half("Invoke", function="big_answer", event={"text": "6000000"}, answerFd=False)
eq([a.result()["status"] for a in waits], ["success"] * 3)
time.sleep(0.3)
true(long.result()["status"] == "success", "the long one")
for a in waits + [long]:
    try:
        a.recv()
        true(False, "an end")
    except Closed:
        a.close()
# Half a message and an end: nothing was called.
a = Client()
a.send_bytes(b'{"method":"org.fsbox.Sandbox.Undeploy","parameters":{"name":"remaining"}}')
a.sock.shutdown(socket.SHUT_WR)
try:
    true(False, a.recv())
except Closed:
    a.close()
eq(len(c.functions()), 3)
# The other half: whoever reads nothing any more is gone for us, and what he waited for is as he wished.
c.deploy("sleep_forever", timeout=60)
a = Client()
a.send("Invoke", function="sleep_forever", cancelOnClose=True)
until(lambda: [x for x in c.cells("sleep_forever") if x["state"] == "busy"], "it runs")
a.sock.shutdown(socket.SHUT_RDWR)
until(lambda: not c.cells("sleep_forever"), "it is over")
a.close()
for f in "remaining", "big_answer", "sleep_forever":
    c.call("Undeploy", name=f)
other.holds_no_more()
END
	daemon_stop
}

test_descriptors_that_do_not_belong_are_closed() {
	daemon_start
	steps <<'END'
import array, socket
other = Bystander()
I = "org.varlink.service.InvalidParameter"
null = os.open("/dev/null", os.O_RDONLY)
# More than the method takes, or where it takes none.
for method, n, parameters in ("Describe", 1, {}), ("Invoke", 2, {"function": "bystander"}), ("Deploy", 17, {"name": "f", "spec": {"target": "x"}}), \
        ("Undeploy", 16, {"name": "none"}):
    eq(c.fails(I, method, [null] * n, **parameters)["parameter"], "fds")
eq(c.fails(I, "Deploy", [null] * 253, name="f", spec={"target": "x"})["parameter"], "fds")
# More than a message may have at all, in pieces: the connection ends.
with Client() as a:
    try:
        a.send_bytes(b'{"method":', [null] * 200)
        a.send_bytes(b'"org.fsbox.Sandbox.Describe"', [null] * 200)
        a.send_bytes(b'}\0')
        a.recv()
        true(False, "400 descriptors were taken")
    except (Closed, ConnectionResetError, BrokenPipeError):
        pass
# Of every wrong kind, as code, as a layer, as a root, as an event.
ends = socket.socketpair()
kinds = {"null": null, "pipe": os.pipe()[0], "directory": os.open("/", os.O_RDONLY), "path": os.open("/", os.O_PATH),
         "file by path": os.open("/etc/passwd", os.O_PATH), "written": os.open(T + "/w", os.O_WRONLY | os.O_CREAT), "socket": ends[0].fileno(),
         "itself": c.sock.fileno(), "empty": memfd(b"", 0), "proc": os.open("/proc/self/status", os.O_RDONLY)}
for name, fd in sorted(kinds.items()):
    for key, n in ("codeFd", 0), ("rootfsFd", 0), ("layerFds", [0]):
        if (name, key) in (("directory", "rootfsFd"), ("directory", "layerFds"), ("path", "rootfsFd"), ("path", "layerFds"), \
                ("directory", "codeFd"), ("path", "codeFd")):
            continue # that may be one
        spec = {"target": os.environ["FUNCTIONS"] + "/echo.so"}
        if key == "rootfsFd":
            spec["rootfs"] = "root"
        if key == "layerFds":
            spec["layer"] = ["layer"]
        try:
            c.call("Deploy", [fd], name="f", spec=spec, **{key: n})
            true(False, "%s was taken as %s" % (name, key))
        except Error as e:
            true(e.name in ("InvalidSpec", "Denied", I, "NotFound"), (name, key, str(e)))
    eq(c.fails(I, "Invoke", [fd], function="bystander", event={"fd": 0})["parameter"], "fds" if name in ("socket", "itself") else "event.fd", name)
other.is_undisturbed()
# Sent with different pieces of one message, with the byte between two messages, and with a message that never ends.
with Client() as a:
    for piece in b'{"method":"org.fsbox', b'.Sandbox.Describe"}', b"\0":
        try:
            a.send_bytes(piece, [null])
        except OSError:
            break
    try:
        a.recv()
    except (Closed, ConnectionResetError):
        pass
many = []
for i in range(200):
    a = Client()
    many.append(a)
    try:
        a.send_bytes(b"{", [null] * 8)
    except OSError:
        pass  # it is closed already
other.is_undisturbed()
for a in many:
    a.close()
# Sockets that hold each other, and the connection itself, in the air: no loop keeps them.
for i in range(50):
    x, y = socket.socketpair()
    a = Client()
    a.send_bytes(b"{", [a.sock.fileno(), x.fileno()])
    y.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a.sock.fileno(), y.fileno()]))])
    for s in x, y, a:
        s.close()
for fd in kinds.values():
    if fd not in (c.sock.fileno(), ends[0].fileno()):
        os.close(fd)
other.holds_no_more()
END
	daemon_stop
}

test_readers_that_do_not_read_hold_nobody_up() {
	daemon_start --memory 20000 # on a small machine, too, no idle cell makes room for others
	steps <<'END'
other = Bystander()
fsboxd = pid_of("fsboxd")
c.deploy("log_flood", timeout=60, mem=128)
c.deploy("stream", timeout=60)
c.deploy("big_answer", timeout=60, mem=256)
r = c.invoke("log_flood", "1")
before = rss_kb(fsboxd)
# Streams that nobody reads: of logs, of events, of figures, of an answer.
logs, events, stats, parts = Client(rcvbuf=2048), Client(rcvbuf=2048), Client(rcvbuf=2048), Client(rcvbuf=2048)
logs.send("Logs", more=True, follow=True)
events.send("Subscribe", more=True)
stats.send("Stats", more=True, everyMs=100)
parts.send("Invoke", more=True, function="stream", event={"text": "300000"}, stream=True)
until(lambda: parts.data or not parts.is_quiet(0.05), "its beginning")
for i in range(4):
    eq(c.invoke("log_flood", "16")["status"], "success")
    other.is_undisturbed()
# 16,384 events and more.
ends = time.monotonic() + 60 * int(os.environ.get("FSBOX_SLOWER", "1"))
with Client() as a:
    call = b'{"method":"org.fsbox.Sandbox.Invoke","parameters":{"function":"bystander"}}\0'
    for i in range(340):
        a.send_bytes(call * 50)
        for k in range(50):
            a.result()
        other.count += 50
        true(time.monotonic() < ends, "too slow: %d" % i)
other.is_undisturbed()
grown = rss_kb(fsboxd) - before
print("with four streams that nobody reads fsboxd has grown by %d KiB" % grown)
true(grown < 96 << 10, grown)
# What they get when they read after all.
def all_of(client):
    last = {}
    while True:
        m = client.recv()
        if "error" in m:
            return last, m
        last = m["parameters"]
        if not m.get("continues"):
            return last, None
last, error = all_of(events)
eq(error["error"], "org.fsbox.Sandbox.SlowConsumer")
eq(error["parameters"]["cursor"], last["event"]["cursor"], "it says where to go on")
dropped, cursor = 0, 0
try:
    while True: # with follow it goes on, and has left something out
        chunk = logs.result()["chunk"]
        true(chunk["cursor"] > cursor, "cursors rise")
        cursor = chunk["cursor"]
        dropped += chunk["dropped"]
        if not logs.data and logs.is_quiet(0.3):
            break
except Error as e:
    eq(e.name, "SlowConsumer")
true(dropped > 0, "it is told how much is missing")
eq(stats.result()["stats"]["functions"] is not None, True)
# A streamed answer ends with SlowConsumer or whole; never with a part missing in silence.
n, error = 0, None
text = ""
while True:
    m = parts.recv()
    if "error" in m:
        error = m["error"]
        break
    p = m["parameters"]
    text += p.get("payload", {}).get("text", "")
    if not m.get("continues"):
        break
numbers = [int(line.split()[1]) for line in text.split("\n")[:-1] if line]
eq(numbers, list(range(len(numbers))))
true(len(numbers) == 300000 or error in ("org.fsbox.Sandbox.SlowConsumer", ), (len(numbers), error))
for a in logs, events, stats, parts:
    a.close()
# Results that nobody reads wait; those of one user within bounds.
results = [Client(rcvbuf=2048) for i in range(12)]
for a in results:
    a.send("Invoke", function="big_answer", event={"text": "6000000"})
    until(lambda: not [x for x in c.cells("big_answer") if x["state"] != "idle"], "they are answered", 30)
other.is_undisturbed()
for a in results:
    eq(a.result()["status"], "success")
    a.close()
for f in "log_flood", "stream", "big_answer":
    c.call("Undeploy", name=f)
other.holds_no_more()
END
	grep '^with four' "$T/said" | sed 's/^/# /'
	daemon_stop
}

test_clients_that_die_in_every_state_leave_nothing() {
	daemon_start --memory 20000 # on a small machine, too, no idle cell makes room for others
	steps <<'END'
import socket
other = Bystander()
F = os.environ["FUNCTIONS"]
null = os.open("/dev/null", os.O_RDONLY)
c.deploy("remaining", timeout=30, maxCells=1)
c.deploy("init_sleep", timeout=30)
c.deploy("stream", timeout=30)
c.deploy("big_answer", timeout=30, mem=256)
c.deploy("one", "echo", maxCells=1)
lease = c.call("Acquire", function="one", leaseMs=600000)
def invoke(a, function, text, **more):
    a.send("Invoke", function=function, event={"text": text}, **more)
states = {
    "connected": lambda a: None,
    "half a message": lambda a: a.send_bytes(b'{"method":'),
    "half a message and descriptors": lambda a: a.send_bytes(b'{"method":', [null] * 5),
    "a message sent": lambda a: a.send("Describe"),
    "many sent ahead": lambda a: a.send_bytes(b'{"method":"org.fsbox.Sandbox.Capacity"}\0' * 200),
    "deploying": lambda a: a.send("Deploy", name="d", spec={"target": F + "/echo.so"}, replace=True),
    "deploying by descriptor": lambda a: a.send("Deploy", [null], name="e", spec={"target": "x"}, codeFd=0),
    "waiting for a cell": lambda a: (invoke(a, "remaining", "400"), invoke(a, "remaining", "400")),
    "waiting with a deadline": lambda a: invoke(a, "remaining", "400", deadlineMs=300),
    "in an init": lambda a: invoke(a, "init_sleep", "", deadlineMs=700),
    "in a call": lambda a: invoke(a, "remaining", "300"),
    "in a call that ends with it": lambda a: invoke(a, "remaining", "60000", cancelOnClose=True),
    "in an init that ends with it": lambda a: invoke(a, "init_sleep", "", cancelOnClose=True),
    "attached to a call": lambda a: invoke(a, "remaining", "300", invocation="shared"),
    "streaming": lambda a: a.send("Invoke", more=True, function="stream", event={"text": "100 slow"}, stream=True, cancelOnClose=True),
    "an answer unread": lambda a: invoke(a, "big_answer", "6000000"),
    "an answer by descriptor unread": lambda a: invoke(a, "big_answer", "100000", answerFd=True),
    "acquiring": lambda a: a.send("Acquire", function="one", waitMs=400),
    "following logs": lambda a: a.send("Logs", more=True, follow=True),
    "following events": lambda a: a.send("Subscribe", more=True),
    "following figures": lambda a: a.send("Stats", more=True, everyMs=100),
    "in a list": lambda a: a.send("List", more=True),
}
def close(a):
    a.close()
def reset(a): # with answers unread
    a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    a.close()
def shut(a):
    a.sock.shutdown(socket.SHUT_RDWR)
    a.close()
def killed(state, ms): # with its process
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            a = Client()
            state(a)
            os.write(w, b"x")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(w)
    os.read(r, 1)
    os.close(r)
    time.sleep(ms / 1000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
for name, state in states.items():
    for end in close, reset, shut:
        for ms in 0, 5, 60:
            a = Client(rcvbuf=2048)
            state(a)
            time.sleep(ms / 1000)
            end(a)
    killed(state, 20)
    other.is_undisturbed()
# A call that was not to end with its client went on; nothing of the rest is there.
until(lambda: all(f["busy"] == 0 and f["queued"] == 0 for f in c.functions()), "calls are over", 40)
until(lambda: not [x for x in c.cells() if x["state"] not in ("idle", "busy") or x["function"] == "init_sleep"], "no cell hangs", 40)
eq(c.call("Release", lease=lease["lease"]), {"existed": True})
eq(body(c.invoke("one", "x")), "x")
for f in c.functions():
    if f["name"] != "bystander":
        c.call("Undeploy", name=f["name"])
until(lambda: [x["function"] for x in c.cells()] == ["bystander"], "only the bystander's is left", 30)
other.holds_no_more()
END
	daemon_stop
}

test_without_descriptors_calls_fail_and_warm_cells_go_on() {
	daemon_start
	steps <<'END'
other = Bystander()
c.deploy("echo")
fsboxd, before, kinds = pid_of("fsboxd"), None, set()
for room in range(40): # some starts find room, others fail, at each place in the middle
    was = leave_descriptors(fsboxd, room)
    before = before or was
    for what in (lambda: c.invoke("echo", "x", deadlineMs=3000)["status"],
                 lambda: c.deploy("f%d" % room, "echo") and "deployed",
                 lambda: c.call("Invoke", function="bystander", answerFd=True) and "by descriptor"):
        try:
            kinds.add(what())
        except Error as e:
            true(e.name in ("SystemFailure", "Busy", "CapacityExhausted", "DeadlineExceeded"), (room, str(e)))
            eq(e.parameters.get("resource", "descriptors"), "descriptors")
            kinds.add(e.name)
    other.count = int(body(other.client.invoke("bystander")))
    other.is_undisturbed()
    for fd in c.fds:
        os.close(fd)
    c.fds = []
    for x in c.cells("echo"):
        c.call("Kill", cell=x["id"])
    until(lambda: not c.cells("echo"), "they are gone")
soft_limit(fsboxd, resource.RLIMIT_NOFILE, before)
print("without descriptors:", sorted(kinds))
true({"SystemFailure", "CapacityExhausted"} <= kinds, "some failed: %s" % kinds)
true({"success", "deployed", "by descriptor"} <= kinds, "some did not: %s" % kinds)
eq(body(c.invoke("echo", "again")), "again")
with Client() as a: # and clients are taken again
    a.call("Describe")
for f in c.functions():
    if f["name"] != "bystander":
        c.call("Undeploy", name=f["name"])
other.holds_no_more()
END
	grep '^without descriptors' "$T/said" | sed 's/^/# /'
	daemon_stop '^fsboxd: .*([Tt]oo many open files|descriptors)'
}

test_with_few_descriptors_there_are_few_cells() {
	DAEMON_WITH="prlimit --nofile=260"
	daemon_start
	steps <<'END'
other = Bystander()
c.deploy("sleep_forever", timeout=60)
clients, full = [], 0
for i in range(30):
    a = Client()
    a.send("Invoke", function="sleep_forever", invocation="i%d" % i)
    clients.append(a)
    if not a.is_quiet(0.1):
        try:
            true(False, a.result())
        except Error as e:
            true(e.name in ("CapacityExhausted", "Busy", "SystemFailure"), e)
            full += 1
    other.is_undisturbed()
n = len(c.cells("sleep_forever"))
print("with 260 descriptors: %d cells beside the bystander's" % n)
true(n >= 2 and full > 0, (n, full))
# More clients than there is room for: they wait outside, and get in when there is.
more = []
for i in range(150):
    try:
        more.append(Client(timeout=1))
    except OSError:
        break
other.is_undisturbed()
for a in more + clients:
    a.close()
for i in range(30):
    c.call("Cancel", invocation="i%d" % i)
until(lambda: not c.cells("sleep_forever"), "they are gone")
eq(c.invoke("bystander")["status"], "success")
other.count += 1
c.call("Undeploy", name="sleep_forever")
other.holds_no_more()
END
	grep '^with 200' "$T/said" | sed 's/^/# /'
	daemon_stop
}

test_provisioned_cells_do_not_want_all_descriptors_at_once() {
	DAEMON_WITH="prlimit --nofile=8000"
	daemon_start --memory 20000 --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", mem=64, provisioned=200)  # running they hold 2,800 descriptors, all being built at once they would 14,800
until(lambda: c.functions()[0]["idle"] == 200, "they are there", 60)
eq(c.functions()[0]["coldStarts"], 200, "none had to be tried again")
END
	daemon_stop
}

test_on_a_full_disk_deployments_hold_until_the_daemon_ends() {
	need_daemon
	DAEMON_STATE=/run/fsbox/disk # in this script's own mount namespace
	mkdir "$DAEMON_STATE"
	mount -t tmpfs -o size=3m,mode=700,uid="$DAEMON_USER",gid="$DAEMON_USER" fsbox-test "$DAEMON_STATE"
	daemon_start
	steps <<'END'
other = Bystander()
c.deploy("kept", "echo")
n = 20
for i in range(n): # kept as well
    c.deploy("more%d" % i, "echo")
fill = open("/run/fsbox/disk/fill", "wb", buffering=0)
try:
    while True:
        fill.write(b"x" * 4096)
except OSError:
    pass
events = Client()
events.send("Subscribe", more=True)
def told(status):
    """Which function is told of next as deployed with this status."""
    while True:
        e = events.recv()["parameters"]["event"]
        if e["kind"] == "deployed" and e.get("status") == status:
            return e["function"]
said = os.stat(T + "/daemon").st_size
while os.stat(T + "/daemon").st_size == said: # the store has some room of its own
    true(n < 300, "it is never said")
    c.deploy("more%d" % n, "echo", env=["A=" + "x" * 3000])
    n += 1
eq(told("unkept"), "more%d" % (n - 1), "its events say so")
eq(body(c.invoke("more%d" % (n - 1), "x")), "x")
other.is_undisturbed()
eq(body(c.call("Invoke", function="bystander", invocation="once")), str(other.count + 1))
other.count += 1
c.deploy("kept", "counter", replace=True)
said, i = os.stat(T + "/daemon").st_size, 0
while os.stat(T + "/daemon").st_size == said: # and some more, for less
    i += 1
    true(i < 300, "it is never said again")
    c.call("Scale", name="kept", maxCells=i)
# They end in any case, and nobody is told that they are gone for good who cannot rely on it.
refused = 0
for i in range(n):
    try:
        eq(c.call("Undeploy", name="more%d" % i), {"existed": True})
    except Error as e:
        true(e.name == "SystemFailure" and e.parameters["stage"] == "store" and "disk is full" in e.parameters["reason"], e)
        refused += 1
    c.fails("NotFound", "Scale", name="more%d" % i)
true(refused > 0, "there was room")
os.unlink("/run/fsbox/disk/fill")
fill.close()
c.deploy("later", "echo")
eq(body(c.invoke("later", "x")), "x")
other.is_undisturbed()
# Nobody asks again: what could not be written is, some time after there is room.
import shutil, sqlite3
def kept():
    for end in "", "-wal":
        shutil.copy("/run/fsbox/disk/functions.db" + end, T + "/copy.db" + end)
    db = sqlite3.connect(T + "/copy.db")
    try:
        return {row[0]: row[1].count("counter.so") for row in db.execute("SELECT name, spec FROM function")}
    finally:
        db.close()
until(lambda: kept() == {"kept": 1, "later": 0, "bystander": 1}, "what is deployed, in the file", 90)
told("kept")
END
	grep -q 'the disk is full' "$T/daemon" || fail "it was not said"
	daemon_end
	daemon_begin
	steps <<'END'
until(lambda: {"kept", "later", "bystander"} <= {f["name"] for f in c.functions()}, "what was kept is back")
eq([f["name"] for f in c.functions() if f["name"].startswith("more")], [])
eq(body(c.invoke("kept", "x")), "1")
END
	daemon_stop 'the disk is full'
}
run_tests "$@"
