#!/bin/sh
# Frames: what Invoke with "upgrade" makes of a connection. Bodies, many calls at a time, credits on both sides, what is
# wrong, and every way in which one of the two can end in the middle.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_bodies_of_every_length_come_back_as_they_went() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
true("frames" in c.call("Describe")["features"], "the feature")
c.deploy("echo", timeout=30)
c.deploy("big_answer", timeout=30)
with Frames(Client()) as f:
    eq({k: f.hello[k] for k in ("version", "streams", "credit", "eventBytes")},
       {"version": 1, "streams": 128, "credit": WINDOW, "eventBytes": 6291456})
    for n in 0, 1, 2, 65535, 65536, WINDOW // 2, WINDOW // 2 + 1, WINDOW - 1, WINDOW, WINDOW + 1, 1 << 20, 6291456:
        data = os.urandom(n)
        a = f.call("echo", data)
        true(bytes(a.body) == data, "%d bytes" % n)
        eq((a.result["kind"], a.result["status"]), ("result", "success"))
        true("payload" not in a.result, a.result)
    a = f.call("big_answer", b"6291456")
    true(bytes(a.body) == bytes(i % 251 for i in range(6291456)), "the answer's bytes")
    # The event beside the parameters or in them.
    for event, wanted in (({"json": {"a": [1, None]}}, b'{"a":[1,null]}'), ({"text": "\u00e4"}, "\u00e4".encode()),
                          ({"base64": "AAEC"}, b"\0\1\2")):
        s = f.open("echo", event=event)
        eq(bytes(f.wait(s).body), wanted)
    # As without frames: which cell, how long, what was written.
    first = f.call("echo", b"x", logs=True).result
    true(first["startKind"] == "warm" and first["phases"]["callUs"] > 0 and first["usage"]["billedMs"] >= 1, first)
    eq(f.fails("org.varlink.service.InvalidParameter", "echo", bytes(6291457)), {"parameter": "event"})
    eq(bytes(f.call("echo", b"on").body), b"on", "the connection goes on")
END
	daemon_stop
}

test_many_calls_share_a_connection_and_the_slow_hold_up_nobody() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", timeout=30)
c.deploy("remaining", timeout=30)
c.deploy("stream", timeout=30)
with Frames(Client()) as f:
    # 64 at once, each with a body of its own, whose parts are mixed.
    bodies = {}
    for i in range(64):
        data = bytes([i]) * (1 + i * 9001)
        bodies[f.start("echo", data)] = data
    f.wait()
    for s, data in bodies.items():
        a = f.answers[s]
        true(a.error is None and bytes(a.body) == data, (s, a.error, len(a.body)))
    f.answers.clear()
    # What lasts is overtaken.
    slow = f.start("remaining", b"1500")
    for i in range(20):
        eq(bytes(f.call("echo", b"%d" % i).body), b"%d" % i)
    true(not f.answers[slow].over, "the slow one still runs")
    eq(f.wait(slow).result["status"], "success")
    # Two that write for a while are told of as they write.
    a, b = f.start("stream", b"6 slow"), f.start("stream", b"6 slow")
    seen = []
    while not (f.answers[a].over and f.answers[b].over):
        seen.append(f.step())
    wanted = b"".join(b"part %d\n" % i for i in range(6))
    eq((bytes(f.answers[a].body), bytes(f.answers[b].body)), (wanted, wanted))
    changes = sum(x != y for x, y in zip(seen, seen[1:]))
    true(changes > 4, "they take turns: %r" % seen)
    # Events that come in turns.
    x, y = f.open("echo"), f.open("echo")
    for i in range(50):
        f.put(DATA, x, b"x%d" % i)
        f.put(DATA, y, b"y%d" % i)
    f.put(END, y)
    eq(bytes(f.wait(y).body), b"".join(b"y%d" % i for i in range(50)))
    f.put(END, x)
    eq(bytes(f.wait(x).body), b"".join(b"x%d" % i for i in range(50)))
END
	daemon_stop
}

