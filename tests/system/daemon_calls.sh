#!/bin/sh
# fsboxd's calls as clients have them: what comes back, in which forms, from which cell, and what becomes of the cell.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_the_second_call_is_warm_and_the_cell_sleeps_between_them() {
	daemon_start
	steps <<'END'
r = c.deploy("counter")
eq(r["created"], True)
eq(c.deploy("counter"), {"digest": r["digest"], "created": False})
first = c.invoke("counter")
eq((first["status"], first["startKind"], body(first)), ("success", "cold", "1"))
p = first["phases"]
true(p["buildUs"] > 0 and p["initUs"] > 0 and p["callUs"] > 0, p)
true(p["queueUs"] >= p["buildUs"] and "thawUs" in p, p)
cell = c.cell(first["cell"])
eq((cell["state"], cell["function"], cell["calls"], cell["owner"]), ("idle", "counter", 1, 0))
frozen = is_frozen(cell)
if frozen is not None:
    until(lambda: is_frozen(cell), "the cell is frozen")
second = c.invoke("counter")
eq((second["startKind"], body(second), second["cell"]), ("warm", "2", first["cell"]))
true("buildUs" not in second["phases"], second["phases"])
true(second["usage"]["billedMs"] >= 1 and second["usage"]["memoryMb"] == 128, second["usage"])
f = c.functions()[0]
eq((f["name"], f["calls"], f["cells"], f["idle"], f["busy"], f["failures"]), ("counter", 2, 1, 1, 0, 0))
eq(f["digest"], r["digest"])
eq(c.call("Undeploy", name="counter"), {"existed": True})
eq(c.call("Undeploy", name="counter"), {"existed": False})
until(lambda: c.cells() == [], "no cell is left")
eq(c.fails("NotFound", "Invoke", function="counter")["what"], "function")
END
	daemon_stop
}

test_bodies_come_and_go_in_every_form() {
	daemon_start
	steps <<'END'
import base64
c.deploy("echo", timeout=60)
def echo(fds=(), answerFd=False, **event):
    return c.call("Invoke", fds, function="echo", event=event, answerFd=answerFd)["payload"]
eq(echo(json={"a": [1, None, "ä"], "b": {"c": 1.5}}), {"json": {"a": [1, None, "ä"], "b": {"c": 1.5}}})
eq(echo(text='[1, 2]'), {"text": "[1, 2]"}) # JSON that is no object, as it was written
eq(echo(text='{"x" :  1}'), {"json": {"x": 1}})
eq(echo(text="ä\u20ac\n\x01"), {"text": "ä\u20ac\n\x01"})
eq(echo(text=""), {"text": ""})
raw = bytes(range(256)) * 3
eq(echo(base64=base64.b64encode(raw).decode()), {"base64": base64.b64encode(raw).decode()})
eq(c.invoke("echo")["payload"], {"json": {}}) # the default
for size in (0, 1, 4096, 6291456):
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    fd = memfd(data)
    eq(echo([fd], answerFd=True, fd=0), {"fd": 0}, size)
    os.close(fd)
    got = c.fds.pop()
    eq(os.fstat(got).st_size, size)
    true(os.pread(got, size + 1, 0) == data, "the bytes are the same")
    eq(fcntl.fcntl(got, F_GET_SEALS) & (SEALED | SEAL_SEAL), SEALED | SEAL_SEAL, "seals")
    os.close(got)
# A message has a bound, and one beyond it is not read: the connection goes on, and nothing ran.
most = c.call("Describe")["limits"]["messageBytes"]
calls = c.functions()[0]["calls"]
def message(size, fill):
    """One of an echo that has @size bytes."""
    head, tail = b'{"method":"org.fsbox.Sandbox.Invoke","parameters":{"function":"echo","event":{"text":"', b'"}}}'
    return head + fill * (size - len(head) - len(tail)) + tail + b"\0"
c.send_bytes(message(most, b"x"))
eq(set(c.result()["payload"]["text"]), {"x"})
fd = memfd(b"beside it")
before = fd_count(fsboxd_pid())
for size in most + 1, most + 2, 300000, 1 << 20, 16 << 20:
    c.send_bytes(message(size, b"y"), [fd])
    c.send_bytes(message(200, b"z"))  # behind it, which is served
    try:
        c.result()
        raise AssertionError(size)
    except Error as e:
        eq((e.name, e.parameters), ("TooLarge", {"maxBytes": most}))
    eq(set(c.result()["payload"]["text"]), {"z"})
eq(c.functions()[0]["calls"], calls + 6)
until(lambda: fd_count(fsboxd_pid()) <= before, "descriptors of what was not read are closed")
END
	daemon_stop
}

