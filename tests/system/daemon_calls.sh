# fsboxd's calls as clients have them: what comes back, in which forms, from which cell, and what becomes of the cell.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cell.sh"
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
run_tests "$@"
