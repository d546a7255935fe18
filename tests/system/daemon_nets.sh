#!/bin/sh
# Network namespaces that fsbox-spawn has made ahead: each cell has one for itself, as it would have made it.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_each_cell_is_alone_in_its_network_namespace() {
	[ -e "/proc/$$/task/$$/children" ] || skip "this kernel does not tell of children"
	daemon_start
	DAEMON=$DAEMON steps <<'END'
import subprocess
def children():
    with open("/proc/%s/task/%s/children" % (os.environ["DAEMON"], os.environ["DAEMON"])) as f:
        return f.read().split()
def makers():
    """Children that execute what fsbox-spawn does."""
    def program(pid):
        try:
            return os.stat("/proc/%s/exe" % pid)
        except OSError:
            return None
    own = program(os.environ["DAEMON"])
    found = []
    for pid in children():
        of = program(pid)
        if of and (of.st_dev, of.st_ino) == (own.st_dev, own.st_ino):
            found.append(pid)
    return found
def seen(lease):
    return json.loads(body(c.call("Invoke", lease=lease, event={"text": "{}"})))
eq(makers(), [], "nobody has wanted one yet")
c.deploy("up", "inspect", net="loopback")
c.deploy("down", "inspect", net="none")
for name in ("up", "down"):
    c.invoke(name)
until(lambda: len(makers()) == 1, "one process makes them")
host = os.readlink("/proc/self/ns/net")
leases, all_of_them = {}, []
for i in range(10):  # more than are kept ready
    for name in ("up", "down"):
        lease = c.call("Acquire", function=name)["lease"]
        leases[lease] = seen(lease)
        s = leases[lease]
        eq(s["interfaces"], ["lo"], name)
        flags = [a for a in s["addresses"] if a]
        all_of_them.append((name, json.dumps(flags)))
nets = [s["namespaces"]["net"] for s in leases.values()]
eq(len(set(nets)), 20, "each has its own")
true(host not in nets, "and none the host's")
eq(len(set(all_of_them)), 2, "the two kinds differ, and those of a kind are alike: %s" % set(all_of_them))
# By a namespace that the child has made itself, as `fsbox run` has it.
for name, net in (("up", "loopback"), ("down", "none")):
    run = subprocess.run([os.environ["FSBOX"], "run", "--net", net, os.environ["FUNCTIONS"] + "/inspect.so"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    alone = json.loads(run.stdout.decode())
    eq((name, json.dumps([a for a in alone["addresses"] if a])) in all_of_them, True, "%s: as `fsbox run` has it" % name)
for lease in leases:
    c.call("Release", lease=lease, reuse=False)
until(lambda: not makers(), "it ends when nobody wants more", 30)
c.invoke("up")
until(lambda: len(makers()) == 1, "and is started again")
END
	daemon_stop
}

run_tests
