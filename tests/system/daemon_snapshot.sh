#!/bin/sh
# Cells of fsboxd that are clones: made in the background or when asked for, forked, and what happens when that fails.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

start() { # OPTION of fsbox serve...: with a store of its own
	own_store
	daemon_start "$@"
}

test_a_deployment_with_a_snapshot_serves_clones_of_it() {
	start
	make_function f 'static int n;' 'n = 41; printf("init runs\n"); fflush(stdout);' \
		'char b[32]; sprintf(b, "%d", ++n); return answer(call, b);'
	steps "$T/f.so" <<'END'
c.deploy("f", sys.argv[1], snapshot="yes")
until(lambda: c.functions()[0].get("snapshot"), "the snapshot is there")
first = c.invoke("f")
eq((first["startKind"], body(first)), ("restored", "42"))
true(first["phases"]["restoreUs"] > 0 and "initUs" not in first["phases"], first)
true(first["usage"]["billedMs"] * 1000 > first["usage"]["durationUs"], first)
second = c.invoke("f")
eq((second["startKind"], body(second), second["cell"]), ("warm", "43", first["cell"]))
eq(c.cell(first["cell"])["startKind"], "restored")
eq(c.functions()[0]["coldStarts"], 0)
c.call("Remove", cell=first["cell"])
again = c.invoke("f")
eq((again["startKind"], body(again)), ("restored", "42"))
logs = [r["chunk"] for r in c.more("Logs", function="f") if "chunk" in r]
eq([l["cell"] for l in logs if "init runs" in l["text"]], ["snapshot"])
END
	daemon_stop
	check_store
}

test_snapshot_answers_when_it_is_made_and_finds_it_afterwards() {
	start
	steps <<'END'
c.deploy("counter")
eq(c.invoke("counter")["startKind"], "cold")
made = c.call("Snapshot", function="counter")
true(made["created"] and made["bytes"] > 0 and len(made["snapshot"]) == 64, made)
eq(c.call("Snapshot", function="counter"), dict(made, created=False))
c.call("Undeploy", name="counter")
c.deploy("counter")
found = c.call("Snapshot", function="counter")
eq(found, dict(made, created=False))
c.fails("NotFound", "Snapshot", function="nobody")
END
	snapshot_status 0 ls
	daemon_stop
	check_store
}

test_fork_makes_all_clones_or_none() {
	start --memory 1280
	steps <<'END'
c.deploy("counter")
eq(c.fails("NotFound", "Fork", function="counter")["what"], "snapshot")
c.call("Snapshot", function="counter")
forked = c.call("Fork", function="counter", cells=6)["clones"]
eq(len({k["cell"] for k in forked}), 6)
eq(len({k["lease"] for k in forked}), 6)
for k in forked:
    eq(body(c.call("Invoke", lease=k["lease"])), "1")
    eq(c.cell(k["cell"])["leased"], True)
eq(body(c.call("Invoke", lease=forked[3]["lease"])), "2")
true("memory" in c.fails("CapacityExhausted", "Fork", function="counter", cells=5)["resource"], "ten have not enough room")
eq(len(c.cells()), 6)
other = Client()
other.send("Fork", function="counter", cells=4)
other.close()
until(lambda: len(c.cells()) == 6, "the clones of a client that is gone end")
for k in forked:
    c.call("Release", lease=k["lease"], reuse=False)
until(lambda: not c.cells(), "they are gone")
END
	daemon_stop
	check_store
}

test_a_lease_of_a_clone_begins_with_the_answer() {
	start
	steps <<'END'
c.deploy("counter")
c.call("Snapshot", function="counter")
for cells in (1, 8):
    clones = c.call("Fork", function="counter", cells=cells, leaseMs=1)["clones"]
    true(all(k["lease"] for k in clones), clones)
    until(lambda: not any(cell["leased"] for cell in c.cells()), "the leases are over")
# A client that goes in the middle of it, while another calls what may be free.
for n in range(10):
    other = Client()
    other.send("Fork", function="counter", cells=4, leaseMs=1)
    time.sleep(0.003 * n)
    third = Client()
    third.send("Invoke", function="counter", invocation="zz%d" % n)
    other.close()
    try:
        eq(third.result()["status"], "success")
    except Error as e:
        true(e.name.rpartition(".")[2] in ("Busy", "CapacityExhausted"), e)
    c.call("Cancel", invocation="zz%d" % n)
END
	daemon_stop
	check_store
}

