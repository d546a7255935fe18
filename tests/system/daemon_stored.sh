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

test_a_list_of_functions_waits_for_those_that_come_back() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	copies 1 800 f spec digest # more than come back while a client starts
	# From the first answer on, not when all is there.
	"$DAEMON_PROGRAM" serve --user "$DAEMON_USER" --group "$DAEMON_USER" --state "$T/state" >>"$T/daemon" 2>&1 </dev/null &
	DAEMON=$!
	steps_without <<-'END'
		def first():
		    try:
		        return Client()
		    except OSError:
		        return None
		c, a = until(first, "a connection"), Client()
		a.send("Functions", more=True)
		a.close() # who does not wait for it takes nothing along
		names = sorted(f["name"] for f in c.functions())
		eq(len(names), 801)
		eq(names, sorted(["echo"] + ["f%d" % i for i in range(1, 801)]))
	END
	daemon_stop
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

test_who_cannot_start_leaves_what_there_is_to_the_next_one() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	echo '{"rules":[{"admin":true,"policies":"*"}]}' >"$T/policy.json"
	daemon_start --policy-file "$T/policy.json"
	steps <<-'END'
		def restart(breaks, mends):
		    """fsboxd dies, and finds something broken for a while: the cell and its count are there afterwards."""
		    old = pid_of("fsboxd")
		    breaks()
		    os.kill(old, signal.SIGKILL)
		    begun = os.stat(T + "/daemon").st_size
		    def tried():
		        with open(T + "/daemon") as f:
		            f.seek(begun)
		            return f.read().count("ended with status") >= 2
		    until(tried, "two that fail")
		    mends()
		    until(lambda: Client().call("Capacity")["cells"] == 1, "the cell")
		    return Client().invoke("counter")
		c.deploy("counter")
		first = c.invoke("counter")
		policy, store, busy = T + "/policy.json", T + "/state/functions.db", T + "/state/busy"
		def write(text):
		    with open(policy, "w") as f:
		        f.write(text)
		with open(policy) as f:
		    good = f.read()
		n = 1
		for breaks, mends in ((lambda: write("{"), lambda: write(good)),
		                      (lambda: os.chmod(store, 0), lambda: os.chmod(store, 0o600)),
		                      (lambda: os.chmod(busy, 0), lambda: os.chmod(busy, 0o600))):
		    again = restart(breaks, mends)
		    n += 1
		    eq((again["cell"], again["startKind"], body(again)), (first["cell"], "warm", str(n)))
	END
	daemon_stop 'fsboxd.*(ended|was ended)|policy.json|kept functions|/state/busy'
}

test_a_policys_file_is_not_opened_again() {
	daemon_start
	steps <<-'END'
		# One that begins after init, in a file that only root can read at last, and that is no file any more.
		p = T + "/after.json"
		with open(p, "w") as f:
		    f.write("""{"defaultAction": "SCMP_ACT_ALLOW", "fsbox": {"stage": "runtime"},
		        "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}""")
		c.deploy("after_strict", policy=p)
		first = c.invoke("after_strict", "socket")
		eq(body(first), "errno 95")
		def restart():
		    os.kill(pid_of("fsboxd"), signal.SIGKILL)
		    until(lambda: Client().call("Describe"), "the next fsboxd")
		os.chmod(p, 0o600)
		restart()
		eq(Client().invoke("after_strict", "socket")["cell"], first["cell"])
		os.unlink(p)
		os.mkfifo(p, 0o666)
		restart()
		eq(Client().invoke("after_strict", "socket")["cell"], first["cell"])
		# The filter holds in a new cell as in the first one.
		Client().call("Kill", cell=first["cell"])
		again = until(lambda: Client().invoke("after_strict", "socket"), "an answer")
		eq((again["startKind"], body(again)), ("cold", body(first)))
	END
	daemon_stop 'fsboxd.*was ended'
}

