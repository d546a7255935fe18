#!/bin/sh
# Cells as adversaries of fsboxd: what they write, flood, close, fork and leave behind costs themselves something and nobody
# else. Another user's warm cell is called all the while.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# A bystander that calls without a pause, in a thread.
BESIDE='
class Beside:
    def __init__(self):
        self.other, self.failed, self.stop, self.longest, self.calls = Bystander(), [], False, 0, 0
    def run(self):
        try:
            while not self.stop:
                began = time.monotonic()
                self.other.is_undisturbed()
                self.longest = max(self.longest, time.monotonic() - began)
                self.calls += 1
                time.sleep(0.002)
        except BaseException as e:
            self.failed.append(e)
    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
    def __exit__(self, *failure):
        self.stop = True
        self.thread.join()
        if self.failed:
            raise self.failed[0]
        print("the bystander: %d calls, the longest %.0f ms" % (self.calls, self.longest * 1e3))
        if failure[0] is None:
            true(self.calls > 10, "it was called")
            true(self.longest < 3 * slower, "its calls go on: %f" % self.longest)
            self.other.holds_no_more()
slower = int(os.environ.get("FSBOX_SLOWER", "1"))
beside = Beside()
def gone(cell):
    return until(lambda: cell not in [x["id"] for x in c.cells()], "its cell is gone", 30)
'

tell_bystander() {
	grep '^the bystander' "$T/said" | sed 's/^/# /'
}

test_whatever_a_cell_sends_its_call_ends_and_nobody_elses() {
	daemon_start
	steps <<END
$BESIDE
# function, event, what may come of it, and whether the cell is there afterwards
attacks = [
    ("flood_channel", "0", "Runtime.ProtocolError", False),
    ("flood_channel", "1", "Runtime.ProtocolError", False),
    ("flood_channel", "100", "Runtime.ProtocolError", False),
    ("flood_frames", "", "Function.ResponseSizeTooLarge", False),
    ("forge_frames", "ready", "Runtime.ProtocolError", False),
    ("forge_frames", "other-call", "Runtime.ProtocolError", False),
    ("forge_frames", "huge", "Runtime.ProtocolError", False),
    ("forge_frames", "host-type", "Runtime.ProtocolError", False),
    ("forge_frames", "half", "Sandbox.Timedout", False),
    ("forge_exit", "", None, False),
    ("forge_exit", "exit", None, False),
    ("close_channel", "", None, False),
    ("close_channel", "hang", None, False),
    ("nonblock_channel", "", None, False),
    ("sleep_forever", "", "Sandbox.Timedout", False),
    ("big_answer", "6291456", "", True),
    ("big_answer", "6291457", None, None),
    ("big_answer", "60000000 ignore", None, None),
    ("freezes", "", "", True),
    ("freezes", "stop", "Sandbox.Timedout", False),
    ("fork_bomb", "", "Sandbox.Timedout", False),
    ("fork_return", "", None, None),
    ("double_fork", "", "", True),
    ("double_fork", "hang", "Sandbox.Timedout", False),
    ("memory_bomb", "", "Runtime.OutOfMemory", False),
    ("fill_tmp", "", None, None),
    ("exit0", "", None, False),
    ("crash_segv", "", None, False),
    ("attack_init", "", None, None),
]
for name in sorted({a[0] for a in attacks}):
    c.deploy(name, mem=128, timeout=1.5 * slower, pids=64)
with beside:
    for name, event, wanted, stays in attacks:
        r = c.invoke(name, event or "x")
        kind = r.get("errorType", "")
        print("%s(%s): %s %s" % (name, event, r["status"], kind))
        true((r["status"] == "success") == (kind == ""), r)
        if wanted is not None:
            eq(kind, wanted, "%s(%s)" % (name, event))
        if stays is False:
            true(r["status"] != "success", r)
            gone(r["cell"])
        if stays:
            true(r["cell"] in [x["id"] for x in c.cells()], "%s(%s): its cell stays" % (name, event))
        true(len(str(r.get("errorMessage", ""))) < 10000, "a message of bounded length")
    for name in sorted({a[0] for a in attacks}):
        c.call("Undeploy", name=name)
    until(lambda: {x["function"] for x in c.cells()} == {"bystander"}, "all of them are gone", 30)
END
	tell_bystander
	daemon_stop
}

