#!/usr/bin/python3
"""Runtimes beside the bare interpreter: cold start, restore, warm call. Prints Markdown; asserts nothing.

    python3 tests/bench/runtimes.py BUILD ROUNDS

Of each contestant the time from its start to the first byte of its answer is taken, in turns: the bare interpreter runs a
script with the same imports that prints at its end. Interpreters take their time to end as well, which fsbox does not wait for;
that would not be measured fairly either way.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BUILD, ROUNDS = os.path.abspath(sys.argv[1]), int(sys.argv[2])
FSBOX = os.path.join(BUILD, "fsbox")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WARM = 60  # events of one run; the first five are left out
MEMORY = "1769"  # a whole CPU, as the bare interpreter has

PYTHON_IMPORTS = "import json, ssl, asyncio, urllib.request\n"
NODE_IMPORTS = 'require("http"); require("crypto");\n'


def first_byte(argv):
    begin = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        got = p.stdout.read(1)
        end = time.monotonic()
        p.stdout.read()
    if p.returncode != 0 or not got:
        raise SystemExit("failed (status %d): %s" % (p.returncode, " ".join(argv)))
    return (end - begin) * 1e3


def alternate(contestants):
    times = {name: [] for name in contestants}
    for argv in contestants.values():
        first_byte(argv)  # a snapshot is made, caches are filled
    for _ in range(ROUNDS):
        for name, argv in contestants.items():
            times[name].append(first_byte(argv))
    return times


def warm(argv):
    words = argv + ["--event", '{"a":1}'] * WARM
    log = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    return [float(ms) * 1e3 for ms in re.findall(r"\tDuration: ([0-9.]+) ms", log)[5:]]


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def main():
    d = tempfile.mkdtemp(prefix="fsbox-bench-runtimes.")
    os.chmod(d, 0o755)
    os.environ["XDG_STATE_HOME"] = d
    try:
        measure(d)
    finally:
        shutil.rmtree(d)


def measure(d):
    can_snapshot = os.geteuid() == 0 and os.path.isdir(os.path.join(SOURCE, "build", "criu"))
    run = [FSBOX, "run", "--mem", MEMORY]
    cases = []
    if os.access("/usr/bin/python3", os.X_OK):
        bare = write(d + "/bare.py", PYTHON_IMPORTS + 'print("x")\n')
        app = write(d + "/app.py", PYTHON_IMPORTS + "def handler(event, context): return event\n")
        cases.append(("Python", ["/usr/bin/python3", bare], app, 120))
    if os.access("/usr/bin/node", os.X_OK):
        bare = write(d + "/bare.cjs", NODE_IMPORTS + 'console.log("x")\n')
        app = write(d + "/app.cjs", NODE_IMPORTS + "exports.handler = async event => event\n")
        cases.append(("Node", ["/usr/bin/node", bare], app, 150))
    print("| | bare interpreter | cold start | restored | cold − bare (at most 2.5) | restored / cold (Python: at most 0.5) |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, bare, app, _ in cases:
        contestants = {"bare": bare, "cold": run + [app]}
        if can_snapshot:
            contestants["restored"] = run + ["--snapshot=require", app]
        t = alternate(contestants)
        m = {k: statistics.median(v) for k, v in t.items()}
        cells = ["%.1f / %.1f" % (m[k], p95(t[k])) if k in t else "–" for k in ("bare", "cold", "restored")]
        ratio = "%.2f" % (m["restored"] / m["cold"]) if can_snapshot else "–"
        print("| %s, median / p95 in ms | %s | %.1f | %s |" % (name, " | ".join(cells), m["cold"] - m["bare"], ratio))
    print()
    calls = [("native", os.path.join(BUILD, "tests/functions/echo.so"), None)]
    calls += [(name, app, limit) for name, _, app, limit in cases]
    boot = d + "/bootstrap"
    header = os.path.join(SOURCE, "tests/functions/plain_bootstrap.h")
    if subprocess.run(["cc", "-O2", "-static", "-include", header, "-x", "c", "/dev/null", "-o", boot]).returncode == 0:
        calls.append(("Runtime API, a program in C", boot, None))
    cpp = os.path.join(SOURCE, "build/clients/cpp/bootstrap")
    if os.path.exists(cpp):
        calls.append(("Runtime API, aws-lambda-cpp", cpp, 250))
    print("| warm call, us | median | at most |")
    print("|---|--:|--:|")
    for name, target, limit in calls:
        values = warm(run + [target])
        print("| %s | %.0f | %s |" % (name, statistics.median(values), limit or ""))


main()