# fsboxd, which runs $T/hook first, as its own user: what happens to the file while nobody has it.
hooked_fsboxd() {
	printf '#!/bin/sh\n[ ! -x "%s" ] || "%s" >/dev/null 2>&1\nexec "%s/fsboxd" "$@"\n' "$T/hook" "$T/hook" "${FSBOX%/*}" >"$T/fsboxd"
	chmod 755 "$T/fsboxd"
	DAEMON_FSBOXD=$T/fsboxd
}

# Steps for the next ones.
damage='
def sql(text):
    """What the next fsboxd finds done."""
    with open(T + "/hook", "w") as f:
        f.write("""#!/usr/bin/python3
import sqlite3
db = sqlite3.connect("%s/state/functions.db")
db.execute(%r)
db.commit()
""" % (T, text))
    os.chmod(T + "/hook", 0o755)
def restart():
    os.kill(pid_of("fsboxd"), signal.SIGKILL)
    until(lambda: Client().call("Describe"), "the next fsboxd")
    return Client()
def is_told_of(c, name):
    first = c.fails("Lost", "Subscribe", more=True, since=1)["firstAvailable"]
    for e in Client().more("Subscribe", since=first):
        e = e["event"]
        if e["function"] == name and e["kind"] == "undeployed":
            true(e["status"] == "SystemFailure" and "damaged" in e["detail"], e)
            return
def is_broken(c, name):
    for method, more in ("Invoke", {"function": name}), ("Acquire", {"function": name}), ("Scale", {"name": name}), ("Snapshot", {"function": name}):
        e = c.fails("SystemFailure", method, **more)
        true(e["stage"] == "store" and "damaged" in e["reason"], e)
'

test_what_cannot_be_read_is_told_and_comes_back_when_it_can() {
	hooked_fsboxd
	daemon_start
	{
		echo "$damage"
		cat <<-'END'
			c.deploy("echo")
			# From a descriptor that nobody could open again.
			fd = os.open(os.environ["FUNCTIONS"] + "/counter.so", os.O_RDONLY)
			c.call("Deploy", [fd], name="counter", spec={"target": "counter.so", "mem": 128}, codeFd=0)
			eq(body(c.invoke("counter")), "1")
			sql("UPDATE function SET spec = 'x' || spec WHERE name = 'counter'")
			c = restart()
			is_told_of(c, "counter")
			is_broken(c, "counter")
			eq(c.fails("NotFound", "Invoke", function="nobody")["what"], "function")
			eq(body(c.invoke("echo", "hi")), "hi")
			os.unlink(T + "/hook")
			c = restart()
			is_broken(c, "counter")  # and what fsbox-spawn has is kept
			sql("UPDATE function SET spec = substr(spec, 2) WHERE name = 'counter'")
			c = restart()
			r = c.invoke("counter")
			eq((r["startKind"], body(r)), ("cold", "1"))
			# Undeployed, or replaced, while it cannot be read.
			sql("UPDATE function SET spec = 'x' || spec WHERE name = 'counter'")
			c = restart()
			is_broken(c, "counter")
			c.deploy("counter", "echo")
			eq(body(c.invoke("counter", "new")), "new")
			c = restart()  # which damages the new one
			is_broken(c, "counter")
			eq(c.call("Undeploy", name="counter")["existed"], True)
			eq(c.fails("NotFound", "Invoke", function="counter")["what"], "function")
		END
	} | steps
	daemon_stop 'fsboxd.*was ended|kept functions'
	check_eq "$(rows 1)" 1
}