test_who_has_no_room_for_a_snapshot_holds_nobody_up() {
	start --memory 700
	steps <<'END'
c.deploy("full", "counter", mem=300, provisioned=2)
c.deploy("other", "counter", mem=64)
until(lambda: len(c.cells()) == 2, "the provisioned ones are there")
waits, goes = Client(), Client()
waits.send("Snapshot", function="full")  # its cells are kept, and there is no room for a third one
time.sleep(0.2)
true(goes.call("Snapshot", function="other")["created"], "the other one is made")
true(waits.is_quiet(), "the first one waits still")
c.call("Scale", name="full", provisioned=1)
true(waits.result()["created"], "an idle cell makes room")
END
	daemon_stop
	check_store
}

test_clones_differ() {
	start
	steps <<'END'
c.deploy("seeds")
c.call("Snapshot", function="seeds")
said = []
for k in c.call("Fork", function="seeds", cells=3)["clones"]:
    said.append(body(c.call("Invoke", lease=k["lease"])))
eq(len(set(said)), 3)
END
	daemon_stop
	check_store
}

test_what_cannot_be_published_is_said_and_starts_are_cold() {
	start
	make_function bad 'int fsbox_before_snapshot(void) { return 1; }' '' 'return answer(call, "7");'
	steps "$T/bad.so" <<'END'
c.deploy("bad", sys.argv[1])
e = c.fails("SystemFailure", "Snapshot", function="bad")
true("BeforeSnapshotError" in e["reason"], e)
eq((c.invoke("bad")["startKind"], body(c.invoke("bad"))), ("cold", "7"))
c.deploy("failing", "init_fail")
e = c.fails("SystemFailure", "Snapshot", function="failing")
true("init" in e["reason"], e)
eq(c.call("Capacity")["cells"], 1)
END
	daemon_stop
	check_store
}

test_a_damaged_snapshot_is_noticed_and_a_cold_start_serves() {
	start
	steps "$store" <<'END'
c.deploy("counter")
made = c.call("Snapshot", function="counter")
eq(c.invoke("counter")["startKind"], "restored")
for cell in c.cells():
    c.call("Remove", cell=cell["id"])
# Each time that it fails it is left alone for longer.
for times in 1, 2:
    images = sys.argv[1] + "/" + made["snapshot"] + "/img"
    for name in os.listdir(images):
        if name.startswith("pages-"):
            os.truncate(images + "/" + name, 0)
    r = c.invoke("counter")
    eq((r["status"], r["startKind"], body(r)), ("success", "cold", "1"))
    true("snapshot" not in c.functions()[0], "it is not used any more")
    said = snapshot_errors(times)
    true(said[-1].endswith("; cold starts for %d s" % (10 * times)), said)
    for cell in c.cells():
        c.call("Remove", cell=cell["id"])
    made = c.call("Snapshot", function="counter")
    eq(made["created"], True)
eq(c.invoke("counter")["startKind"], "restored")
END
	daemon_stop
	snapshot_status 0 gc # the one that was replaced was in use
	check_store
}

test_a_restore_that_hangs_leaves_its_call_time_for_a_cold_start() {
	start
	steps <<'END'
c.deploy("counter")
c.call("Snapshot", function="counter")
def hang(call):
    """What @call says, while the first CRIU that comes is stopped."""
    stopped = []
    def watch():
        while not stopped:
            pid = pid_of("ld-linux-x86-64")  # which runs it
            if pid:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
    watcher = threading.Thread(target=watch)
    watcher.start()
    said = call()
    watcher.join()
    until(lambda: not os.path.exists("/proc/%d" % stopped[0]), "the one that was stopped has ended")
    return said
r = hang(lambda: c.call("Invoke", function="counter", deadlineMs=8000))
eq((r["status"], r["startKind"], body(r)), ("success", "cold", "1"))
true("in the time" in snapshot_errors(1)[0], "")
# Who has no time for both hears so in time, and what was begun ends as well.
for cell in c.cells():
    c.call("Remove", cell=cell["id"])
c.call("Snapshot", function="counter")
eq(hang(lambda: c.fails("DeadlineExceeded", "Invoke", function="counter", deadlineMs=400))["phase"], "start")
until(lambda: not c.cells(), "nothing of it is left")
# Both had less time than a restore may take: such a one counts as often as it likes, and the pause stays the same.
true(all(said.endswith("; cold starts for 10 s") for said in snapshot_errors(2)), snapshot_errors(2))
END
	daemon_stop
	check_store
}