test_frames_may_be_cut_anywhere_and_follow_the_upgrade_at_once() {
	daemon_start
	steps <<'END'
c.deploy("echo")
calls = b"".join([Frames.frame(CALL, 3, b'{"function":"echo"}'), Frames.frame(DATA, 3, b"abc"), Frames.frame(PING, 0, b"12345678"),
                  Frames.frame(DATA, 3, b"def"), Frames.frame(END, 3)])
upgrade = json.dumps({"method": INTERFACE + "Invoke", "upgrade": True}).encode() + b"\0"
def collect(one):
    """The types of all frames up to the RESULT, and the answer."""
    f = Frames.__new__(Frames)
    eq(one.result()["kind"], "frames")
    f.sock, f.data, kinds, answer = one.sock, bytearray(one.data), [], b""
    while RESULT not in kinds:
        kind, _, part = f.get()
        kinds.append(kind)
        answer += part if kind == DATA else b""
    return sorted(kinds), answer
for piece in 1, 2, 7, 13, 1000:
    with Client() as one:
        data = upgrade + calls
        for at in range(0, len(data), piece):
            one.send_bytes(data[at:at + piece])
        eq(collect(one), (sorted([HELLO, PONG, DATA, RESULT]), b"abcdef"), piece)
# Not an upgrade: what is wrong with the call leaves the connection as it was.
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="echo", event={"text": "a", "json": {}}), {"parameter": "event"})
for parameters in {"function": "echo"}, {"event": {}}:
    c.send_message({"method": INTERFACE + "Invoke", "parameters": parameters, "upgrade": True})
    eq(c.recv()["error"], "org.varlink.service.InvalidParameter")
c.send_message({"method": INTERFACE + "List", "upgrade": True})
eq(c.recv()["error"], "org.varlink.service.MethodNotImplemented")
eq(body(c.invoke("echo", "still")), "still")
# A descriptor among frames is dropped.
with Frames(Client()) as f:
    before = fd_count(pid_of("fsboxd"))
    r, w = os.pipe()
    f.client.send_bytes(Frames.frame(PING, 0, b"12345678"), [w])
    os.close(w)
    until(lambda: f.step() == 0 and f.pongs, "the answer")
    eq(os.read(r, 1), b"", "nobody has it")
    eq(fd_count(pid_of("fsboxd")), before)
END
	daemon_stop
}

test_answers_stop_where_credit_ends_and_go_on_when_there_is_more() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("big_answer", timeout=30)
c.deploy("stream", timeout=30)
c.deploy("echo", timeout=30)
def quiet(f):
    """What comes up to the answer to a PING, which overtakes nothing that may be sent."""
    f.put(PING, 0, b"12345678")
    n = len(f.pongs)
    while len(f.pongs) == n:
        f.step()
with Frames(Client(), auto=False) as f:
    s = f.start("big_answer", b"1000000")
    while len(f.answers[s].body) < WINDOW:
        f.step()
    time.sleep(0.2)
    quiet(f)
    a = f.answers[s]
    eq((len(a.body), a.over), (WINDOW, False))
    for n in 1, 2, 1000, 65536:
        had = len(a.body)
        f.grant(s, n)
        quiet(f)
        eq(len(a.body), had + n)
    eq(bytes(f.call("echo", b"others").body), b"others")
    f.grant(s, 1000000 - len(a.body) - 1)
    while len(a.body) < 999999:
        f.step()
    quiet(f)
    eq((len(a.body), a.over), (999999, False))
    f.grant(s, 1 << 31)
    f.wait(s)
    true(bytes(a.body) == bytes(i % 251 for i in range(1000000)), "the answer's bytes")
    # All of it is there and only the end is missing: that needs no credit.
    s = f.start("big_answer", b"%d" % WINDOW)
    eq(len(f.wait(s).body), WINDOW)
    # While the function still runs.
    s = f.start("stream", b"40000 hang")
    a = f.answers[s]
    while len(a.body) < WINDOW:
        f.step()
    quiet(f)
    eq((len(a.body), a.over), (WINDOW, False))
    for n in 1, 100000:
        wanted = len(a.body) + n
        f.grant(s, n)
        while len(a.body) < wanted:
            f.step()
        quiet(f)
        eq((len(a.body), a.over), (wanted, False))
    wanted = b"".join(b"part %d\n" % i for i in range(40000))
    eq(bytes(a.body), wanted[:len(a.body)])
    f.put(CANCEL, s)
    f.wait(s)
    eq(a.error.name, "Cancelled")
END
	daemon_stop
}

test_events_stop_where_credit_ends() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", timeout=30)
def pong(f):
    n = len(f.pongs)
    f.put(PING, 0, b"12345678")
    while len(f.pongs) == n:
        f.step()