test_a_damaged_row_is_told_at_the_start_and_stays() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	copies 1 1 bad "'x' || spec" digest
	copies 1 2 good spec digest
	copies 2 2 bad "'x' || spec" digest
	daemon_begin
	{
		echo "$damage"
		cat <<-'END'
			until(lambda: {f["name"] for f in c.functions()} == {"echo", "good1", "good2"}, "what can come back", 60)
			for name in "bad1", "bad2":
			    is_told_of(c, name)
			    is_broken(c, name)
			c.fails("NotFound", "Invoke", function="bad3")
			# A copy is repaired and put into the place of the file that fsboxd has.
			import shutil, sqlite3
			for end in "", "-wal":
			    if os.path.exists(T + "/state/functions.db" + end):
			        shutil.copy(T + "/state/functions.db" + end, T + "/state/new.db" + end)
			db = sqlite3.connect(T + "/state/new.db")
			db.execute("UPDATE function SET spec = substr(spec, 2) WHERE name LIKE 'bad%'")
			db.commit()
			db.close()
			as_before = os.stat(T + "/state/functions.db")
			os.chown(T + "/state/new.db", as_before.st_uid, as_before.st_gid)
			os.rename(T + "/state/new.db", T + "/state/functions.db")
			until(lambda: {f["name"] for f in c.functions()} == {"echo", "good1", "good2", "bad1", "bad2"}, "what was repaired", 90)
			eq(body(c.invoke("bad2", "hi")), "hi")
		END
	} | steps
	daemon_stop 'kept functions'
	check_eq "$(rows "name LIKE 'bad%'")" 2
	check_eq "$(rows 1)" 5
}

test_a_file_that_is_damaged_is_tried_again() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	mv "$T/state/functions.db" "$T/state/whole.db"
	head -c 8192 /dev/urandom >"$T/state/functions.db"
	chown "$DAEMON_USER" "$T/state/functions.db"
	daemon_begin
	{
		echo "$damage"
		cat <<-'END'
			e = c.fails("SystemFailure", "Invoke", function="echo")
			true(e["stage"] == "store" and "damaged" in e["reason"], e)
			c.deploy("counter")
			eq(body(c.invoke("counter")), "1")
			os.rename(T + "/state/whole.db", T + "/state/functions.db")
			until(lambda: {f["name"] for f in c.functions()} == {"echo", "counter"}, "what stood in it", 60)
			eq(body(c.invoke("echo", "hi")), "hi")
		END
	} | steps
	daemon_stop 'kept functions'
	check_eq "$(rows 1)" 2 # what was deployed meanwhile, too
}

test_what_is_undeployed_while_the_file_cannot_be_opened_stays_away() {
	daemon_start
	steps <<-'END'
		for name in "echo", "counter", "env":
		    c.deploy(name)
	END
	daemon_end
	mv "$T/state/functions.db" "$T/state/whole.db"
	head -c 8192 /dev/urandom >"$T/state/functions.db"
	chown "$DAEMON_USER" "$T/state/functions.db"
	daemon_begin
	steps <<-'END'
		def refused(name):
		    e = c.fails("SystemFailure", "Undeploy", name=name)
		    true(e["stage"] == "store" and "damaged" in e["reason"], e)
		    return e
		c.deploy("echo")
		c.deploy("env")
		c.invoke("echo", "x")
		# It ends all the same, and whoever asks again is not told yes either.
		true("undeploy it again" in refused("echo")["hint"], "what may happen is told")
		c.fails("NotFound", "Invoke", function="echo")
		until(lambda: c.cells("echo") == [], "the end of its cells")
		refused("echo")
		refused("env")
		c.deploy("env", "counter") # again, as something else
		# Of what this fsboxd does not know nobody can say.
		refused("counter")
		refused("nobody")
		os.rename(T + "/state/whole.db", T + "/state/functions.db")
		until(lambda: {f["name"] for f in c.functions()} == {"counter", "env"}, "what stood in it", 60)
		c.fails("NotFound", "Invoke", function="echo")
		eq(body(c.invoke("env", "x")), "1")
		eq(c.call("Undeploy", name="echo")["existed"], False)
		eq(c.call("Undeploy", name="counter")["existed"], True)
	END
	daemon_stop 'kept functions'
	check_eq "$(rows 1)" 1
	check_eq "$(rows "name = 'env' AND spec LIKE '%counter.so%'")" 1
}

