#!/usr/bin/env python3
"""Scales a function that somebody has deployed in fsboxd: keeps as many cells ready as its calls need, between two bounds.

    autoscaler.py NAME [--min N] [--max N] [--spare N] [--every S] [--calm S] [--socket FILE]

What is needed at a moment is the largest of: calls that run, wait, or were refused since the last look; and calls per
second times the 99th percentile of their duration (Little's law: so many run at once when all are slow). It goes up at
once, as far as the daemon has room, and down to the most that was needed in the last --calm seconds. Written from
docs/protocol.md alone; it looks when Subscribe tells that a call has ended or a cell came or went, and every --every
seconds. One line on standard output for each change."""
import argparse
import collections
import math
import select
import sys
import time

import fsboxd

PAUSE_S = 0.1  # between two looks, however many events come


class Scaler:
    def __init__(self, args):
        self.args = args
        self.needs = collections.deque()  # (time, cells)
        self.last = None                  # (time, calls, rejected)
        self.cursor = None                # of the last event that was seen

    def connect(self):
        self.calls = fsboxd.Client(self.args.socket)
        self.events = fsboxd.Client(self.args.socket)
        about = self.calls.call("Describe")
        if about["apiLevel"] < 1:
            sys.exit("this fsboxd is too old")
        self.uid = about["uid"]
        since = {} if self.cursor is None else {"since": self.cursor}
        self.events.send("Subscribe", more=True, **since)

    def function(self):
        """Ours: an administrator is told of everybody's, and names are each user's own."""
        for answer in self.calls.each("Functions", name=self.args.name):
            f = answer.get("function")
            if f and f["owner"] == self.uid:
                return f
        return None

    def need(self, f, now):
        then, calls, rejected = self.last or (now, f["calls"], f["rejected"])
        if f["calls"] < calls or f["rejected"] < rejected:  # it was deployed anew, or fsboxd has begun to count again
            then, calls, rejected = now, f["calls"], f["rejected"]
        self.last = (now, f["calls"], f["rejected"])
        need = f["busy"] + f["queued"] + f["rejected"] - rejected
        if now > then:
            need = max(need, math.ceil((f["calls"] - calls) / (now - then) * f["p99Us"] / 1e6))
        return need

    def room(self, f):
        """So many cells it can have: those that are there, and what the daemon still has for us."""
        free = self.calls.call("Capacity")
        memory = f["spec"].get("mem", 128)
        return f["cells"] + max(0, min(free["maxCells"] - free["cells"], free["memoryFreeMb"] // int(memory)))

    def look(self):
        now, f = time.monotonic(), self.function()
        if f is None:
            self.last = None
            return
        self.needs.append((now, self.need(f, now)))
        while self.needs[0][0] < now - self.args.calm:
            self.needs.popleft()
        wanted = max(cells for _, cells in self.needs) + self.args.spare
        wanted = min(max(wanted, self.args.min), self.args.max)
        if wanted > f["provisioned"]:
            wanted = max(f["provisioned"], min(wanted, self.room(f)))
        if wanted != f["provisioned"]:
            self.calls.call("Scale", name=self.args.name, provisioned=wanted)
            print(f"{self.args.name}: {f['provisioned']} -> {wanted} (busy {f['busy']}, queued {f['queued']}, "
                  f"rejected {f['rejected']}, p99 {f['p99Us'] / 1000:.1f} ms)", flush=True)

    def wait(self):
        """Until something has happened to the function, or it is time."""
        end = time.monotonic() + self.args.every
        while b"\0" in self.events.data or select.select([self.events], [], [], max(0, end - time.monotonic()))[0]:
            event = self.events.receive()[0]["event"]
            self.cursor = event["cursor"] or self.cursor
            if event["cursor"] and event["function"] == self.args.name and event["owner"] == self.uid:
                time.sleep(PAUSE_S)
                return

    def run(self):
        pause = 0.1
        while True:
            try:
                self.connect()
                pause = 0.1
                while True:
                    self.look()
                    self.wait()
            except fsboxd.Error as e:
                if e.name in ("Lost", "SlowConsumer"):
                    self.cursor = None  # what happened meanwhile shows in the figures
                elif e.name != "NotFound":  # undeployed between two calls
                    sys.exit(f"autoscaler: {e}")
            except OSError as e:  # fsboxd is being started again, or is not there
                print(f"{self.args.name}: {e}; trying again", file=sys.stderr, flush=True)
            self.calls.close()
            self.events.close()
            time.sleep(pause)
            pause = min(2 * pause, 5)


def main():
    p = argparse.ArgumentParser(description="keeps as many cells of a function ready as its calls need")
    p.add_argument("name")
    p.add_argument("--min", type=int, default=0, help="cells that are always kept (default 0)")
    p.add_argument("--max", type=int, default=8, help="and no more than these (default 8)")
    p.add_argument("--spare", type=int, default=0, help="more than are needed (default 0)")
    p.add_argument("--every", type=float, default=1, help="seconds between two looks when nothing happens (default 1)")
    p.add_argument("--calm", type=float, default=30, help="seconds before it goes down (default 30)")
    p.add_argument("--socket", help="fsboxd's socket")
    args = p.parse_args()
    try:
        Scaler(args).run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
