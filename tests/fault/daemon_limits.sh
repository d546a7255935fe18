#!/bin/sh
# The kernel takes long to reclaim what is above cells' new limits: no user has all the places of those that are waited for.
# Uses build/fault/fsbox (make VARIANT=fault), whose process that writes such a limit stops; see sandbox/spawn/limits.c.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
case $FSBOX_BUILD in
*/fault) ;;
*) FSBOX=$FSBOX_BUILD/fault/fsbox ;;
esac
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

test_a_user_waits_for_four_reclaims_and_others_have_their_own() {
	[ -x "$FSBOX" ] || skip "no $FSBOX: make VARIANT=fault"
	export FSBOX_FAULT=reclaim
	daemon_start
	unset FSBOX_FAULT
	steps <<'END'
def refused(b):
    try:
        b.result()
        raise AssertionError("the kernel has reclaimed")
    except Error as e:
        eq(e.name, "Busy")
def leases(c, n):
    c.deploy("echo", mem=128)
    return [c.call("Acquire", function="echo")["cell"] for i in range(n)]
def lower(cell):
    b = Client()
    b.send("Update", cell=cell, memoryMb=64)
    return b
cells = leases(c, 6)
waiting = [lower(cell) for cell in cells[:4]]
true(all(w.is_quiet() for w in waiting), "the kernel reclaims")
for cell in cells[4:]:
    b = lower(cell)
    true(not b.is_quiet(5), "it does not wait for the others") # whose time are ten seconds
    refused(b)
    c.call("Update", cell=cell, memoryMb=256) # more takes no time
    c.call("Update", cell=cell, pids=40)
def other(c):
    true(lower(leases(c, 1)[0]).is_quiet(), "another user's")
as_user(1234, other)
for w in waiting:
    refused(w)
true(lower(cells[4]).is_quiet(), "there is room again")
END
	daemon_stop
}
run_tests "$@"