test_bodies_that_are_wrong_are_refused_and_nothing_runs() {
	daemon_start
	steps <<'END'
import socket
c.deploy("counter")
def refused(parameter, fds=(), **event):
    eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", fds, function="counter", event=event)["parameter"], parameter)
refused("event")
refused("event", json={}, text="")
refused("event", text="a", base64="YQ==")
refused("event.base64", base64="not base64!")
refused("event.base64", base64="YQ=")
refused("event.fd", fd=0) # none came
good, unsealed = memfd(b"x"), memfd(b"x", 0)
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", [good, good], function="counter", event={"fd": 0})["parameter"], "fds")
refused("event.fd", [good], fd=1)
refused("event.fd", [good], fd=-1)
refused("event.fd", [good], fd=1 << 40)
refused("event.fd", [unsealed], fd=0)
half = memfd(b"x", SEAL_SHRINK | SEAL_GROW)
refused("event.fd", [half], fd=0)
file = os.open(T + "/steps.py", os.O_RDONLY)
refused("event.fd", [file], fd=0)
refused("event.fd", [os.pipe()[0]], fd=0)
pair = socket.socketpair()
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", [pair[0].fileno()], function="counter", event={"fd": 0})["parameter"], "fds")
large = os.memfd_create("large", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
os.ftruncate(large, 6291457)
fcntl.fcntl(large, F_ADD_SEALS, SEALED)
refused("event.fd", [large], fd=0)
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", event=[])["parameter"], "event")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", evnt={})["parameter"], "evnt")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", event={})["parameter"], "function")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", lease="a")["parameter"], "lease")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", invocation="a b")["parameter"], "invocation")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", deadlineMs=0)["parameter"], "deadlineMs")
eq(c.fails("org.varlink.service.InvalidParameter", "Invoke", function="counter", deadlineMs=1.5)["parameter"], "deadlineMs")
eq(body(c.invoke("counter")), "1", "nothing of it ran")
END
	daemon_stop
}

test_ends_of_calls_are_named_as_fsbox_run_names_them() {
	# What fsbox run says of the same, as the reference.
	for function in fail crash_segv crash_abort exit0 exit_status memory_bomb close_channel init_fail init_crash no_handler; do
		run "$FSBOX" run --json --mem 128 --timeout 5 "$FUNCTIONS/$function.so"
		jq -c --arg f "$function" '[$f, (.calls[0].status // .status), (.calls[0].errorType // .errorType // "")]' \
			"$T/out" >>"$T/reference"
	done
	check_eq "$(wc -l <"$T/reference")" 10
	daemon_start
	steps <<'END'
import json
with open(T + "/reference") as f:
    reference = [json.loads(line) for line in f]
cells = set()
for name, status, kind in reference:
    c.deploy(name, mem=128, timeout=5)
    r = c.invoke(name, "{}")
    eq((name, r["status"], r.get("errorType", "")), (name, status, kind))
    true(r["errorMessage"], name)
    cells.add(r["cell"])
    again = c.invoke(name, "{}") # a new cell, unless it was no more than an error of the function's own
    if name != "fail":
        true(again["cell"] not in cells and again["startKind"] == "cold", name)
    else:
        eq((again["cell"], again["startKind"]), (r["cell"], "warm"))
f = {x["name"]: x for x in c.functions()}
eq((f["fail"]["calls"], f["fail"]["failures"]), (2, 2))
END
	daemon_stop
}

test_a_call_that_takes_too_long_ends_with_its_cell() {
	daemon_start
	steps <<'END'
c.deploy("sleep_forever", timeout=0.3)
r = c.invoke("sleep_forever")
eq((r["status"], r["errorType"]), ("timeout", "Sandbox.Timedout"))
true("timed out after 0.30 seconds" in r["errorMessage"], r)
until(lambda: r["cell"] not in [x["id"] for x in c.cells()], "its cell is gone")
c.deploy("slow", "sleep_forever", timeout=30)
began = time.monotonic()
e = c.fails("DeadlineExceeded", "Invoke", function="slow", deadlineMs=1500)
eq(e["phase"], "run")
true(time.monotonic() - began < 20 and e["ranMs"] <= 1500, e)
c.deploy("init_sleep", timeout=30)
e = c.fails("DeadlineExceeded", "Invoke", function="init_sleep", deadlineMs=300)
eq(e["phase"], "start")
# Whom a deadline has passed while he waited for another's call: nothing of it runs.
c.deploy("one", "sleep_forever", timeout=30, maxCells=1)
with Client() as other:
    other.send("Invoke", function="one", invocation="long")
    until(lambda: [x for x in c.cells("one") if x["state"] == "busy"], "it runs")
    e = c.fails("DeadlineExceeded", "Invoke", function="one", deadlineMs=200)
    eq(e["phase"], "queue")
    eq(e["ranMs"], 0)
    eq(c.call("Cancel", invocation="long"), {"existed": True})
    try:
        other.result()
        true(False, "cancelled")
    except Error as e:
        eq(e.name, "Cancelled")
END
	daemon_stop
}

test_an_invocation_runs_at_most_once() {
	daemon_start
	steps <<'END'
c.deploy("remaining", timeout=20)
c.deploy("counter")
a, b = Client(), Client()
a.send("Invoke", function="remaining", invocation="x1", event={"text": "700"})
until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")
b.send("Invoke", function="remaining", invocation="x1", event={"text": "700"})
ra, rb = a.result(), b.result()
eq(ra, rb, "the one that attached has the same answer")
eq(c.call("Invoke", function="remaining", invocation="x1"), ra, "kept")
eq(len(c.cells("remaining")), 1)
eq(body(c.call("Invoke", function="counter", invocation="n1")), "1")
for i in range(3):
    eq(body(c.call("Invoke", function="counter", invocation="n1")), "1")
eq(body(c.call("Invoke", function="counter", invocation="n2")), "2")
eq(c.functions()[0]["calls"] + c.functions()[1]["calls"], 3)
# What never began may be tried again.
c.fails("NotFound", "Invoke", function="nobody", invocation="n3")
eq(body(c.call("Invoke", function="counter", invocation="n3")), "3")
# An error of the function is its result.
c.deploy("fail")
first = c.call("Invoke", function="fail", invocation="n4")
eq(c.call("Invoke", function="fail", invocation="n4"), first)
END
	daemon_end
	daemon_begin
	steps <<'END'
for name in "x1", "n1", "n2", "n3", "n4":
    eq(c.fails("NotFound", "Invoke", function="counter", invocation=name), {"what": "invocation", "id": name})
until(lambda: [f for f in c.functions() if f["name"] == "counter"], "the function is back")
eq(body(c.call("Invoke", function="counter", invocation="n5")), "1")
END
	daemon_stop
}