def fill(f, n):
    s = f.open("echo")
    for i in range(4):
        f.put(DATA, s, bytes(n // 4))
    f.credit[s] -= n
    return s
f = Frames(Client())
# Four large events get all the credit that they need, the next ones wait for one of these.
large = [fill(f, WINDOW) for i in range(4)]
pong(f)
for s in large:
    eq(f.credit[s], 6291456 + 1 - WINDOW)
waiting = [fill(f, WINDOW) for i in range(3)]
small = f.start("echo", bytes(WINDOW // 2))
eq(len(f.wait(small).body), WINDOW // 2)
pong(f)
eq([f.credit[s] for s in waiting], [0, 0, 0])
f.put(END, large[2])
pong(f)
eq([f.credit[s] > 0 for s in waiting], [True, False, False])
eq(len(f.wait(large[2]).body), WINDOW)
f.put(CANCEL, large[0])
pong(f)
eq([f.credit[s] > 0 for s in waiting], [True, True, False])
f.put(END, waiting[2]) # as long as its credit: it needs no more
eq(len(f.wait(waiting[2]).body), WINDOW)
# Who sends more than he was given is closed.
last = fill(f, WINDOW)
pong(f)
eq(f.credit[last], 0)
eq(f.breaks(f.frame(DATA, last, b"x")), "more DATA than the credit allows")
f.close()
with Frames(Client()) as f:
    s = f.open("echo")
    eq(f.breaks(f.frame(DATA, s, bytes(WINDOW + 1))[:20]), "more DATA than the credit allows") # said before it has come
until(lambda: c.functions()[0]["busy"] == 0, "no call is left")
eq(body(c.invoke("echo", "on")), "on")
END
	daemon_stop
}

test_what_is_no_frame_closes_the_connection_and_says_why() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", timeout=30)
c.deploy("remaining", timeout=30)
frame = Frames.frame
call = frame(CALL, 1, b'{"function":"echo"}')
inline = frame(CALL, 1, b'{"function":"remaining","event":{"text":"3000"}}')
sides, length, together = "a type of frame that this side does not send", "length", "do not go together"
unopened = "a frame of a stream that was not opened"
for wanted, frames in (
    (sides, [frame(0, 1)]), (sides, [frame(HELLO, 0, b"{}")]), (sides, [frame(RESULT, 1, b"{}")]), (sides, [frame(12, 1)]),
    (sides, [frame(255, 0, b"x" * 100)]), (sides, [b"\0" * 12]), (sides, [b'{"method":"org.fsbox.Sandbox.Describe"}\0']),
    ("9 to 11", [frame(END, 1)[:9] + b"\1\0\0"]), ("9 to 11", [frame(END, 1)[:9] + b"\0\0\1"]),
    (together, [frame(DATA, 0, b"x")]), (together, [frame(PING, 1, b"12345678")]), (together, [frame(CALL, 0, b"{}")]),
    (length, [frame(CALL, 1, b"x")]), (length, [frame(CALL, 1, b"x" * 65537)[:12]]), (length, [frame(PING, 0, b"1")]),
    (length, [struct.pack("<IIBBH", 0xffffffff, 1, DATA, 0, 0)]), (length, [call, frame(END, 1, b"x")]),
    ("CREDIT of no bytes", [call, frame(CREDIT, 1, bytes(4))]),
    ("greater than those before", [call, call]), ("greater than those before", [frame(CALL, 5, b"{}"), frame(CALL, 4, b"{}")]),
    (unopened, [frame(DATA, 1, b"x")]), (unopened, [call, frame(END, 2)]), (unopened, [frame(CANCEL, 9)]),
    ("END behind the end", [inline, frame(END, 1)]), ("DATA behind the end", [inline, frame(DATA, 1, b"x")]),
):
    with Frames(Client()) as f:
        f.last = 9
        for s in range(1, 10):
            f.answers[s], f.credit[s] = Answer(), 0
        reason = f.breaks(*frames)
        true(wanted in reason, "%s, wanted %s" % (reason, wanted))
# A call whose connection was closed goes on.
until(lambda: [x["calls"] for x in c.functions() if x["name"] == "remaining"] == [2], "the two calls end")
# What belongs to a stream that has ended is ignored: it may have been under way.
with Frames(Client()) as f:
    s = f.start("echo", b"x")
    f.wait(s)
    for late in f.frame(DATA, s, bytes(100000)), f.frame(END, s), f.frame(CANCEL, s), f.frame(CREDIT, s, b"\1\0\0\0"):
        f.client.send_bytes(late)
    s = f.open("nobody")
    f.put(DATA, s, bytes(WINDOW))
    f.put(END, s)
    f.wait(s)
    eq(f.answers[s].error.name, "NotFound")
    eq(bytes(f.call("echo", b"on").body), b"on")
END
	daemon_stop
}

test_an_error_of_a_call_is_its_streams_alone() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", timeout=30)
c.deploy("fail")
c.deploy("init_fail")
c.deploy("sleep_forever", timeout=60, maxCells=1)
invalid = "org.varlink.service.InvalidParameter"
with Frames(Client()) as f:
    eq(f.fails("NotFound", "nobody"), {"what": "function", "id": "nobody"})
    eq(f.fails("NotFound", lease="none"), {"what": "lease", "id": "none"})
    eq(f.fails(invalid), {"parameter": "function"})
    eq(f.fails(invalid, "echo", answerFd=True), {"parameter": "answerFd"})
    for parameters, parameter in (({"deadlineMs": 0}, "deadlineMs"), ({"evnt": 1}, "evnt"), ({"event": {"fd": 0}}, "event.fd"),
                                  ({"event": {"text": "", "json": {}}}, "event"), ({"invocation": "a b"}, "invocation")):
        s = f.open("echo", **parameters)
        f.wait(s)
        eq((f.answers[s].error.name, f.answers[s].error.parameters), (invalid, {"parameter": parameter}))
    for text in b"[]", b"{}x", b'{"function":', b'{"function":"echo","function":"echo"}', b"\xff\xff":
        f.last += 1
        f.answers[f.last], f.credit[f.last] = Answer(), 0
        f.put(CALL, f.last, text)
        f.wait(f.last)
        eq(f.answers[f.last].error.parameters, {"parameter": "parameters"})
    # Ends of calls are results, with the function's document.
    r = f.call("fail", b"{}").result
    want = c.invoke("fail", "{}")
    eq([r[k] for k in ("status", "errorType", "errorMessage")], [want[k] for k in ("status", "errorType", "errorMessage")])
    eq(r.get("payload"), want.get("payload"))
    eq(f.call("init_fail").result["status"], "failure")
    # No room.
    one = f.start("sleep_forever")
    until(lambda: [x for x in c.cells("sleep_forever") if x["state"] == "busy"], "it runs")
    two = f.start("sleep_forever")
    f.fails("Busy", "sleep_forever")
    f.put(CANCEL, two)
    f.wait(two)
    eq(f.fails("DeadlineExceeded", "sleep_forever", deadlineMs=100)["phase"], "queue")
    f.put(CANCEL, one)
    f.wait(one)
    eq([f.answers[s].error.name for s in (one, two)], ["Cancelled", "Cancelled"])
    eq(bytes(f.call("echo", b"on").body), b"on")
END
	daemon_stop
}

test_cancelling_ends_a_call_wherever_it_is() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("echo", timeout=30)
c.deploy("counter", timeout=30)
c.deploy("big_answer", timeout=30)
c.deploy("sleep_forever", timeout=60)
def cancelled(f, s):
    f.put(CANCEL, s)
    f.wait(s)
    eq(f.answers[s].error.name, "Cancelled")
with Frames(Client(), auto=False) as f:
    s = f.open("counter")
    f.put(DATA, s, b"half an event")
    cancelled(f, s)
    s = f.start("sleep_forever")
    until(lambda: [x for x in c.cells("sleep_forever") if x["state"] == "busy"], "it runs")
    cancelled(f, s)
    until(lambda: c.cells("sleep_forever") == [], "its cell is gone")
    # The answer is there, and its client does not want the rest of it.
    s = f.start("big_answer", b"1000000")
    while len(f.answers[s].body) < WINDOW:
        f.step()
    cancelled(f, s)
    # Another may cancel it as well.
    s = f.start("sleep_forever", invocation="it")
    until(lambda: [x for x in c.cells("sleep_forever") if x["state"] == "busy"], "it runs")
    eq(c.call("Cancel", invocation="it"), {"existed": True})
    f.wait(s)
    eq(f.answers[s].error.name, "Cancelled")
    eq(bytes(f.call("counter").body), b"1", "what was cancelled before its end was not run")
END
	daemon_stop
}

test_an_invocation_is_the_same_with_frames_and_without() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("counter", timeout=30)
c.deploy("remaining", timeout=30)
c.deploy("stream", timeout=30)
c.deploy("log_lines", timeout=30)
with Frames(Client()) as f, Frames(Client()) as g:
    eq(bytes(f.call("counter", b"", invocation="n1").body), b"1")
    eq(bytes(g.call("counter", b"", invocation="n1").body), b"1")
    eq(body(c.call("Invoke", function="counter", invocation="n1")), "1")
    eq(bytes(f.call("counter", b"", invocation="n2").body), b"2")
    # Attached while it runs: each has all parts, and the one in JSON too.
    a = f.start("stream", b"8 slow", invocation="s")
    until(lambda: f.step() == a and f.answers[a].body, "it has begun")
    b = g.start("stream", b"not looked at", invocation="s")
    c.send("Invoke", more=True, function="stream", invocation="s", stream=True)
    wanted = b"".join(b"part %d\n" % i for i in range(8))
    eq(bytes(f.wait(a).body), wanted)
    eq(bytes(g.wait(b).body), wanted)
    text = ""
    while True:
        m = c.recv()
        text += m["parameters"].get("payload", {}).get("text", "")
        if not m.get("continues"):
            break
    eq(text.encode(), wanted)
    eq(f.answers[a].result["invocation"], "s")
    # Who comes later gets at once what is written already.
    a = f.start("stream", b"3 hang", invocation="h")
    until(lambda: f.step() == a and len(f.answers[a].body) == 21, "it has written")
    b = g.start("stream", b"", invocation="h")
    until(lambda: g.step() == b and len(g.answers[b].body) == 21, "the other has it too")
    f.put(CANCEL, a)
    f.wait(a)
    g.wait(b)
    eq((f.answers[a].error.name, g.answers[b].error.name), ("Cancelled", "Cancelled"))
    # A lease.
    l = c.call("Acquire", function="counter")
    eq(f.call(lease=l["lease"]).result["cell"], l["cell"])
    # Output as it is written, and its end with the result.
    r = f.call("log_lines", b"", logs=True)
    true(r.log and r.log.decode().endswith(r.result["log"][-100:]), (r.log[-100:], r.result["log"][-100:]))
    true(not f.call("log_lines", b"").log, "not without asking")
END
	daemon_stop
}

