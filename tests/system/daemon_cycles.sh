#!/bin/sh
# That nothing adds up: functions that come and go by the hundred, and everything at once by several clients. `make soak` is the
# same with FSBOX_CYCLES=10000 and FSBOX_MIX_SECONDS=600. time-limit: 2400
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_cycles_of_deploy_invoke_undeploy_add_nothing() {
	daemon_start
	steps "${FSBOX_CYCLES:-300}" <<'END'
cycles = int(sys.argv[1])
other = Bystander()
pids = other.pids
specs = [("echo", {}), ("counter", {"env": ["A=" + "x" * 2000]}), ("fail", {}), ("log_lines", {"mem": 256}), ("crash_segv", {"net": "none"}),
         ("echo", {"policy": "strict"})]
def cycle(i):
    name, spec = specs[i % len(specs)]
    f = "f%d" % (i % 10)
    c.deploy(f, name, **spec)
    r = c.invoke(f, "1")
    eq(r["status"], "failure" if name in ("fail", "crash_segv") else "success")
    if i % 5 == 0: # its result is kept
        c.invoke(f, "2", invocation="i%d" % i)
    if i % 7 == 0: # in another order
        c.call("Remove", cell=r["cell"])
    eq(c.call("Undeploy", name=f), {"existed": True})
def settled():
    until(lambda: {x["function"] for x in c.cells()} == {"bystander"}, "only the bystander's is left", 30)
    other.holds_no_more()
    return [rss_kb(pid) for pid in pids]
began, looks = time.monotonic(), []
for part in range(4):
    for i in range(part * cycles // 4, (part + 1) * cycles // 4):
        cycle(i)
    looks.append(settled())
took = time.monotonic() - began
print("cycles: %d in %.0f s, memory in KiB of fsboxd %s, of fsbox-spawn %s" % (
    cycles, took, [l[0] for l in looks], [l[1] for l in looks]))
# Events, output and results are kept, and each has its bound; it is reached after some thousand cycles. From the middle on: a leak of
# 50 bytes in each cycle would show in ten thousand, one of 4 KiB in three hundred.
for k, name in enumerate(("fsboxd", "fsbox-spawn")):
    true(looks[3][k] - looks[1][k] <= 512 + cycles // 2, "%s grows: %s" % (name, looks))
END
	grep '^cycles' "$T/said" | sed 's/^/# /'
	daemon_stop
}

test_everything_at_once_leaves_nothing() {
	daemon_start --max-cells 60
	steps "${FSBOX_MIX_SECONDS:-8}" <<'END'
import random, socket
seconds = float(sys.argv[1])
other = Bystander()
pids = other.pids
F = os.environ["FUNCTIONS"]
names = {"echo": "hello", "counter": "", "fail": "", "crash_segv": "", "log_lines": "3", "stream": "20", "remaining": "30", "big_answer": "300000",
         "sleep_forever": "", "memory_bomb": "", "init_fail": "", "exit0": "", "hooks": "", "init_slow": "", "double_fork": ""}
known = {"Busy", "CapacityExhausted", "NotFound", "AlreadyExists", "DeadlineExceeded", "Cancelled", "SlowConsumer", "Lost", "Unsupported"}
counts, failures = {}, []
ends = time.monotonic() + seconds
def count(what):
    counts[what] = counts.get(what, 0) + 1
def one(dice, a):
    name = dice.choice(sorted(names))
    f = name if dice.random() < 0.8 else "%s-%d" % (name, dice.randrange(3))
    event = {"text": names[name] or "{}"}
    what = dice.randrange(20)
    if what == 0:
        a.deploy(f, name, mem=64, timeout=0.5, replace=dice.random() < 0.5, provisioned=dice.randrange(3) // 2, maxCells=dice.randrange(4) * 3)
    elif what == 1:
        a.call("Undeploy", name=f)
    elif what == 2:
        cells = a.cells()
        if cells:
            cell = dice.choice(cells)
            if cell["function"] != "bystander":
                a.call(dice.choice(["Kill", "Remove", "Pause", "Resume", "Inspect"]), cell=cell["id"])
    elif what == 3:
        cells = [x for x in a.cells(f)]
        if cells:
            a.call("Update", cell=dice.choice(cells)["id"], memoryMb=dice.choice([64, 96, 128]))
    elif what == 4:
        lease = a.call("Acquire", function=f, waitMs=200, leaseMs=dice.choice([50, 5000]))
        for i in range(dice.randrange(3)):
            a.call("Invoke", lease=lease["lease"], event=event)
        if dice.random() < 0.7:
            a.call("Release", lease=lease["lease"], reuse=dice.random() < 0.5)
    elif what == 5:
        with Client() as b: # gone in the middle
            b.send("Invoke", function=f, event=event, cancelOnClose=dice.random() < 0.5, stream=True, more=True)
            time.sleep(dice.random() * 0.02)
    elif what == 6:
        n = "mix%d" % dice.randrange(50)
        with Client() as b:
            b.send("Invoke", function=f, event=event, invocation=n)
            time.sleep(dice.random() * 0.005)
            a.call("Cancel", invocation=n)
            b.result()
    elif what == 7:
        with Client(rcvbuf=2048) as b:
            b.send(dice.choice(["Subscribe", "Logs", "Stats"]), more=True)
            time.sleep(dice.random() * 0.05)
    elif what == 8:
        with Client() as b:
            b.send_bytes(bytes(dice.randrange(256) for i in range(dice.randrange(200))))
    elif what == 9:
        list(a.more(dice.choice(["List", "Functions"])))
        a.call("Stats")
        a.call("Capacity")
    elif what == 10:
        fd = memfd(b"x" * dice.randrange(100000))
        try:
            a.call("Invoke", [fd], function="echo", event={"fd": 0}, answerFd=True)
        finally:
            os.close(fd)
            for got in a.fds:
                os.close(got)
            a.fds = []
    else:
        r = a.call("Invoke", function=f, event=event, deadlineMs=dice.choice([5, 50, 3000]), logs=dice.random() < 0.5)
        count(r["status"])
def run(seed):
    dice = random.Random(seed)
    try:
        with Client() as a:
            while time.monotonic() < ends and not failures:
                try:
                    one(dice, a)
                    count("done")
                except Error as e:
                    if e.name not in known and "init_fail" not in str(e) and "fsbox_init" not in str(e):
                        raise
                    count(e.name)
    except BaseException as e:
        import traceback
        failures.append("%s %s" % (e, traceback.format_exc()))
def clear():
    for f in c.functions():
        if f["name"] != "bystander":
            c.call("Undeploy", name=f["name"])
    try:
        until(lambda: {x["function"] for x in c.cells()} == {"bystander"}, "only the bystander's is left", 15)
    except AssertionError as e:
        raise AssertionError("%s, but %s" % (e, [x for x in c.cells() if x["function"] != "bystander"])) from e
    other.holds_no_more()
    return [rss_kb(pid) for pid in pids]
for name in names:
    c.deploy(name, mem=64, timeout=0.5)
threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
for t in threads:
    t.start()
looks = []
while any(t.is_alive() for t in threads):
    other.is_undisturbed()
    time.sleep(0.05)
    if not looks and time.monotonic() > ends - seconds / 2:
        looks.append([rss_kb(pid) for pid in pids])
for t in threads:
    t.join()
if failures:
    raise AssertionError("\n".join(failures))
looks.append(clear())
print("mix: %.0f s, %s, memory in KiB of fsboxd and fsbox-spawn in the middle %s, at the end %s" % (seconds, sorted(counts.items()), looks[0], looks[-1]))
true(counts["success"] > 10 * seconds and counts["failure"] > seconds and counts["timeout"] > 0, counts)
for k, name in enumerate(("fsboxd", "fsbox-spawn")): # the middle has all the cells, too
    true(looks[-1][k] - looks[0][k] <= 8192, "%s grows: %s" % (name, looks))
END
	grep '^mix' "$T/said" | sed 's/^/# /'
	daemon_stop
}
run_tests "$@"