test_cancelling_ends_what_runs_and_what_waits() {
	daemon_start
	steps <<'END'
c.deploy("sleep_forever", timeout=60, maxCells=1)
def busy():
    return [x for x in c.cells("sleep_forever") if x["state"] == "busy"]
a, b = Client(), Client()
a.send("Invoke", function="sleep_forever", invocation="runs")
cell = until(busy, "it runs")[0]["id"]
b.send("Invoke", function="sleep_forever", invocation="waits")
until(lambda: c.functions()[0]["queued"] == 1, "it waits")
eq(c.call("Cancel", invocation="waits"), {"existed": True})
try:
    b.result()
    true(False, "an error")
except Error as e:
    eq(e.name, "Cancelled")
eq(c.call("Cancel", invocation="waits"), {"existed": False})
eq(c.call("Cancel", invocation="never"), {"existed": False})
eq(c.call("Cancel", invocation="runs"), {"existed": True})
try:
    a.result()
    true(False, "an error")
except Error as e:
    eq(e.name, "Cancelled")
until(lambda: c.cells() == [], "its cell is gone")
# A client that goes: the call goes on, unless it asked otherwise.
a.send("Invoke", function="sleep_forever", invocation="stays")
until(busy, "it runs")
a.close()
time.sleep(0.2)
eq(len(busy()), 1, "it goes on")
eq(c.call("Cancel", invocation="stays"), {"existed": True})
until(lambda: c.cells() == [], "its cell is gone")
b.send("Invoke", function="sleep_forever", cancelOnClose=True)
until(busy, "it runs")
b.close()
until(lambda: c.cells() == [], "it ended with its client")
# Two that wait for it: the first that goes does not end it.
a, b = Client(), Client()
a.send("Invoke", function="sleep_forever", invocation="two", cancelOnClose=True)
until(busy, "it runs")
b.send("Invoke", function="sleep_forever", invocation="two")
b.is_quiet(0.1)
a.close()
true(b.is_quiet(0.3), "it goes on for the other")
eq(len(busy()), 1)
b.close()
until(lambda: c.cells() == [], "it ended with the last")
END
	daemon_stop
}

test_leases_keep_a_cell_for_their_holder() {
	daemon_start
	steps <<'END'
c.deploy("counter")
c.deploy("sleep_forever", timeout=60)
l = c.call("Acquire", function="counter")
eq(l["startKind"], "cold")
cell = c.cell(l["cell"])
eq((cell["state"], cell["leased"]), ("idle", True))
r = c.invoke(lease=l["lease"])
eq((body(r), r["cell"], r["startKind"]), ("1", l["cell"], "warm"))
eq(body(c.invoke("counter")), "1", "others get another cell")
eq(body(c.invoke(lease=l["lease"])), "2")
eq(c.call("Release", lease=l["lease"]), {"existed": True})
eq(c.call("Release", lease=l["lease"]), {"existed": False})
eq(c.fails("NotFound", "Invoke", lease=l["lease"])["what"], "lease")
eq(len(c.cells("counter")), 2, "it is reused")
# The same token: the same lease.
a = c.call("Acquire", function="counter", requestToken="t1")
b = c.call("Acquire", function="counter", requestToken="t1")
eq(a, b)
eq(c.call("Release", lease=a["lease"], reuse=False), {"existed": True})
until(lambda: a["cell"] not in [x["id"] for x in c.cells()], "it is ended")
# One that is not used ends.
l = c.call("Acquire", function="counter", leaseMs=300)
until(lambda: not c.cell(l["cell"])["leased"], "the lease has ended")
eq(c.fails("NotFound", "Invoke", lease=l["lease"])["what"], "lease")
# One call at a time, and the holder is told at once.
l = c.call("Acquire", function="sleep_forever")
a = Client()
a.send("Invoke", lease=l["lease"], invocation="held")
until(lambda: c.cell(l["cell"])["state"] == "busy", "it runs")
c.fails("Busy", "Invoke", lease=l["lease"])
eq(c.call("Cancel", invocation="held"), {"existed": True})
try:
    a.result()
    true(False, "an error")
except Error as e:
    eq(e.name, "Cancelled")
until(lambda: c.cells("sleep_forever") == [], "its cell is gone")
eq(c.call("Release", lease=l["lease"]), {"existed": False})
# A lease that is given back in the middle of a call: that goes on, and it is the cell's last one.
c.deploy("remaining", timeout=20)
l = c.call("Acquire", function="remaining")
a.send("Invoke", lease=l["lease"], event={"text": "600"})
until(lambda: c.cell(l["cell"])["state"] == "busy", "it runs")
eq(c.call("Release", lease=l["lease"], reuse=False), {"existed": True})
eq(c.call("Release", lease=l["lease"], reuse=False), {"existed": False})
eq(c.fails("NotFound", "Invoke", lease=l["lease"])["what"], "lease")
r = a.result()
eq((r["status"], r["cell"]), ("success", l["cell"]))
true(c.invoke("remaining", "1")["cell"] != l["cell"], "nobody's call comes to it")
until(lambda: l["cell"] not in [x["id"] for x in c.cells()], "it is ended")
# A wait for a cell that does not come.
c.deploy("one", "sleep_forever", timeout=60, maxCells=1)
l = c.call("Acquire", function="one")
c.fails("Busy", "Acquire", function="one", waitMs=100)
c.fails("NotFound", "Acquire", function="nobody")
END
	daemon_stop
}