test_what_a_cell_does_between_calls_costs_it_its_life_at_most() {
	daemon_start --no-freeze # frozen it could do nothing
	steps <<END
$BESIDE
c.deploy("late", timeout=5 * slower)
with beside:
    for what in "junk", "done":
        r = c.invoke("late", "300 " + what)
        eq((r["status"], r["payload"]), ("success", {"text": "answered"}))
        gone(r["cell"])
        again = c.invoke("late", "60000")
        eq((again["startKind"], again["status"], again["payload"]), ("cold", "success", {"text": "answered"}))
        c.call("Remove", cell=again["cell"])
        gone(again["cell"])
    # Forged last words are none: nothing may follow the real ones, and something does.
    r = c.invoke("late", "50 exit")
    eq(r["status"], "success")
    time.sleep(0.3)
    eq(c.cell(r["cell"])["state"], "idle")
    n = c.invoke("late", "60000")
    eq((n["status"], n["cell"], n["payload"]), ("success", r["cell"], {"text": "answered"}))
    c.call("Kill", cell=n["cell"])
    # An answer before its call is noticed, or comes with the call: it is the function's own word in any case, for its own
    # call, and the one after it is right again.
    for i in range(10):
        c.invoke("late", "0 done")
        n = c.invoke("late", "60000")
        true(n["status"] != "success" or n["payload"]["text"] in ("answered", "forged"), n)
        # Where the machine is busy it may be one call later that hears of it.
        until(lambda: c.invoke("late", "60000").get("payload") == {"text": "answered"}, "the next ones are right again")
        for x in c.cells("late"):
            c.call("Kill", cell=x["id"])
    # What is printed between calls is the cell's, and of no invocation; the next call's log has its own.
    r = c.invoke("late", "50 print")
    time.sleep(0.3)
    chunks = [x["chunk"] for x in c.more("Logs", function="late") if "chunk" in x]
    late = [x for x in chunks if x["cell"] == r["cell"] and "late" in x["text"]]
    true(late and not [x for x in late if "invocation" in x], late[-1:])
    c.call("Kill", cell=r["cell"])
    # A flood between calls is bounded where it is kept, and the cell is idle all the same.
    r = c.invoke("late", "0 flood")
    time.sleep(1)
    eq(c.cell(r["cell"])["state"], "idle")
    rss = rss_kb(beside.other.pids[0])
    time.sleep(1)
    true(rss_kb(beside.other.pids[0]) - rss < 16 << 10, "memory is bounded: %d KiB more" % (rss_kb(beside.other.pids[0]) - rss))
    eq(c.call("Kill", cell=r["cell"]), {"existed": True})
    gone(r["cell"])
    c.call("Undeploy", name="late")
    until(lambda: {x["function"] for x in c.cells()} == {"bystander"}, "all of them are gone", 30)
END
	tell_bystander
	daemon_stop
}

test_twenty_floods_at_once_take_memory_and_time_of_nobody_else() {
	daemon_start --cpu-overcommit 10
	steps <<END
$BESIDE
names = {"log_flood": "100000", "flood_channel": "0", "flood_frames": "", "fork_bomb": ""}
for name in names:
    c.deploy(name, mem=128, timeout=4 * slower, pids=64)
with beside:
    before = rss_kb(beside.other.pids[0])
    clients = []
    for i in range(20):
        name = sorted(names)[i % 4]
        a = Client()
        a.send("Invoke", function=name, event={"text": names[name] or "x"}, logs=True)
        clients.append(a)
    most, ends = 0, time.monotonic() + 3 * slower
    while time.monotonic() < ends:
        most = max(most, rss_kb(beside.other.pids[0]) - before)
        time.sleep(0.1)
    for a in clients:
        try:
            r = a.result()
            true(r["status"] != "success" or r["payload"] is not None, r)
            true(len(r.get("log", "")) <= 4096, "the end of its log")
        except Error as e:
            true(e.name in ("Busy", "CapacityExhausted"), e)
        a.close()
    print("the bystander: twenty floods took %d KiB of fsboxd" % most)
    true(most < 160 << 10, most)
    for name in names:
        c.call("Undeploy", name=name)
    until(lambda: {x["function"] for x in c.cells()} == {"bystander"}, "all of them are gone", 30)
END
	tell_bystander
	daemon_stop
}
run_tests "$@"