test_half_a_connection_is_enough_for_the_answers() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
import socket
c.deploy("echo", timeout=30)
c.deploy("remaining", timeout=30)
c.deploy("big_answer", timeout=30)
c.deploy("counter", timeout=30)
f = Frames(Client(), auto=False)
run = [f.start("remaining", b"700"), f.start("echo", bytes(WINDOW)), f.start("big_answer", b"600000")]
half = f.open("counter")
f.put(DATA, half, b"no end")
part = f.frame(DATA, half, b"cut in the middle")
while f.waiting:
    f.push()
f.client.send_bytes(part[:-4])
f.sock.shutdown(socket.SHUT_WR)
f.wait()
a = f.answers
eq(a[run[0]].result["status"], "success")
eq(len(a[run[1]].body), WINDOW)
eq((a[run[2]].error.name, a[run[2]].error.parameters, len(a[run[2]].body)), ("SlowConsumer", {"cursor": WINDOW}, WINDOW))
eq(a[half].error.name, "Cancelled")
try:
    f.get()
    true(False, "the end")
except Closed:
    pass
f.close()
eq(body(c.invoke("counter")), "1", "what had no end was not run")
# Nothing is open: it ends at once.
f = Frames(Client())
f.sock.shutdown(socket.SHUT_WR)
try:
    f.get()
    true(False, "the end")