test_a_lease_that_is_given_back_leaves_the_calls_time_as_it_was() {
	daemon_start --keep 3600
	steps <<'END'
c.deploy("sleep_forever", timeout=1)
l = c.call("Acquire", function="sleep_forever")
a = Client()
a.send("Invoke", lease=l["lease"])
until(lambda: c.cell(l["cell"])["state"] == "busy", "it runs")
eq(c.call("Release", lease=l["lease"]), {"existed": True})
eq(a.result()["status"], "timeout")
END
	daemon_stop
}

test_undeployed_functions_leave_nothing() {
	daemon_start --keep 3600
	steps <<'END'
c.deploy("remaining", timeout=20)
c.deploy("counter")
a = Client()
a.send("Invoke", function="remaining", event={"text": "800"})
until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")
l = c.call("Acquire", function="counter")
eq(c.call("Undeploy", name="remaining"), {"existed": True})
eq(c.call("Undeploy", name="counter"), {"existed": True})
eq(c.functions(), [])
eq(a.result()["status"], "success", "a call that runs ends as it would")
until(lambda: not [x for x in c.cells() if x["function"] == "remaining"], "and its cell after it")
until(lambda: c.cells() == [], "nothing is left, leased or not")
eq(c.fails("NotFound", "Invoke", lease=l["lease"])["what"], "lease")
eq(c.call("Release", lease=l["lease"]), {"existed": False})
# A call on a lease ends as it would, and the lease ends at once, also when another function takes the place.
c.deploy("remaining", timeout=20)
for ends in lambda: c.call("Undeploy", name="remaining"), lambda: c.deploy("remaining", timeout=21, replace=True):
    if not c.functions():
        c.deploy("remaining", timeout=20)
    l = c.call("Acquire", function="remaining")
    a.send("Invoke", lease=l["lease"], event={"text": "600"})
    until(lambda: c.cell(l["cell"])["state"] == "busy", "it runs")
    ends()
    eq(c.fails("NotFound", "Invoke", lease=l["lease"])["what"], "lease")
    r = a.result()
    eq((r["status"], r["cell"]), ("success", l["cell"]))
    until(lambda: l["cell"] not in [x["id"] for x in c.cells()], "its cell ends after it")
c.call("Undeploy", name="remaining")
until(lambda: c.cells() == [], "nothing is left")
c.deploy("remaining", timeout=20, maxCells=1)
a.send("Invoke", function="remaining", event={"text": "800"})
until(lambda: c.functions()[0]["busy"] == 1, "it runs")
b = Client()
b.send("Invoke", function="remaining", invocation="waits")
until(lambda: c.functions()[0]["queued"] == 1, "another one waits")
c.call("Undeploy", name="remaining")
try:
    b.result()
    raise AssertionError("it has run")
except Error as e:
    eq((e.name.rpartition(".")[2], e.parameters), ("NotFound", {"what": "function", "id": "remaining"}))
eq(a.result()["status"], "success")
END
	daemon_stop
}

test_a_function_is_replaced_only_when_that_is_asked_for() {
	daemon_start
	cp "$FUNCTIONS/counter.so" "$T/f.so"
	steps <<'END'
import shutil
f = T + "/f.so"
one = c.deploy("f", f)
eq(body(c.invoke("f")), "1")
e = c.fails("AlreadyExists", "Deploy", name="f", spec={"target": f, "mem": 256}, provisioned=0, reserved=0, maxCells=0)
eq(e, {"id": "f", "sameSpec": False})
# The same spec with another file is another function.
shutil.copyfile(os.environ["FUNCTIONS"] + "/echo.so", T + "/new.so")
os.rename(T + "/new.so", f)
e = c.fails("AlreadyExists", "Deploy", name="f", spec={"target": f}, provisioned=0, reserved=0, maxCells=0)
eq(e["sameSpec"], False)
eq(body(c.invoke("f", "x")), "2", "the old one goes on with the code that it was deployed with")
two = c.deploy("f", f, replace=True)
true(two["created"] and two["digest"] != one["digest"], two)
eq(body(c.invoke("f", "x")), "x")
until(lambda: len(c.cells()) == 1, "the old one's cell is gone")
# Two at once under one name: the second one of them is told.
a, b = Client(), Client()
spec = {"target": f}
for client, mem in (a, 256), (b, 512):
    client.send("Deploy", name="g", spec=dict(spec, mem=mem), provisioned=0, reserved=0, maxCells=0)
got = []
for client in a, b:
    try:
        got.append(client.result()["created"])
    except Error as e:
        got.append(e.name)
eq(sorted(map(str, got)), ["AlreadyExists", "True"])
END
	daemon_stop
}

