#!/bin/sh
# Results that fsboxd keeps for who asks again with the same id: how many bytes of them, and what is left of them afterwards.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# large(client, size, id): an event of this size to echo, and back.
RESULTS='
fsboxd = pid_of("fsboxd")
def status_kb(what):
    with open("/proc/%d/status" % fsboxd) as f:
        return [int(line.split()[1]) for line in f if line.startswith(what + ":")][0]
def large(a, size, id, function="echo"):
    fd = memfd(bytes(size))
    r = a.call("Invoke", [fd], function=function, event={"fd": 0}, answerFd=True, invocation=id)
    os.close(fd)
    while a.fds:
        os.close(a.fds.pop())
    return r
MOST = 6291456
'

test_kept_results_take_bounded_memory_of_each_user() {
	daemon_start
	steps <<END
$RESULTS
c.deploy("echo", timeout=30)
c.deploy("counter", timeout=30)
def other(o):
    o.deploy("counter")
    o.invoke("counter", invocation="mine")
as_user(4800, other)
large(c, MOST, "first")
before = status_kb("RssAnon")
for i in range(30):
    large(c, MOST, "n%d" % i)
grown = status_kb("RssAnon") - before
true(grown < (64 + 24) * 1024, "fsboxd has grown by %d KiB" % grown)
calls = {f["name"]: f["calls"] for f in c.functions()}
kept = []
for i in range(30):
    try:
        large(c, 1, "n%d" % i)
        kept.append(i)
    except Error as e:
        eq((e.name, e.parameters), ("NotFound", {"what": "invocation", "id": "n%d" % i}))
eq(kept, list(range(30 - len(kept), 30)), "the newest ones")
true(8 <= len(kept) <= 10, kept)
eq({f["name"]: f["calls"] for f in c.functions()}, calls, "and none has run again")
as_user(4800, lambda o: eq(body(o.invoke("counter", invocation="mine")), "1"))
eq(c.call("Describe")["limits"]["keptBytes"], 64 << 20)
END
	daemon_stop
}

test_an_event_goes_with_the_end_of_its_call() {
	daemon_start
	steps <<END
$RESULTS
c.deploy("counter", timeout=30)
large(c, MOST, "first", "counter")
before = status_kb("RssShmem") + status_kb("RssAnon")
for i in range(20):
    large(c, MOST, "n%d" % i, "counter")
grown = status_kb("RssShmem") + status_kb("RssAnon") - before
true(grown < 24 * 1024, "fsboxd has grown by %d KiB" % grown)
eq(large(c, 1, "n0", "counter")["status"], "success", "its result is there")
END
	daemon_stop
}

test_the_memory_of_results_is_given_back() {
	daemon_start
	steps <<END
$RESULTS
c.deploy("echo", timeout=30)
before = status_kb("RssAnon")
for i in range(80): # small ones among them, which lie behind them in the heap
    large(c, 700000, "large%d" % i)
    c.invoke("echo", "x", invocation="among%d" % i)
grown = status_kb("RssAnon") - before
true(grown > 40 * 1024, "they are kept: %d KiB" % grown)
for i in range(1100): # the oldest ones go when there are more than 1,024
    c.invoke("echo", "x", invocation="small%d" % i)
eq(c.fails("NotFound", "Invoke", function="echo", invocation="large79")["what"], "invocation")
until(lambda: status_kb("RssAnon") - before < 16 * 1024, "the memory is given back", 20)
eq(body(c.invoke("echo", "y", invocation="small1099")), "x")
END
	daemon_stop
}
run_tests "$@"