test_a_new_fsboxd_goes_on_with_the_clones_and_finds_the_snapshot() {
	start
	steps <<'END'
c.deploy("counter", snapshot="yes")
until(lambda: c.functions()[0].get("snapshot"), "the snapshot is there")
cell = c.invoke("counter")["cell"]
c.deploy("asked", "counter", mem=64)
c.call("Snapshot", function="asked")
os.kill(pid_of("fsboxd"), signal.SIGKILL)
def answers():
    try:
        return Client()
    except OSError:
        return None
c = until(answers, "a new one answers")
until(lambda: [bool(f.get("snapshot")) for f in c.functions()] == [True] * 2, "it has found the snapshots")
eq(c.invoke("asked")["startKind"], "restored")
r = c.invoke("counter")
eq((r["cell"], r["startKind"], body(r)), (cell, "warm", "2"))
eq(c.cell(cell)["startKind"], "restored")
c.call("Remove", cell=cell)
eq(c.invoke("counter")["startKind"], "restored")
END
	daemon_stop 'SIG|signal 9|KILL'
	check_store
}

test_undeploying_ends_what_is_being_published() {
	start
	steps <<'END'
c.deploy("slow", "init_sleep")
c.deploy("counter")
other, third = Client(), Client()
other.send("Snapshot", function="slow")
time.sleep(0.5)
third.send("Snapshot", function="counter")  # waits for the first
c.call("Undeploy", name="slow")
try:
    other.result()
    raise AssertionError("a snapshot of a function that never ends its init")
except Error as e:
    eq(e.name.rpartition(".")[2], "NotFound")
true(third.result()["created"], "the next one is made")
eq(len(c.functions()), 1)
END
	daemon_stop
	check_store
}

test_the_end_of_the_daemon_ends_what_is_being_published() {
	start
	steps <<'END'
c.deploy("slow", "init_sleep")
c.send("Snapshot", function="slow")
time.sleep(0.3)
END
	daemon_stop
	check_store
}

test_nobodys_files_hold_up_the_snapshots_of_others() {
	start
	mkdir -m 755 "$T/layer"
	truncate -s 3T "$T/layer/hole"
	chmod 644 "$T/layer/hole"
	steps <<'END'
c.deploy("big", "counter", layer=[T + "/layer"])
e = c.fails("InvalidSpec", "Snapshot", function="big")
true("/hole" in e["reason"] and "more bytes" in e["reason"], e)
until(lambda: not pid_of("fsbox-publish"), "it has ended")
c.deploy("slow", "init_sleep")
c.deploy("counter")
other, third = Client(), Client()
other.send("Snapshot", function="slow")
pid = until(lambda: pid_of("fsbox-publish"), "it is being made")
os.kill(pid, signal.SIGSTOP)  # as one that hears of nothing
third.send("Snapshot", function="counter")
c.call("Undeploy", name="slow")
true(third.result()["created"], "the next one is made")
END
	daemon_stop
	check_store
}

test_fsbox_publish_does_not_outlive_fsbox_spawn() {
	start
	steps "$DAEMON" <<'END'
c.deploy("slow", "init_sleep")
c.send("Snapshot", function="slow")
pid = until(lambda: pid_of("fsbox-publish"), "it is being made")
os.kill(pid, signal.SIGSTOP)
os.kill(int(sys.argv[1]), signal.SIGKILL)
def gone():
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
until(gone, "it has ended")
END
	wait "$DAEMON" || :
	start
	daemon_stop 'fsbox-spawn is gone'
	snapshot_status 0 gc # its draft
	check_store
}

test_old_snapshots_go_when_one_is_made() {
	start
	steps "$store" <<'END'
store = sys.argv[1]
def make(name, **more):
    c.deploy(name, "counter", **more)
    return c.call("Snapshot", function=name)["snapshot"]
used, old = make("used"), make("old", env=["OLD=1"])
c.call("Undeploy", name="old")
for s in (used, old):
    long_ago = time.time() - 15 * 24 * 3600
    os.utime(store + "/" + s + "/stamp", (long_ago, long_ago))
new = make("new", env=["NEW=1"])
eq({n for n in os.listdir(store) if len(n) == 64}, {used, new})
END
	daemon_stop
	check_store
}
run_tests
