#!/bin/sh
# Functions beyond the life of the daemon that was told of them: kept in the store, and what fsbox-spawn hands over.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"

# Copies of the row of `echo`, one for each number: SQL says what is different in them.
copies() { # FIRST LAST NAME-PREFIX SPEC-EXPRESSION DIGEST-EXPRESSION
	python3 -c '
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
first, last, name, spec, digest = sys.argv[2:]
db.execute("""WITH RECURSIVE n(i) AS (SELECT CAST(? AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO function (owner, gid, groups, name, digest, spec, path, provisioned, reserved, max_cells, created_ms, snapshot)
    SELECT owner, gid, groups, ? || i, %s, %s, path, provisioned, reserved, max_cells, created_ms, snapshot
    FROM n, function WHERE name = "echo" """ % (digest, spec), (int(first), int(last), name))
db.commit()' "$T/state/functions.db" "$@"
}

rows() { # CONDITION
	python3 -c '
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM function WHERE " + sys.argv[2]).fetchone()[0])' \
		"$T/state/functions.db" "$1"
}

test_thousands_that_cannot_come_back_keep_nobody_from_it() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	# Refused at once, one after the other; then two whose files are others now; then one as it was.
	copies 1 20000 bad "replace(spec, '{', '{\"tmp-dir\":\"/tmp\",')" digest
	copies 1 2 changed spec "'00000000000000000000000000000000'"
	copies 1 1 last spec digest
	daemon_begin
	steps <<-'END'
		until(lambda: {f["name"] for f in c.functions()} == {"echo", "last1"}, "what can come back", 60)
		eq(body(c.invoke("last1", "hi")), "hi")
		first = c.fails("Lost", "Subscribe", more=True, since=1)["firstAvailable"]
		for e in c.more("Subscribe", since=first):
		    if e["event"]["function"] == "changed2":
		        true(e["event"]["kind"] == "undeployed" and "have changed" in e["event"]["detail"], e)
		        break
	END
	daemon_stop
	# What may be better the next time stays, what cannot goes.
	check_eq "$(rows "name LIKE 'bad%'")" 20000
	check_eq "$(rows "name LIKE 'changed%'")" 0
	check_eq "$(rows "name LIKE 'last%'")" 1
}

test_what_is_undeployed_while_it_comes_back_does_not_come() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	copies 1 3000 f spec digest
	daemon_begin
	steps <<-'END'
		names = ["echo"] + ["f%d" % i for i in range(1, 3001)]
		# Each of them is there, on its way, or stands in the store: some of them on their way.
		eq([c.call("Undeploy", name=name)["existed"] for name in names], [True] * len(names))
		until(lambda: c.fails("NotFound", "Scale", name="f3000"), "the end of reading")
		time.sleep(1) # what a child has begun to look at
		eq(c.functions(), [])
		# And a Deploy that nobody has heard of yet.
		with Client() as a:
		    a.send("Deploy", name="slow", spec={"target": os.environ["FUNCTIONS"] + "/echo.so"})
		    until(lambda: c.call("Undeploy", name="slow")["existed"], "the deployment")
		    try:
		        a.result()
		    except Error as e:
		        eq(e.name, "Cancelled")
		eq(c.functions(), [])
	END
	daemon_stop
	check_eq "$(rows 1)" 0
}

test_what_waits_is_for_the_new_one_when_there_is_no_room_yet() {
	daemon_start --max-cells 1
	steps <<-'END'
		c.deploy("f", "remaining", timeout=20)
		a, b = Client(), Client()
		a.send("Invoke", function="f", event={"text": "1500"})
		until(lambda: c.cells("f") and c.cells("f")[0]["state"] == "busy", "the first call")
		b.send("Invoke", function="f", event={"text": "1"})
		until(lambda: c.call("Capacity")["queued"] == 1, "the second one")
		c.deploy("f", "echo", replace=True)
		eq(a.result()["status"], "success")
		new = b.result()
		eq((new["status"], body(new)), ("success", "1"))
	END
	daemon_stop
}

run_tests