test_code_of_another_mount_namespace_is_refused_when_it_is_deployed() {
	daemon_start
	check_status 1 unshare --mount "$FSBOX" deploy f "$FUNCTIONS/echo.so"
	check_contains "$T/err" 'target was opened in another mount namespace'
	check_contains "$T/err" 'hint: name it by its path there'
	steps <<-'END'
		# What is no file that can be read, said as it is.
		path = os.environ["FUNCTIONS"] + "/echo.so"
		def refused(reason, fd, **parameters):
		    e = c.fails("InvalidSpec", "Deploy", [fd], name="g", provisioned=0, reserved=0, maxCells=0, **parameters)
		    os.close(fd)
		    true(reason in e["reason"], e)
		    return e["field"]
		code = {"spec": {"target": "/x.so"}, "codeFd": 0}
		layer = {"spec": {"target": path, "layer": ["/x"]}, "layerFds": [0]}
		with open(path, "rb") as f, open(T + "/code.so", "wb") as g:
		    g.write(f.read())
		    memory = os.memfd_create("code")
		    f.seek(0)
		    os.write(memory, f.read())
		os.chmod(T + "/code.so", 0o644)
		for flags in os.O_PATH, os.O_WRONLY:
		    for how, field in (code, "spec: $.target"), (layer, "spec: $.layer"):
		        eq(refused("not open for reading", os.open(T + "/code.so", flags), **how), field)
		refused("not open for reading", os.open(T, os.O_PATH), **code)
		refused("of a pipe", os.pipe()[0], **code)
		refused("of a device", os.open("/dev/null", os.O_RDONLY), **code)
		eq(refused("as a memfd has none", memory, **code), "spec: $.target")
		for flags in os.O_RDONLY, os.O_RDWR:
		    fd = os.open(T + "/code.so", flags)
		    c.call("Deploy", [fd], name="g", provisioned=0, reserved=0, maxCells=0, replace=True, **code)
		eq(body(c.invoke("g", "x")), "x")
	END
	mkdir -m 755 "$T/layer"
	check_status 1 unshare --mount "$FSBOX" deploy f --layer "$T/layer" "$FUNCTIONS/echo.so"
	check_status 0 "$FSBOX" deploy f --layer "$T/layer" "$FUNCTIONS/echo.so"
	check_status 0 unshare --mount "$FSBOX" invoke f
	daemon_stop
}

no_cells_of() { # FUNCTION
	[ "$("$FSBOX" ps --json "$1" | jq '.cells | length')" = 0 ]
}

