#!/usr/bin/python3
"""fsboxd under load: warm calls beside their floor, calls/s, cold starts, restores, clones, a thousand cells, overload.
Prints Markdown.

    python3 tests/bench/daemon.py BUILD ROUNDS [SECTION...]     sections: warm bodies rate frames many cold restores clones overload

Asserts nothing: times belong to a machine. Needs root. What is measured by whom stands in daemon.c and daemon_starts.c; this
starts the daemons, each with its own socket and state, and ends them. BENCH_CELLS (1000), BENCH_SECONDS (10) of a row of cold
starts, restores and overload, BENCH_CLONES (32) of one fork. Snapshots need the CRIU of the build.
"""

import atexit
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD, ROUNDS = os.path.abspath(sys.argv[1]), int(sys.argv[2])
CLONES = int(os.environ.get("BENCH_CLONES", "32"))
CELLS, SECONDS = int(os.environ.get("BENCH_CELLS", "1000")), int(os.environ.get("BENCH_SECONDS", "10"))
FSBOX = os.path.join(BUILD, "fsbox")
LOAD, STARTS, FRAMES = (os.path.join(BUILD, "tests/bench", p) for p in ("daemon", "daemon_starts", "daemon_frames"))
ECHO, BUSY, WAIT, TOUCHED = (os.path.join(BUILD, "tests/functions", f) for f in ("echo.so", "busy.so", "stream.so", "touched.so"))
OUT, BACK = 95, 288  # bytes of a call without a body, and of its answer
ROOM = ["--memory", "100000000", "--cpu-overcommit", "100"]  # the daemon's own limits are not what is looked for


