#!/bin/sh
# docs/protocol.md: every example on the page is sent to a daemon, and what comes back is what the page says; the page's
# tables and text are those of the daemon.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"
PAGE=$FSBOX_SRC/docs/protocol.md

test_every_example_is_answered_as_the_page_says() {
	XDG_STATE_HOME=$T/own # no snapshot is there before
	export XDG_STATE_HOME
	daemon_start
	run python3 "$FSBOX_SRC/tests/lib/protocol_examples.py" "$PAGE" "$FSBOX_SOCKET" "$EXAMPLES"
	check_eq "$status" 0
	daemon_stop
}

test_every_method_has_an_example() {
	"$FSBOX_BUILD/tools/genprotocol" --text | sed -n 's/^method \([A-Za-z]*\).*/\1/p' >"$T/names"
	check [ "$(wc -l <"$T/names")" -gt 15 ]
	while read -r name; do
		grep -q "^    > .*Sandbox\.$name\"" "$PAGE" || fail "no example of $name"
	done <"$T/names"
}

test_a_page_that_is_wrong_is_noticed() {
	daemon_start
	sed 's/"created":false/"created":true/; s/"apiLevel":1,/"apiLevel":1,"more":2,/' "$PAGE" >"$T/page"
	run python3 "$FSBOX_SRC/tests/lib/protocol_examples.py" "$T/page" "$FSBOX_SOCKET" "$EXAMPLES"
	check_eq "$status" 1
	check_contains "$T/out" 'answer.parameters.created is False'
	check_contains "$T/out" 'answer.parameters.more is missing'
	daemon_stop
}

test_the_client_on_the_page_works() {
	daemon_start
	sed -n '/^    import json, socket/,/^## /p' "$PAGE" | sed '/^## /d; s/^    //' >"$T/client.py"
	cat >>"$T/client.py" <<-END
		client = Client("$FSBOX_SOCKET")
		print(list(client.call("Deploy", name="hello", spec={"target": "$EXAMPLES/hello.so"}))[0]["created"])
		print(list(client.call("Invoke", function="hello", event={"json": {"name": "eve"}}))[0]["payload"])
		print(len(list(client.call("List", more=True))))
	END
	run python3 "$T/client.py"
	check_eq "$(cat "$T/out")" "True
{'json': {'message': 'Hello, eve!'}}
1"
	daemon_stop
}

test_the_pages_tables_are_the_daemons() {
	[ -x "$FSBOX_BUILD/tools/genprotocol" ] || skip "build/tools/genprotocol is not built"
	check "$FSBOX_BUILD/tools/genprotocol" --check "$PAGE"
	check "$FSBOX_BUILD/tools/genprotocol" --text >"$T/text"
	daemon_start
	steps <<-'END'
		text = c.call("org.varlink.service.GetInterfaceDescription", interface="org.fsbox.Sandbox")["description"]
		eq(text, open(T + "/text").read())
	END
	daemon_stop
}

test_errors_are_of_the_kind_that_says_what_to_do() {
	echo '{"rules":[{"uid":0,"roots":["'"$EXAMPLES"'"],"policies":["default"],"memoryMb":1000}]}' >"$T/policy"
	chmod 644 "$T/policy"
	daemon_start --policy-file "$T/policy" --memory 1000
	steps "$EXAMPLES" <<-'END'
		examples = sys.argv[1]
		spec = {"target": examples + "/hello.so"}
		e = c.fails("NotFound", "Deploy", name="f", spec={"target": "/no/such/file"})
		eq(e, {"what": "file", "id": "/no/such/file"})
		e = c.fails("Denied", "Deploy", name="f", spec={"target": "/usr/bin/env"})
		eq(e["rule"], "rules[0]")
		e = c.fails("Denied", "Deploy", name="f", spec={"target": examples + "/hello.so", "policy": "none"})
		eq(e["rule"], "rules[0]")
		e = c.fails("InvalidSpec", "Deploy", name="f", spec={"target": "hello.so"})
		c.call("Deploy", name="f", spec=spec)
		c.invoke("f")
		cell = c.cells("f")[0]["id"]
		e = c.fails("CapacityExhausted", "Update", cell=cell, memoryMb=2000)
		eq(e["resource"], "memory")
		c.fails("org.varlink.service.InvalidParameter", "Update", cell=cell, memoryMb=1)
		c.fails("org.varlink.service.ExpectedMore", "List")
		c.fails("org.varlink.service.MethodNotFound", "Upgrade")
	END
	daemon_stop
}
run_tests