test_archives_are_unpacked_in_the_daemons_own_directory() {
	HOME=$T/home XDG_STATE_HOME=$T/home # whoever starts it has others
	export HOME XDG_STATE_HOME
	mkdir -m 700 "$T/home"
	printf 'import helper\ndef handler(event, context):\n    return helper.twice(event)\n' >"$T/main.py"
	mkdir -p "$T/python" && printf 'def twice(x):\n    return 2 * x\n' >"$T/python/helper.py"
	(cd "$T" && python3 -m zipfile -c code.zip main.py && python3 -m zipfile -c layer.zip python)
	daemon_start
	check_status 0 "$FSBOX" deploy f --runtime python --handler main.handler --layer "$T/layer.zip" "$T/code.zip"
	check_status 0 "$FSBOX" invoke f --event 21
	check_eq "$(cat "$T/out")" 42
	# An archive's own mount does not matter.
	check_status 0 unshare --mount "$FSBOX" deploy g --runtime python --handler main.handler --layer "$T/layer.zip" "$T/code.zip"
	check_status 0 "$FSBOX" invoke g --event 2
	check_eq "$(find "$T/home" | wc -l)" 1
	check_eq "$(find "$T/state/fsbox/packages" -mindepth 1 -maxdepth 1 | wc -l)" 2
	check_eq "$(stat -c %a "$T/state/fsbox/packages")" 700
	# What is deployed is in use for as long as fsbox-spawn has it, not only until fsboxd ends.
	touch -d '30 days ago' "$T"/state/fsbox/packages/*
	kill -KILL "$(pgrep -x fsboxd)"
	(cd "$T" && python3 -m zipfile -c other.zip main.py)
	check_status 0 "$FSBOX" deploy h --runtime python --handler main.handler --layer "$T/layer.zip" "$T/other.zip"
	# shellcheck disable=SC2046 # words
	"$FSBOX" kill $("$FSBOX" ps --json f | jq -r '.cells[].id')
	check_status 0 "$FSBOX" invoke f --event 4
	check_eq "$(cat "$T/out")" 8
	check_contains "$T/err" 'Start: cold'
	# Of what is not deployed any more that much time is the end.
	check_status 0 "$FSBOX" undeploy f g
	touch -d '30 days ago' "$T"/state/fsbox/packages/*
	(cd "$T" && python3 -m zipfile -c third.zip main.py)
	wait_for 50 no_cells_of f
	check_status 0 "$FSBOX" deploy i --runtime python --handler main.handler "$T/third.zip"
	check_eq "$(find "$T/state/fsbox/packages" -mindepth 1 -maxdepth 1 | wc -l)" 3 # layer, other, third
	daemon_stop 'fsboxd .*(killed|signal|ended)'
}

test_numbers_of_a_function_change_and_its_cells_stay() {
	daemon_start --keep 2
	steps <<'END'
c.deploy("counter")
first = c.invoke("counter")
eq(body(first), "1")
e = c.fails("AlreadyExists", "Deploy", name="counter", spec=c.functions()[0]["spec"], provisioned=3)
eq(e["sameSpec"], True)
watcher = Client()
watcher.send("Subscribe", more=True)
eq(watcher.result()["event"]["cell"], first["cell"])
# The spec as the daemon gives it is the same spec.
again = c.call("Deploy", name="counter", spec=c.functions()[0]["spec"], provisioned=3, maxCells=4, replace=True)
eq((again["created"], again["digest"]), (False, c.functions()[0]["digest"]))
eq(watcher.result()["event"]["kind"], "deployed")
until(lambda: len([x for x in c.cells() if x["state"] == "idle"]) == 3, "three are ready")
true(first["cell"] in [x["id"] for x in c.cells()], "the first one is there")
f = c.functions()[0]
eq((f["provisioned"], f["maxCells"], f["calls"]), (3, 4, 1), "its figures go on")
# They hold for the next fsboxd, too.
os.kill(pid_of("fsboxd"), signal.SIGKILL)
c = until(lambda: Client(), "the next one")
eq(c.functions()[0]["provisioned"], 3)
e = c.fails("NotFound", "Scale", name="other", provisioned=1)
eq(e, {"what": "function", "id": "other"})
eq(c.call("Scale", name="counter", provisioned=1), {"provisioned": 1, "reserved": 0, "maxCells": 4})
eq(c.call("Scale", name="counter"), {"provisioned": 1, "reserved": 0, "maxCells": 4})
until(lambda: len(c.cells()) == 1, "what is too many ends when it was idle for long enough", 20)
time.sleep(2.5)
eq(len(c.cells()), 1, "and the one stays")
END
	daemon_stop "fsboxd .*(ended|died|killed|signal)"
}

test_cells_are_paused_updated_killed_and_removed() {
	daemon_start
	steps <<'END'
c.deploy("counter")
c.deploy("sleep_forever", timeout=60)
cell = c.invoke("counter")["cell"]
can = "freeze" in c.call("Describe")["features"]
if can:
    eq(c.call("Pause", cell=cell), {})
    eq(c.call("Pause", cell=cell), {})
    eq(c.cell(cell)["state"], "paused")
    until(lambda: is_frozen(c.cell(cell)), "it is frozen")
    other = c.invoke("counter")
    true(other["cell"] != cell, "a paused cell takes no calls")
    c.call("Kill", cell=other["cell"])
    until(lambda: len(c.cells()) == 1, "the other is gone")
    eq(c.call("Resume", cell=cell), {})
    eq(c.cell(cell)["state"], "idle")
    eq(body(c.invoke("counter")), "2", "and goes on where it was")
eq(c.call("Update", cell=cell, memoryMb=256), {})
x = c.cell(cell)
eq(x["memoryMb"], 256)
eq(c.call("Update", cell=cell, memoryMb=256, pids=100), {})
c.fails("org.varlink.service.InvalidParameter", "Update", cell=cell, memoryMb=1)
true(x["pid"] > 0 and x["processes"] >= 2 and x["cpuUs"] > 0, x)
eq(c.call("Kill", cell=cell), {"existed": True})
until(lambda: c.cells() == [], "it is gone")
for method in "Kill", "Remove":
    eq(c.call(method, cell=cell), {"existed": False})
for method in "Pause", "Resume", "Inspect":
    eq(c.fails("NotFound", method, cell=cell), {"what": "cell", "id": cell})
eq(c.fails("NotFound", "Update", cell=cell, memoryMb=256)["what"], "cell")
# A lease ends in a paused cell too, which stays paused; and with an undeployed function it goes.
if can:
    c.deploy("leased", "counter")
    l = c.call("Acquire", function="leased", leaseMs=200)
    c.call("Pause", cell=l["cell"])
    until(lambda: not c.cell(l["cell"])["leased"], "the lease has ended")
    eq(c.cell(l["cell"])["state"], "paused")
    c.call("Resume", cell=l["cell"])
    l = c.call("Acquire", function="leased", leaseMs=400)
    c.call("Pause", cell=l["cell"])
    c.call("Undeploy", name="leased")
    until(lambda: not c.cells("leased"), "it has gone with its function")
# No call comes to one that was killed before.
for i in range(20):
    got = c.invoke("counter")
    eq((got["status"], body(got)), ("success", "1"))
    eq(c.call("Kill", cell=got["cell"]), {"existed": True})
until(lambda: c.cells() == [], "they are gone")
# Before its function is initialized: the one that waits for it, by a call or for a lease, has another cell instead.
a = Client()
c.deploy("init_slow", timeout=20, env={"FSBOX_TEST_MS": "300"})
for begin in "Invoke", "Acquire":
    a.send(begin, function="init_slow", **({"waitMs": 20000} if begin == "Acquire" else {}))
    ended = set()
    while len(ended) < 3: # more often than an init that fails is tried again
        young = until(lambda: [x for x in c.cells() if x["state"] == "init" and x["id"] not in ended], "one begins")[0]["id"]
        eq(c.call("Kill", cell=young), {"existed": True})
        ended.add(young)
    got = a.result()
    true(got["cell"] not in ended, got)
    eq(got.get("status", "success"), "success")
    c.call("Remove", cell=got["cell"])
    until(lambda: c.cells() == [], "they are gone")
c.call("Undeploy", name="init_slow")
until(lambda: c.cells() == [], "they are gone")
# In the middle of a call.
for method, wanted in ("Kill", "failure"), ("Remove", "Cancelled"):
    a.send("Invoke", function="sleep_forever")
    busy = until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")[0]["id"]
    if can:
        c.fails("Busy", "Pause", cell=busy)
    eq(c.call(method, cell=busy), {"existed": True})
    try:
        got = a.result()
        eq((got["status"], got["errorType"]), (wanted, "Runtime.ExitError"))
    except Error as e:
        eq(e.name, wanted)
    until(lambda: c.cells() == [], "it is gone")
END
	daemon_stop
}

test_answers_are_streamed_as_they_are_written() {
	daemon_start
	steps <<'END'
c.deploy("stream", timeout=20)
parts = list(c.more("Invoke", function="stream", stream=True, event={"text": "5 slow"}))
eq(parts[-1]["kind"], "result")
eq(parts[-1]["status"], "success")
text = "".join(p["payload"]["text"] for p in parts if "payload" in p)
eq(text, "".join("part %d\n" % i for i in range(5)))
true(len([p for p in parts if p["kind"] == "data"]) >= 2, "in parts: %r" % parts)
# It fails after its first parts.
parts = list(c.more("Invoke", function="stream", stream=True, event={"text": "3 slow fail"}))
eq((parts[-1]["status"], parts[-1]["errorType"]), ("failure", "Test.Late"))
# Without more it is one answer.
r = c.call("Invoke", function="stream", stream=True, event={"text": "3"})
eq(r["payload"]["text"], "part 0\npart 1\npart 2\n")
# One that does not read: the function's end does not wait for it, nor does anybody else.
c.deploy("big_answer", timeout=20, mem=256)
slow = Client(rcvbuf=4096)
slow.send("Invoke", more=True, function="big_answer", stream=True, event={"text": "6000000"})
eq(len(c.call("Invoke", function="big_answer", event={"text": "1000"})["payload"]["base64"]), 1336)
until(lambda: c.functions()[0]["calls"] + c.functions()[1]["calls"] == 5, "it has ended")
got = b""
import base64
while True:
    m = slow.recv()
    p = m["parameters"].get("payload", {})
    got += base64.b64decode(p["base64"]) if "base64" in p else p.get("text", "").encode()
    if not m.get("continues"):
        break
eq((m["parameters"]["status"], len(got)), ("success", 6000000))
true(got == bytes(i % 251 for i in range(251)) * (6000000 // 251) + bytes(range(6000000 % 251)), "the same bytes")
END
	daemon_stop
}

test_logs_and_events_can_be_followed_from_where_one_was() {
	daemon_start
	steps <<'END'
c.deploy("log_lines")
follower = Client()
follower.send("Subscribe", more=True)
r = c.call("Invoke", function="log_lines", logs=True, event={"text": "{}"})
true(r["log"], "the answer has the output")
seen = []
while not seen or seen[-1]["kind"] != "called":
    seen.append(follower.recv()["parameters"]["event"])
eq([e["kind"] for e in seen], ["started", "ready", "called"])
eq((seen[2]["status"], seen[2]["cell"], seen[2]["invocation"]), ("success", r["cell"], r["invocation"]))
true(seen[0]["cursor"] < seen[1]["cursor"] < seen[2]["cursor"], seen)
# From a cursor: exactly what came after it.
again = Client()
again.send("Subscribe", more=True, since=seen[0]["cursor"])
eq([again.recv()["parameters"]["event"] for i in range(2)], seen[1:])
# Without one: first what is there.
now = Client()
now.send("Subscribe", more=True)
e = now.recv()["parameters"]["event"]
eq((e["kind"], e["cursor"], e["cell"], e["status"]), ("started", 0, r["cell"], "idle"))
chunks = [x["chunk"] for x in c.more("Logs", function="log_lines") if "chunk" in x]
eq("".join(x["text"] for x in chunks if x["stream"] != "platform")[-len(r["log"]):], r["log"])
true(all(x["cell"] == r["cell"] for x in chunks), chunks)
eq([x for x in c.more("Logs", function="log_lines", since=chunks[-1]["cursor"])], [{}])
eq([x for x in c.more("Logs", cell="000000000000")], [{}])
tail = Client()
tail.send("Logs", more=True, follow=True, since=chunks[-1]["cursor"])
true(tail.is_quiet(), "nothing new")
c.invoke("log_lines", "{}")
true(tail.recv()["parameters"]["chunk"]["cursor"] > chunks[-1]["cursor"])
c.fails("org.varlink.service.ExpectedMore", "List")
# Cursors that are gone.
c.deploy("echo")
for i in range(4200):
    c.invoke("echo", "1")
lost = Client()
try:
    for x in lost.more("Subscribe", since=seen[0]["cursor"]):
        true(False, "what is not kept any more is not left out in silence: %r" % x)
except Error as e:
    eq(e.name, "Lost")
    true(e.parameters["firstAvailable"] > seen[0]["cursor"], e)
END
	daemon_stop
}

test_who_is_refused_by_a_function_that_is_cold_comes_back_soon() {
	daemon_start --cpu-overcommit 100
	steps <<'END'
c.deploy("sleep_forever", timeout=60, mem=64, maxCells=20)
clients = [Client() for i in range(60)]
for client in clients:
    client.send("Invoke", function="sleep_forever", cancelOnClose=True)
until(lambda: c.functions()[0]["busy"] == 20, "as many run as there may be")
f = c.functions()[0]
true(f["queued"] <= 20, f)
refused = []
for client in clients:
    if not client.is_quiet(0.01):
        try:
            client.result()
            raise AssertionError("a result")
        except Error as e:
            eq(e.name, "Busy")
            refused.append(e.parameters["retryAfterMs"])
eq(len(refused), f["rejected"])
true(len(refused) >= 20, refused)
slower = int(os.environ.get("FSBOX_SLOWER", "1"))
true(100 <= min(refused) and max(refused) <= 1000 * slower, "no more than some hundred ms: %s" % refused)
# As long as no call has ended, the longer the oldest runs.
while c.functions()[0]["queued"] < 20:
    clients.append(Client())
    clients[-1].send("Invoke", function="sleep_forever", cancelOnClose=True)
    clients[-1].is_quiet(0.05)
time.sleep(1.5)
later = c.fails("Busy", "Invoke", function="sleep_forever")["retryAfterMs"]
true(1500 <= later <= 60000, later)
eq(c.functions()[0]["maxQueued"], 20)
for client in clients:
    client.close()
until(lambda: c.cells() == [], "nothing is left")
END
	daemon_stop
}

test_capacity_is_bounded_and_says_so() {
	daemon_start --memory 600 --max-cells 6
	steps <<'END'
c.deploy("sleep_forever", timeout=60, mem=128, maxCells=2)
c.deploy("echo", mem=256)
eq(c.call("Capacity")["maxCells"], 6)
eq(c.call("Capacity")["memoryFreeMb"], 600)
clients = [Client() for i in range(8)]
def send(some):
    for i in some:
        clients[i].send("Invoke", function="sleep_forever", invocation="s%d" % i)
send(range(2))
until(lambda: [f for f in c.functions() if f["name"] == "sleep_forever"][0]["busy"] == 2, "two run")
send(range(2, 8))
# Two run, two wait, the others were told at once.
refused = 0
for client in clients:
    if not client.is_quiet(0.3):
        try:
            client.result()
            true(False, "an error")
        except Error as e:
            eq(e.name, "Busy")
            true(1 <= e.parameters["retryAfterMs"] <= 60000 and e.parameters["queueDepth"] >= 0, e)
            refused += 1
f = [f for f in c.functions() if f["name"] == "sleep_forever"][0]
eq(f["maxQueued"], 2)
eq((refused, f["busy"], f["queued"], f["rejected"]), (4, 2, 2, 4))
eq(c.call("Capacity")["memoryFreeMb"], 600 - 256)
eq(body(c.invoke("echo", "in")), "in", "there is room for one of 256 MB")
c.deploy("big", "echo", mem=512)
c.call("Kill", cell=c.cells("echo")[0]["id"])
until(lambda: not c.cells("echo"), "it is gone")
e = c.fails("CapacityExhausted", "Invoke", function="big")
true(e["resource"].startswith("memory"), e)
c.fails("InvalidSpec", "Deploy", name="huge", spec={"target": os.environ["FUNCTIONS"] + "/echo.so", "mem": 601},
        provisioned=0, reserved=0, maxCells=0)
for i in reversed(range(8)): # those that wait first: a cell that was started for one of them would stay, idle
    c.call("Cancel", invocation="s%d" % i)
until(lambda: c.cells("sleep_forever") == [], "they are gone")
eq(body(c.invoke("big", "now")), "now")
# Room that is only warm is made free for who needs it, and the call waits for it.
eq(body(c.invoke("echo", "in")), "in")
eq(c.cells("big"), [])
END
	daemon_stop
}

test_provisioned_and_reserved_cells_are_kept() {
	daemon_start --keep 1 --max-cells 8
	steps <<'END'
c.deploy("counter", provisioned=2)
until(lambda: len([x for x in c.cells() if x["state"] == "idle"]) == 2, "two are ready before any call")
eq(c.invoke("counter")["startKind"], "warm")
time.sleep(1.5)
eq(len(c.cells()), 2, "they stay")
gone = c.cells()[0]["id"]
c.call("Kill", cell=gone)
until(lambda: len([x for x in c.cells() if x["state"] == "idle"]) == 2 and gone not in [x["id"] for x in c.cells()],
      "another takes the place of one that dies", 20)
c.deploy("mine", "echo", reserved=3)
c.deploy("sleep_forever", timeout=60)
clients = [Client() for i in range(8)]
for client in clients:
    client.send("Invoke", function="sleep_forever", cancelOnClose=True)
    time.sleep(0.05)
until(lambda: len([x for x in c.cells("sleep_forever") if x["state"] == "busy"]) >= 1, "they run")
time.sleep(0.3)
eq(len(c.cells("sleep_forever")), 3, "2 + 3 of 8 cells are somebody else's")
eq(body(c.invoke("mine", "x")), "x")
for client in clients:
    client.close()
c.call("Undeploy", name="counter")
c.call("Undeploy", name="mine")
until(lambda: c.cells() == [], "scaled to zero")
END
	daemon_stop
}

test_idle_cells_end_with_their_shutdown_hook() {
	daemon_start --keep 1
	steps <<'END'
c.deploy("shutdown_marker")
c.deploy("hangs", "shutdown_marker", env={"FSBOX_TEST_SHUTDOWN": "hang"})
ids = [c.invoke("shutdown_marker")["cell"], c.invoke("hangs")["cell"]]
groups = [c.cell(i)["cgroup"] for i in ids]
until(lambda: c.cells() == [], "they have ended", 20)
text = "".join(x["chunk"]["text"] for x in c.more("Logs") if "chunk" in x)
eq(text.count("shutdown ran"), 2)
for root, dirs, files in os.walk("/sys/fs/cgroup"):
    for g in groups:
        true(not root.endswith(g), "the group %s is gone" % g)
eq([p for p in ("fsbox-init", "native") if pid_of(p)], [], "no process")
c.deploy("counter")
eq(body(c.invoke("counter")), "1")
time.sleep(0.6)
eq(body(c.invoke("counter")), "2")
time.sleep(0.6)
eq(body(c.invoke("counter")), "3", "a call lets the time begin again")
END
	daemon_stop
}
run_tests "$@"