class Daemon:
    def __init__(self, parent, *args):
        self.dir = tempfile.mkdtemp(dir=parent)
        os.chmod(self.dir, 0o755)
        self.path = os.path.join(self.dir, "s")
        self.log = open(os.path.join(self.dir, "log"), "wb")
        words = [FSBOX, "serve", "--socket", self.path, "--user", "65534", "--group", "0", "--state", self.dir + "/state", *args]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=dict(os.environ, XDG_STATE_HOME=self.dir))  # for its own snapshots
        atexit.register(self.end)  # also when the benchmark fails
        self.socket = None
        self.socket = self.connect()

    def connect(self):
        for _ in range(200):
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.path)
                return s
            except OSError:
                s.close()
                time.sleep(0.05)
        with open(self.log.name) as f:
            raise SystemExit("fsboxd did not start:\n" + f.read())

    def call(self, method, more=False, **parameters):
        """The answers' parameters: one, or with @more a list."""
        call = {"method": "org.fsbox.Sandbox." + method, "parameters": parameters}
        if more:
            call["more"] = True
        self.socket.sendall(json.dumps(call).encode() + b"\0")
        text, answers = b"", []
        while True:
            while b"\0" not in text:
                text += self.socket.recv(65536) or sys.exit("fsboxd hung up")
            one, text = text.split(b"\0", 1)
            answer = json.loads(one)
            if "error" in answer:
                raise SystemExit("%s: %s" % (method, answer))
            answers.append(answer["parameters"])
            if not answer.get("continues"):
                return answers if more else answers[0]

    def deploy(self, name, target, memory=1769, env=(), **more):
        spec = {"target": target, "mem": memory, "env": list(env)}
        self.call("Deploy", name=name, spec=spec, **more)

    def restores(self):
        return "snapshot" in self.call("Describe")["features"]

    def function(self, name):
        return self.call("Functions", more=True, name=name)[0]["function"]

    def pids(self):
        """fsbox-spawn, fsboxd and the cells' processes."""
        children = {}
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % p) as f:
                    children.setdefault(int(f.read().rpartition(")")[2].split()[1]), []).append(int(p))
            except OSError:
                pass
        found = [self.process.pid]
        for p in found:
            found += children.get(p, [])
        return found

    def end(self):
        atexit.unregister(self.end)
        if self.socket:
            self.socket.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            print("a daemon did not end in 60 s")
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def load(program, *words):
    done = subprocess.run([program, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("%s failed: %d" % (os.path.basename(program), done.returncode))
    return [json.loads(line) for line in done.stdout.splitlines()]


def invoke(daemon, bytes_=2, kind="invoke", conns=1, function="echo"):
    return "%s,%d,%s,%s,%d" % (kind, conns, daemon.path, function, bytes_)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def latencies(rounds, calls, contestants):
    """Rows: name, p50, p99, and the ratios to the contestant that stands before the row as (name, spec, floor)."""
    got = {r["name"]: r for r in load(LOAD, "latency", rounds, calls, *("%s=%s" % (n, s) for n, s, _ in contestants))}
    rows = []
    for name, _, floor in contestants:
        r, f = got[name], got[floor or name]
        rows.append((name, r["p50"], r["p99"], "%.2f" % (r["p50"] / f["p50"]), "%.2f" % (r["p99"] / f["p99"])))
    return rows


WARM_HEAD = ("µs", "p50", "p99", "p50 / floor", "p99 / floor")


def on_cpus(cpus, what, *args):
    """All processes that are started in it stay on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return what(*args)
    finally:
        os.sched_setaffinity(0, before)


def warm_once(parent):
    thawed, frozen = Daemon(parent, *ROOM, "--no-freeze"), Daemon(parent, *ROOM)
    for d in (thawed, frozen):
        d.deploy("echo", ECHO)
    floor = "floor,1,%d,%d" % (OUT, BACK)
    rows = latencies(max(ROUNDS // 4, 3), 500, [("floor", floor, None), ("no freezing", invoke(thawed), "floor"),
                                                ("freezing", invoke(frozen), "floor")])
    # So long that the cell is frozen before each call.
    rows += latencies(max(ROUNDS // 6, 3), 10, [("floor, 40 ms apart", "floor+40000" + floor[5:], None),
                                                ("no freezing, 40 ms apart", invoke(thawed, kind="invoke+40000"), "floor, 40 ms apart"),
                                                ("frozen, 40 ms apart", invoke(frozen, kind="invoke+40000"), "floor, 40 ms apart")])
    for d in (thawed, frozen):
        d.end()
    return rows


def one_cpu(what, *args):
    return on_cpus({max(os.sched_getaffinity(0))}, what, *args)


def warm(parent):
    print("Warm calls of echo.so, 2 bytes, one connection, all processes on one CPU:\n")
    table(WARM_HEAD, one_cpu(warm_once, parent))
    print("The same where the kernel puts them:\n")
    table(WARM_HEAD, warm_once(parent))


def bodies_once(parent):
    d = Daemon(parent, *ROOM)
    d.deploy("echo", ECHO)
    rows = []
    for size, name in ((1 << 10, "1 KB"), (64 << 10, "64 KB"), (1 << 20, "1 MB")):
        floor = "floor " + name
        inline = [(name + " inline", invoke(d, size), floor)] if size <= 64 << 10 else []  # more does not go there
        rows += latencies(max(ROUNDS // 4, 3), 40 if size < 1 << 20 else 10, [
            (floor, "floor,1,%d,%d" % (OUT + size, BACK + size), None),
            *inline,
            (name + " memfd, answerFd", invoke(d, size, "memfd"), floor)])
    d.end()
    return rows


def bodies(parent):
    print("Bodies there and back, call after call, on one CPU; the floor hands all bytes through both sockets:\n")
    table(WARM_HEAD, one_cpu(bodies_once, parent))


def rate_once(parent):
    thawed, frozen = Daemon(parent, *ROOM, "--no-freeze"), Daemon(parent, *ROOM)
    for d in (thawed, frozen):
        d.deploy("echo", ECHO)
    rows = []
    for conns in (1, 8, 64):
        for d in (thawed, frozen):  # so that the cells are there whose processes are named
            load(LOAD, "rate", 10, 1, "warm=" + invoke(d, conns=conns))
        pids = ["," + "+".join(map(str, d.pids())) for d in (thawed, frozen)]
        r = load(LOAD, "rate", 100, max(ROUNDS // 3, 3), "floor=floor,%d,%d,%d" % (conns, OUT, BACK),
                 "thawed=" + invoke(thawed, conns=conns) + pids[0], "frozen=" + invoke(frozen, conns=conns) + pids[1])
        for what in ("perSecond", "perCpuSecond"):
            floor, *both = (x[what] for x in r)
            rows.append(("%d, %s" % (conns, "calls/s" if what == "perSecond" else "calls for a second of CPU"), floor,
                         *("%d (%d %%)" % (x, 100 * x / floor) for x in both)))
    for d in (thawed, frozen):
        d.end()
    return rows


def rate(parent):
    head = ("connections", "floor", "no freezing (of the floor)", "freezing")
    print("Each connection one call after the other, as many cells as connections; the floor has as many workers. The CPU time is "
          "that of all who take part, which others on the machine disturb less. On one CPU:\n")
    table(head, one_cpu(rate_once, parent))
    print("Where the kernel puts them:\n")
    table(head, rate_once(parent))


def frames(parent):
    """The same calls in each form in which a body can travel: load() is of messages, memfds, frames, streams."""
    d = Daemon(parent, *ROOM)
    d.deploy("echo", ECHO, memory=1769)
    rows = []
    for size, name, at_once in ((2, "2 B", 1), (2, "2 B", 8), (2, "2 B", 64), (1024, "1 KB", 1), (65536, "64 KB", 1), (1 << 20, "1 MB", 1),
                                (1 << 20, "1 MB", 8)):
        found = load(FRAMES, d.path, "echo", size, at_once, 150, max(ROUNDS // 2, 4))
        rows.append((name, at_once, *("%.0f" % r["perSecond"] for r in found), "%.2f" % (found[2]["perSecond"] / found[0]["perSecond"]),
                     "%.2f" % (found[3]["perSecond"] / found[0]["perSecond"])))
    print("Calls/s with a body there and back: in messages, as memfds, over frames on as many connections, as streams of one:\n")
    table(("body", "at once", "messages", "memfd", "frames", "streams", "frames / messages", "streams / messages"), rows)
    d.end()


def mem_available():
    with open("/proc/meminfo") as f:
        return int(re.search(r"MemAvailable:\s+(\d+)", f.read()).group(1))


def pss(pids):
    total = 0
    for p in pids:
        try:
            with open("/proc/%d/smaps_rollup" % p) as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


def many(parent):
    one, d = Daemon(parent, *ROOM), Daemon(parent, *ROOM, "--max-cells", str(CELLS + 8))
    for x in (one, d):
        x.deploy("echo", ECHO)
        x.call("Invoke", function="echo")
    pss_before, available = pss(d.pids()), mem_available()
    begin = time.monotonic()
    d.deploy("many", ECHO, memory=128, provisioned=CELLS)
    idle, since = 0, begin
    while idle < CELLS and time.monotonic() - since < 60:
        time.sleep(0.05)
        now = d.function("many")["idle"]
        since = time.monotonic() if now > idle else since
        idle = max(now, idle)
    seconds = time.monotonic() - begin
    if idle < CELLS:
        print("only %d of %d cells came to be; soft limit of open files %d, hard %d" % (
            idle, CELLS, *resource.getrlimit(resource.RLIMIT_NOFILE)))
    time.sleep(3)
    pids = d.pids()
    used, available = pss(pids) - pss_before, available - mem_available()
    print("%d cells past their init after %.2f s (%.0f/s). An idle cell: %.2f MiB less MemAvailable, PSS %.2f MiB, "
          "of fsboxd and fsbox-spawn together %.1f MiB in all.\n" % (
              idle, seconds, idle / seconds, available / 1024 / max(idle, 1), used / 1024 / max(idle, 1), pss(pids[:2]) / 1024))
    # On one CPU: where they may be on two, a call takes 15 or 70 µs by where its processes happen to be, with any number of cells.
    for pid in pids + one.pids():
        os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
    print("Warm calls with one cell present and with %d, call after call, on one CPU:\n" % (idle + 1))
    table(("µs", "p50", "p99", "p50 / one", "p99 / one"), one_cpu(latencies, max(ROUNDS // 4, 3), 500, [
        ("one cell", invoke(one), None), ("%d cells" % (idle + 1), invoke(d), "one cell")]))
    begin = time.monotonic()
    for x in (one, d):
        x.end()
    print("All gone after %.1f s.\n" % (time.monotonic() - begin))


def cold(parent):
    rows = []
    for conns in (1, 2, 4, 8):
        d = Daemon(parent, *ROOM)
        d.deploy("echo", ECHO)
        r = load(STARTS, "cold", d.path, "echo", conns, SECONDS * 1000)[0]
        rows.append((conns, "%.0f" % r["perSecond"], "%.1f" % (r["p50"] / 1e3), "%.1f" % (r["p99"] / 1e3), r["refused"]))
        d.end()
        time.sleep(2)
    print("Cold starts, Acquire and Release without reuse, for %d s:\n" % SECONDS)
    table(("connections", "starts/s", "p50 ms", "p99 ms", "refused"), rows)
    d = Daemon(parent, *ROOM)
    d.deploy("echo", ECHO)
    r = load(STARTS, "burst", d.path, "echo", 100)[0]
    print("100 at once: the last after %.0f ms (%.0f/s), half of them after %.0f ms; refused %d.\n" % (
        r["max"] / 1e3, r["n"] / r["max"] * 1e6, r["p50"] / 1e3, r["refused"]))
    d.end()


def starts(d, function, conns):
    """Acquire and Release without reuse, one after the other: a row, and how many of them were no restores."""
    before = d.function(function)["coldStarts"]
    r = load(STARTS, "cold", d.path, function, conns, SECONDS * 1000)[0]
    row = (conns, "%.0f" % r["perSecond"], "%.1f" % (r["p50"] / 1e3), "%.1f" % (r["p99"] / 1e3), r["refused"])
    return row, d.function(function)["coldStarts"] - before


def restores(parent):
    d = Daemon(parent, *ROOM)
    if not d.restores():
        print("no CRIU: no restores\n")
        d.end()
        return
    for name, env in ("echo", ()), ("slow", ("MB=1", "SLEEP_MS=100")):
        d.deploy(name, TOUCHED if env else ECHO, env=env)
        d.deploy(name + "-snap", TOUCHED if env else ECHO, env=env)
        d.call("Snapshot", function=name + "-snap")
    rows = []
    for conns in (1, 2, 4, 8):
        row, cold_ones = starts(d, "echo-snap", conns)
        rows.append(row + (cold_ones,))
    print("Restores of echo.so's snapshot, Acquire and Release without reuse, for %d s:\n" % SECONDS)
    table(("connections", "starts/s", "p50 ms", "p99 ms", "refused", "not restored"), rows)
    rows = []
    for name, what in (("echo", "echo.so"), ("slow", "touched.so: 1 MB, an init of 100 ms")):
        for kind, function in ("cold", name), ("restored", name + "-snap"):
            row, cold_ones = starts(d, function, 1)
            rows.append((what, kind) + row[1:4])
            if kind == "restored" and cold_ones:
                print("%d of these were cold starts" % cold_ones)
    print("The same start, cold and restored, one after the other:\n")
    table(("function", "", "starts/s", "p50 ms", "p99 ms"), rows)
    d.end()


def clones(parent):
    """What a clone costs of a function that holds 64 MB, beside a cell of it that was started cold."""
    rows = []
    for kind in "cold", "restored":
        d = Daemon(parent, *ROOM, "--max-cells", str(CLONES + 8))
        if not d.restores():
            print("no CRIU: no clones\n")
            d.end()
            return
        d.deploy("held", TOUCHED, memory=256, env=("MB=64",))
        if kind == "restored":
            d.call("Snapshot", function="held")
        time.sleep(1)
        before, available, begin = pss(d.pids()), mem_available(), time.monotonic()
        if kind == "restored":
            d.call("Fork", function="held", cells=CLONES)
        else:
            d.call("Scale", name="held", provisioned=CLONES)
            while d.function("held")["idle"] < CLONES:
                time.sleep(0.02)
        took = time.monotonic() - begin
        time.sleep(2)
        rows.append((kind, CLONES, "%.0f" % (took * 1e3), "%.1f" % ((available - mem_available()) / 1024 / CLONES),
                     "%.1f" % ((pss(d.pids()) - before) / 1024 / CLONES)))
        d.end()
    print("Cells of touched.so with 64 MB of its own, none called yet; restored: one Fork:\n")
    table(("", "cells", "all there after ms", "MiB less MemAvailable each", "PSS MiB each"), rows)


def offered(d, function, cells, event):
    """Rows: one after the other; as many at a time as there are cells; three times what that has shown to be possible."""
    load(STARTS, "offer", d.path, function, 2 * cells, 1000, 0, event)
    alone = load(STARTS, "offer", d.path, function, 1, SECONDS * 1000, 0, event)[0]
    full = load(STARTS, "offer", d.path, function, cells, SECONDS * 1000, 0, event)[0]
    over = load(STARTS, "offer", d.path, function, 200, SECONDS * 1000, 3 * full["perSecond"], event)[0]
    return [(name, "%.0f" % (r["offered"] / SECONDS), "%.0f" % r["perSecond"], r["refused"], "%.2f" % (r["p50"] / 1e3),
             "%.2f" % (r["p99"] / 1e3), "%.2f" % (r["p50"] / alone["p50"]), "%.2f" % (r["p99"] / alone["p99"]))
            for name, r in (("unloaded", alone), ("full", full), ("3 × full", over))]


def overload(parent):
    head = ("", "offered/s", "admitted/s", "refused", "p50 ms", "p99 ms", "p50 / unloaded", "p99 / unloaded")
    d = Daemon(parent)  # with its own limits: shares of cells that run add up to the CPUs there are
    d.deploy("wait", WAIT, memory=128, maxCells=8)
    print("Unloaded: one call after the other; full: as many at a time as cells. Calls that wait 50 ms, 8 cells:\n")
    table(head, offered(d, "wait", 8, "slow1"))
    d.deploy("busy", BUSY, memory=1769, maxCells=os.cpu_count())
    print("Calls that compute for 5 ms, %d cells:\n" % os.cpu_count())
    table(head, offered(d, "busy", os.cpu_count(), "5"))
    d.end()


def busy(parent):
    """A call now and then where other programs compute: how soon fsboxd has the processor."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for i in range(os.cpu_count() + 1)]
    d = Daemon(parent)
    try:
        d.deploy("echo", ECHO, memory=1769)
        times, ends = [], time.monotonic() + 8
        while time.monotonic() < ends:
            begin = time.perf_counter()
            d.call("Invoke", function="echo", event={"text": "x"})
            times.append((time.perf_counter() - begin) * 1e6)
            time.sleep(0.004)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        d.end()
    times.sort()
    print("A call every 4 ms beside %d programs that compute:\n" % len(loops))
    table(("calls", "p50 us", "p90 us", "p99 us"),
          [(len(times),) + tuple("%.0f" % times[int(len(times) * q)] for q in (0.5, 0.9, 0.99))])


def main():
    sections = {"warm": warm, "bodies": bodies, "rate": rate, "frames": frames, "many": many, "cold": cold, "restores": restores,
                "clones": clones, "overload": overload, "busy": busy}
    if os.geteuid() != 0:
        raise SystemExit("the daemon's benchmark needs root: cells with limits")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through atexit, which ends the daemons
    print("fsboxd: %d CPUs, Linux %s, load average %.1f before\n" % (os.cpu_count(), os.uname().release, os.getloadavg()[0]))
    # On the file system of the build, as a daemon's state is on a disk.
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bench.") as parent:
        os.chmod(parent, 0o755)
        for name in sys.argv[3:] or sections:
            sections[name](parent)


main()