except Closed:
    pass
END
	daemon_stop
}

test_clients_that_die_leave_nothing() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
import signal
c.deploy("echo", timeout=30)
c.deploy("big_answer", timeout=30)
c.deploy("remaining", timeout=30)
c.deploy("sleep_forever", timeout=60)
c.invoke("echo", "warm")
fsboxd = pid_of("fsboxd")
def dies(work):
    """In a child, which is killed when it has said so."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        f = Frames(Client(), auto=False)
        work(f)
        os.write(w, b"x")
        time.sleep(60)
        os._exit(1)
    os.close(w)
    eq(os.read(r, 1), b"x")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(r)
fds = fd_count(fsboxd)
def in_an_event(f):
    for i in range(8):
        s = f.open("echo")
        f.client.send_bytes(f.frame(DATA, s, bytes(200000))[:-1 - i])
        if i == 0:
            f.client.send_bytes(b"\0")
            for j in range(10):
                f.put(DATA, s, bytes(6000))
            return
def in_a_head(f):
    s = f.open("echo")
    f.client.send_bytes(f.frame(DATA, s, b"x")[:7])
def in_an_answer(f):
    for i in range(10):
        f.start("big_answer", b"600000")
    until(lambda: f.step() and sum(len(a.body) for a in f.answers.values()) > WINDOW, "answers")
def in_calls(f):
    for i in range(3):
        f.start("sleep_forever", cancelOnClose=True)
    until(lambda: len([x for x in c2().cells("sleep_forever") if x["state"] == "busy"]) == 3, "they run")
def c2():
    return Client()
for work in in_an_event, in_a_head, in_an_answer, in_calls:
    dies(work)
until(lambda: c.cells("sleep_forever") == [], "calls with cancelOnClose end with their client")
# The others go on.
dies(lambda f: f.start("remaining", b"500"))
until(lambda: [x["calls"] for x in c.functions() if x["name"] == "remaining"] == [1], "it ends")
# A client that sends a whole call and goes.
f = Frames(Client())
f.start("remaining", b"1")
f.close()
until(lambda: [x["calls"] for x in c.functions() if x["name"] == "remaining"] == [2], "it was run")
for name in "echo", "big_answer", "remaining", "sleep_forever":
    c.call("Undeploy", name=name)
until(lambda: c.cells() == [], "no cell is left")
until(lambda: fd_count(fsboxd) <= fds, "no descriptor is left")
END
	daemon_stop
}

test_a_function_that_ends_in_the_middle_of_an_answer() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("stream", timeout=30)
c.deploy("short", "stream", timeout=1)
with Frames(Client()) as f:
    a = f.call("short", b"3 hang")
    eq((bytes(a.body), a.result["status"], a.result["errorType"]), (b"part 0\npart 1\npart 2\n", "timeout", "Sandbox.Timedout"))
    # With more than its client has credit for, too.
    f.auto = False
    s = f.start("short", b"60000 hang")
    a = f.wait(s)
    eq((a.result["status"], len(a.body)), ("timeout", WINDOW))
    f.auto = True
    s = f.start("stream", b"3 hang")
    until(lambda: f.step() and len(f.answers[s].body) == 21, "parts come")
    cell = [x["id"] for x in c.cells("stream") if x["state"] == "busy"][0]
    eq(c.call("Kill", cell=cell), {"existed": True})
    a = f.wait(s)
    true(a.result is None or a.result["status"] != "success", a.result)
    a = f.call("stream", b"3 fail")
    eq((a.result["status"], a.result["errorType"]), ("failure", "Test.Late"))
    eq(bytes(f.call("stream", b"1").body), b"part 0\n")
END
	daemon_stop
}

test_slow_readers_cost_bounded_memory_and_nobody_else_anything() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("big_answer", timeout=30)
c.deploy("echo", timeout=30)
c.invoke("echo", "warm")
c.invoke("big_answer", "6291456", answerFd=True)
fsboxd = pid_of("fsboxd")
before = rss_kb(fsboxd)
def calls():
    return [x["calls"] for x in c.functions() if x["name"] == "big_answer"][0]
def answered(f, n):
    try:
        until(lambda: calls() >= n, "answer %d" % n)
    except AssertionError:
        print(f.wait(1), f.answers[1].result, f.answers[1].error)
        raise
slow = []
most = 0
for i in range(100):
    f = Frames(Client(rcvbuf=4096), auto=False)
    done = calls()
    f.start("big_answer", b"6291456")
    answered(f, done + 1)
    slow.append(f)
    most = max(most, rss_kb(fsboxd) - before)
    if i % 10 == 0:
        eq(body(c.invoke("echo", "others")), "others")
# 128 MiB for each user; what has no room is lost for its reader, and its connection is as it was.
true(most < (128 + 48) * 1024, "fsboxd has grown by %d KiB" % most)
for f in slow:
    while len(f.answers[1].body) < WINDOW and not f.answers[1].over:
        f.step()
time.sleep(0.5)
for f in slow:
    f.put(PING, 0, b"12345678")
    until(lambda: f.step() == 0, "the answer")
kept = [f for f in slow if not f.answers[1].over]
true(15 <= len(kept) <= 25, "%d of 100 answers are there" % len(kept))
# Who reads gets his answer all the same: one that nobody has taken anything of for a second makes room.
time.sleep(1.2)
late = [Frames(Client(), auto=False) for i in range(3)]
for f in late:
    done = calls()
    f.start("big_answer", b"6291456")
    answered(f, done + 1)
for f in late:
    f.auto = True
    f.grant(1, 1 << 30)
    eq(len(f.wait(1).body), 6291456)
    f.close()
for f in kept:
    f.put(PING, 0, b"12345678")
    until(lambda: f.step() == 0, "the answer")
left = [f for f in kept if not f.answers[1].over]
true(0 < len(kept) - len(left) <= 4, "%d of %d answers are left" % (len(left), len(kept)))
kept = left
for f in slow:
    if f not in kept:
        eq((f.answers[1].error.name, f.answers[1].error.parameters), ("SlowConsumer", {"cursor": len(f.answers[1].body)}))
        eq(bytes(f.call("echo", b"on").body), b"on")
for f in kept:
    f.auto = True
    f.grant(1, 1 << 30)
    eq(len(f.wait(1).body), 6291456)
with Frames(Client()) as f:
    eq(len(f.call("big_answer", b"6291456").body), 6291456, "there is room again")
# The same for events, up to 192 MiB, so that answers do not keep events out.
c.deploy("counter")
for f in slow:
    f.auto, s = True, f.open("counter")
    for i in range(4):
        f.put(DATA, s, bytes(65536))
    f.grown = s
for f in slow[:40]:
    f.put(PING, 0, b"12345678")
    until(lambda: f.step() == 0, "the answer")
    for i in range(90):
        f.put(DATA, f.grown, bytes(65536))
refused = 0
for f in slow[:40]:
    f.put(PING, 0, b"12345678")
    until(lambda: f.step() == 0, "the answer")
    refused += f.answers[f.grown].over
    eq(f.answers[f.grown].error.name if f.answers[f.grown].over else "Busy", "Busy")
true(5 <= refused <= 15, "%d of 40 events were refused" % refused)
true(rss_kb(fsboxd) - before < (192 + 48) * 1024, "fsboxd has grown by %d KiB" % (rss_kb(fsboxd) - before))
eq(body(c.invoke("counter")), "1")
def other(o):
    o.deploy("echo")
    with Frames(o) as f:
        true(bytes(f.call("echo", bytes(6291456)).body) == bytes(6291456), "another user has his own")
as_user(4800, other)
for f in slow:
    f.close()
until(lambda: rss_kb(fsboxd) - before < 48 * 1024, "its memory is given back: %d KiB" % (rss_kb(fsboxd) - before))
# Who asks and does not listen.
with Frames(Client()) as f:
    try:
        while True:
            f.client.send_bytes(f.frame(PING, 0, b"12345678") * 1000)
    except ConnectionError:
        pass
eq(body(c.invoke("echo", "on")), "on")
END
	daemon_stop
}

test_clients_that_send_anything_at_any_time() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
import random, socket
seed = int.from_bytes(os.urandom(4), "little")
print("seed", seed)
r = random.Random(seed)
names = ["echo", "stream", "big_answer", "fail", "sleep_forever", "crash_segv", "log_lines"]
for name in names:
    c.deploy(name, timeout=1)
c.invoke("echo", "warm")
fsboxd = pid_of("fsboxd")
fds = fd_count(fsboxd)
frame, events = Frames.frame, [b"", b"3 slow", b"60000 hang", b"5 fail", b"100000", b"600000"]
class Any:
    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["FSBOX_SOCKET"])
        self.sock.settimeout(20)
        self.sock.sendall(b'{"method":"org.fsbox.Sandbox.Invoke","upgrade":true}\0')
        self.last, self.coming, self.reads = 0, [], r.random() < 0.7
    def call(self):
        self.last += r.choice((1, 1, 5))
        p = {"function": r.choice(names + ["nobody"]), "cancelOnClose": r.random() < 0.5, "logs": r.random() < 0.3}
        if r.random() < 0.2:
            p["invocation"] = "i%d" % r.randrange(30)
        if r.random() < 0.1:
            p["deadlineMs"] = r.randrange(1, 100)
        if r.random() < 0.2:
            p["event"] = {"text": r.choice(events).decode()}
        out = frame(CALL, self.last, json.dumps(p).encode())
        if "event" not in p and r.random() < 0.5:
            out += frame(DATA, self.last, r.choice(events)) + frame(END, self.last)
        elif "event" not in p:
            self.coming.append(self.last)
        return out
    def rest(self):
        if not self.coming:
            return b""
        s = r.choice(self.coming)
        if r.random() < 0.7:
            return frame(DATA, s, bytes(r.choice((0, 1, 100, 9000))))
        self.coming.remove(s)
        return frame(END, s)
    def word(self):
        s = r.randrange(1, self.last + 1) if self.last else 0
        return frame(PING, 0, b"12345678") if not s or r.random() < 0.2 else frame(CANCEL, s) if r.random() < 0.4 else \
            frame(CREDIT, s, struct.pack("<I", r.choice((1, 100, 65536, 0xffffffff))))
    def step(self):
        """False: it is over."""
        out = r.choice((self.call, self.rest, self.rest, self.word))()
        luck = r.random()
        if luck < 0.001:
            out = bytes(r.randrange(256) for i in range(r.randrange(40)))
        elif luck < 0.002:
            out = out[:r.randrange(len(out) + 1)]
        try:
            self.sock.sendall(out)
            if luck > 0.999:
                self.sock.shutdown(socket.SHUT_WR)
            if self.reads and select.select([self.sock], [], [], 0)[0] and not self.sock.recv(1 << 18):
                return False
        except ConnectionError:
            return False
        return luck < 0.998
end, clients, turns = time.monotonic() + 6, [], 0
while time.monotonic() < end:
    if len(clients) < 12:
        clients.append(Any())
    x = r.choice(clients)
    if not x.step():
        x.sock.close()
        clients.remove(x)
    turns += 1
    if turns % 1000 == 0:
        eq(c.call("Describe")["vendor"], "fsbox")
print(turns, "turns")
for x in clients:
    x.sock.close()
until(lambda: not [f for f in c.functions() if f["busy"] or f["queued"]], "all calls end")
with Frames(Client()) as f:
    eq(bytes(f.call("echo", b"on").body), b"on")
for name in names:
    c.call("Undeploy", name=name)
until(lambda: c.cells() == [], "no cell is left")
until(lambda: fd_count(fsboxd) <= fds, "no descriptor is left")
eq(pid_of("fsboxd"), fsboxd)
END
	sed 's/^/# /' "$T/said"
	daemon_stop
}

test_the_policy_bounds_streams_and_says_who_may_have_them() {
	cat >"$T/policy.json" <<'END'
{ "rules": [
    { "uid": 0, "admin": true },
    { "uid": 4801, "maxCells": 2, "maxQueued": 3 },
    { "uid": 4802, "methods": ["Describe", "Deploy"] } ] }
END
	chmod 644 "$T/policy.json"
	daemon_start --cpu-overcommit 100 --policy-file "$T/policy.json"
	steps <<'END'
def few(o):
    o.deploy("echo")
    o.deploy("sleep_forever", timeout=60)
    with Frames(Client()) as f:
        eq(f.hello["streams"], 5)
        open = [f.open("echo") for i in range(5)]
        busy = f.fails("Busy", "echo", b"x")
        eq(busy["queueDepth"], 5)
        f.put(END, open[0])
        f.wait(open[0])
        eq(bytes(f.call("echo", b"room again").body), b"room again")
as_user(4801, few)
def none(o):
    o.send_message({"method": INTERFACE + "Invoke", "upgrade": True})
    eq(o.recv()["error"], "org.varlink.service.PermissionDenied")
    true("frames" in o.call("Describe")["features"], "it is still a connection of varlink")
as_user(4802, none)
END
	daemon_stop
}

test_the_documents_client_works() {
	daemon_start --cpu-overcommit 100
	sed -n '/<!-- example: frames.py -->/,/<!-- example: end -->/s/^    //p' "$FSBOX_SRC/docs/protocol.md" >"$T/frames.py"
	steps_without <<'END'
import subprocess
Client().deploy("echo", timeout=30)
said = subprocess.run([sys.executable, T + "/frames.py", os.environ["FSBOX_SOCKET"], "echo"], stdout=subprocess.PIPE, timeout=60)
eq(said.returncode, 0)
eq(sorted(said.stdout.decode().splitlines()), ["0 5 True success", "1 300000 True success", "2 6291456 True success"])
said = subprocess.run([sys.executable, T + "/frames.py", os.environ["FSBOX_SOCKET"], "nobody"], stdout=subprocess.PIPE, timeout=60)
true(b"NotFound" in said.stdout and said.returncode == 0, said.stdout)
END
	daemon_stop
}

test_the_daemons_end_is_the_connections() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("sleep_forever", timeout=60)
f = Frames(Client())
half = f.open("sleep_forever")
f.put(DATA, half, bytes(200000))
runs = f.start("sleep_forever")
until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")
os.kill(pid_of("fsboxd"), 9)
try:
    while True:
        f.step()
except (Closed, ConnectionError):
    pass
c = Client()
until(lambda: c.cells() == [], "its cell is ended by the next one")
g = Frames(Client())
g.open("sleep_forever")
END
	daemon_stop 'fsboxd ended|fsboxd was killed|ended by signal|starting again|started again|fsboxd'
}

run_tests "$@"
