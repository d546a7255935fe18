#!/bin/sh
# What cells use, told to many who ask often: read seldom, a few cells at a time.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_many_cells_are_told_of_completely() {
	daemon_start --memory 8192
	steps <<'END'
c.deploy("echo", mem=64, provisioned=70)
until(lambda: len([x for x in c.cells() if x["state"] == "idle"]) == 70, "they are there", 60)
def complete(cells):
    eq(len({x["id"] for x in cells}), 70)
    eq([x for x in cells if "cgroup" in x and "processes" not in x], [])
complete(c.cells())
complete(c.call("Stats")["stats"]["cells"])
time.sleep(1.1)
clients = [Client() for i in range(6)]
for a in clients:
    a.send("List", more=True)
    a.close()  # before its turn has come
complete(c.cells())
complete(c.call("Stats", function="echo")["stats"]["cells"])
eq(c.call("Stats", function="none")["stats"]["cells"], [])
END
	daemon_stop
}

test_usage_is_read_once_a_second_however_many_ask() {
	daemon_start
	steps <<'END'
c.deploy("busy", timeout=60)
a = Client()
a.send("Invoke", function="busy", event={"text": "3500"})
cell = until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")[0]
if "cpuUs" not in cell:
    sys.exit(0)  # no limits here
began, seen, asked = time.monotonic(), set(), 0
while time.monotonic() < began + 3:
    seen.add(c.cells()[0]["cpuUs"])
    seen.add(c.call("Stats")["stats"]["cells"][0]["cpuUs"])
    asked += 2
    time.sleep(0.02)
most = time.monotonic() - began + 2
true(asked > 10 and len(seen) <= most, "%d asked, %d times read, at most %d" % (asked, len(seen), most))
true(len(seen) > 1, "it is read again")
a.result()
time.sleep(1.1)
after = c.cells()[0]["cpuUs"]
true(after >= max(seen), "the end of the call is seen")
eq(c.call("Inspect", cell=cell["id"])["cell"]["cpuUs"] >= after, True)
END
	daemon_stop
}

test_who_inspects_in_a_loop_has_hardly_anything_read() {
	daemon_start
	steps <<'END'
c.deploy("busy", timeout=60)
a = Client()
a.send("Invoke", function="busy", event={"text": "2000"})
cell = until(lambda: [x for x in c.cells() if x["state"] == "busy"], "it runs")[0]
if "cpuUs" not in cell:
    sys.exit(0)  # no limits here
def reads():  # read(2) and its like, not what comes from sockets: proc(5), /proc/PID/io
    with open("/proc/%d/io" % pid_of("fsboxd")) as f:
        return int(dict(line.split(": ") for line in f.read().split("\n") if line)["syscr"])
began, before, seen, asked = time.monotonic(), reads(), set(), 0
while time.monotonic() < began + 1:
    seen.add(c.call("Inspect", cell=cell["id"])["cell"]["cpuUs"])
    asked += 1
fresh = (time.monotonic() - began) * 10 + 2
true(asked > 4 * fresh and len(seen) <= fresh, "%d asked, %d different, at most %d" % (asked, len(seen), fresh))
true(len(seen) > 2, "it is read again")
true(reads() - before < asked, "%d reads for %d" % (reads() - before, asked))
a.result()
END
	daemon_stop
}

test_streams_of_figures_are_bounded_for_each_user() {
	daemon_start
	steps <<'END'
c.deploy("echo")
c.invoke("echo", "x")
streams = [Client() for i in range(8)]
for s in streams:
    s.send("Stats", more=True, everyMs=100)
    s.recv()
e = c.fails("CapacityExhausted", "Stats", more=True)
true("figures" in e["resource"], e)
true(c.call("Stats")["stats"]["cells"], "one answer is no stream")
as_user(20001, lambda a: [a.send("Stats", more=True), a.recv()])
streams[0].close()
def again():
    a = Client()
    a.send("Stats", more=True)
    return "continues" in a.recv()
until(again, "one more is possible")
END
	daemon_stop
}
run_tests