test_a_disk_that_fails_in_the_middle_of_reading_is_read_on_later() {
	daemon_start
	steps <<-'END'
		c.deploy("echo")
	END
	daemon_end
	copies 1 600 f spec digest
	# Larger than what SQLite keeps of it in memory.
	python3 -c '
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE function SET groups = zeroblob(8000) WHERE name LIKE ?", ("f%",))
db.commit()' "$T/state/functions.db"
	faults_prepare
	daemon_begin
	steps <<-'END'
		faults = Faults(T + "/faults")
		def is_back(name): # Functions waits for all of them
		    try:
		        return c.invoke(name, "x")["status"] == "success"
		    except Error:
		        return False
		until(lambda: is_back("f10"), "the first ones")
		faults.set(faults.READ_CODE, 5) # EIO
		until(lambda: faults.get(faults.UNREAD) > 0, "reading")
		e = c.fails("SystemFailure", "Invoke", function="f600")
		true(e["stage"] == "store" and "error" in e["reason"], e)
		n = len(c.functions())
		true(10 < n < 590, n)
		eq(body(c.invoke("echo", "hi")), "hi")
		time.sleep(3) # it is tried again meanwhile
		c.deploy("new", "counter")
		eq(body(c.invoke("new", "x")), "1")
		c.fails("SystemFailure", "Invoke", function="f600")
		faults.set(faults.READ_CODE, 0)
		until(lambda: len(c.functions()) == 602, "all of them", 90)
		eq(body(c.invoke("f600", "hi")), "hi")
	END
	daemon_stop 'kept functions'
	check_eq "$(rows 1)" 602
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

test_no_owner_takes_all_the_room_for_functions() {
	need_daemon
	chmod 755 "$TAP_DIR" "$T"
	echo '{"rules":[{"uid":0,"admin":true},{"uid":20001,"maxFunctions":3}]}' >"$T/policy.json"
	daemon_start --policy-file "$T/policy.json"
	steps <<-'END'
		def fill(a):
		    eq(a.call("Describe")["limits"]["maxFunctions"], 3)
		    for name in "abc":
		        a.deploy(name, "echo")
		    eq(a.fails("CapacityExhausted", "Deploy", name="d", spec={"target": os.environ["FUNCTIONS"] + "/echo.so"})["resource"],
		       "functions of this user")
		    a.deploy("c", "remaining", replace=True, timeout=20)
		    a.call("Undeploy", name="a")
		    a.deploy("d", "echo")
		    # What was replaced counts as long as something of it runs.
		    with Client() as b:
		        b.send("Invoke", function="c", event={"text": "1000"})
		        until(lambda: a.cells("c") and a.cells("c")[0]["state"] == "busy", "the call")
		        a.deploy("c", "counter", replace=True)
		        a.fails("CapacityExhausted", "Deploy", name="d", replace=True, spec={"target": os.environ["FUNCTIONS"] + "/counter.so"})
		        b.result()
		    until(lambda: not a.cells("c"), "the end of the old one")
		    a.deploy("d", "counter", replace=True)
		as_user(20001, fill)
		c.deploy("echo")
	END
	daemon_end
	# Rows that cannot come back are its own, too.
	copies 1 3 e "replace(spec, '{', '{\"tmp-dir\":\"/tmp\",')" digest
	python3 -c '
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("DELETE FROM function WHERE owner = 20001")
db.execute("UPDATE function SET owner = 20001, gid = 20001 WHERE name LIKE ?", ("e_",))
db.commit()' "$T/state/functions.db"
	daemon_begin --policy-file "$T/policy.json"
	steps <<-'END'
		def refill(a):
		    eq(a.functions(), [])
		    a.fails("CapacityExhausted", "Deploy", name="a", spec={"target": os.environ["FUNCTIONS"] + "/echo.so"})
		    eq(a.call("Undeploy", name="e1")["existed"], True)
		    a.deploy("a", "echo")
		as_user(20001, refill)
	END
	daemon_stop
}

run_tests "$@"
