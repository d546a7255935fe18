#!/bin/sh
# Programs that speak Lambda's Runtime API, in cells: a bootstrap in bash with curl as in AWS's own tutorial, one in Python,
# packages, images, extensions, and snapshots of all that. The server without a cell: tests/unit/test_runtime_api.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

program() { # NAME below $T; from stdin, executable
	mkdir -p "$T/$(dirname "$1")"
	cat >"$T/$1"
	chmod 755 "$TAP_DIR" "$T" "$T/$(dirname "$1")" "$T/$1"
}

# Answers with what it was asked and how often; fails when asked to. Its second argument, when there is one, is asked first.
python_bootstrap() { # NAME [BEFORE-THE-LOOP]
	{
		cat <<-'END'
			#!/usr/bin/python3
			import http.client, json, os, random, sys, time
			api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
			def ask(method, path, body=None, headers={}):
			    api.request(method, "/2018-06-01/runtime/" + path, body, headers)
			    r = api.getresponse()
			    return r, r.read()
			n = 0
		END
		echo "${2-}"
		cat <<-'END'
			while True:
			    r, event = ask("GET", "invocation/next")
			    id = r.headers["Lambda-Runtime-Aws-Request-Id"]
			    n += 1
			    event = json.loads(event)
			    if event == "fail":
			        ask("POST", "invocation/%s/error" % id, json.dumps({"errorMessage": "as asked", "errorType": "Own.Type", "extra": [1]}),
			            {"Lambda-Runtime-Function-Error-Type": "Function.Asked"})
			    elif event == "exit":
			        os._exit(9)
			    elif event == "sleep":
			        time.sleep(60)
			    else:
			        ask("POST", "invocation/%s/response" % id, json.dumps({"n": n, "event": event, "random": random.random(), "argv": sys.argv[1:]}))
		END
	} | program "$1"
}

check_cold_and_warm() {
	python_bootstrap bootstrap
	cell_status 0 "$T/bootstrap" --event 1 --event '"x"'
	check_eq "$(sed -n 1p "$T/out" | jq -c '[.n, .event]')" '[1,1]'
	check_eq "$(sed -n 2p "$T/out" | jq -c '[.n, .event]')" '[2,"x"]'
	check_eq "$(grep -c 'Init Duration' "$T/err")" 1
}
test_a_program_asks_for_its_events() {
	watch_world
	each_mode check_cold_and_warm
	check_world
}

test_errors_and_ends_are_lambdas() {
	need_root
	watch_world
	python_bootstrap bootstrap
	cell_status 1 "$T/bootstrap" --event '"fail"' --event 2
	check_eq "$(sed -n 1p "$T/out")" '{"errorMessage": "as asked", "errorType": "Own.Type", "extra": [1]}'
	check_eq "$(sed -n 2p "$T/out" | jq .n)" 2
	cell_status 1 --json "$T/bootstrap" --event '"fail"'
	check_ask '.calls[0].errorType' Function.Asked
	check_ask '.calls[0].errorDocument.extra | tojson' '[1]'
	cell_status 1 "$T/bootstrap" --event '"exit"'
	check_contains "$T/out" 'exit status 9'
	cell_status 124 --timeout 1 "$T/bootstrap" --event '"sleep"'
	printf '#!/bin/sh\nexit 4\n' | program bootstrap
	cell_status 1 "$T/bootstrap"
	check_contains "$T/out" 'exit status 4'
	check_world
}

test_the_bootstrap_of_the_tutorial_in_bash_with_curl() {
	need_root
	command -v curl >/dev/null || skip 'there is no curl'
	watch_world
	program pkg/function.sh <<-'END'
		handler() {
		  echo "got: $1" >&2
		  echo "{\"echo\": $1}"
		}
	END
	program pkg/bootstrap <<-'END'
		#!/bin/bash
		set -euo pipefail
		source "$LAMBDA_TASK_ROOT/$(cut -d. -f1 <<<"$_HANDLER").sh"
		while true; do
		  HEADERS=$(mktemp)
		  EVENT=$(curl -sS -LD "$HEADERS" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
		  ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
		  ANSWER=$("$(cut -d. -f2 <<<"$_HANDLER")" "$EVENT")
		  curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$ID/response" -d "$ANSWER" >/dev/null
		done
	END
	cell_status 0 --timeout "$LONG" --handler function.handler "$T/pkg" --event '[1]' --event '[2]'
	check_eq "$(cat "$T/out")" '{"echo": [1]}
{"echo": [2]}'
	check_contains "$T/err" 'got: [2]'
	check_world
}

test_half_a_stream_is_an_error_and_the_next_call_goes_on() {
	need_root
	watch_world
	program bootstrap <<-'END'
		#!/usr/bin/python3
		import http.client, os, socket
		where = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
		api = http.client.HTTPConnection(*where)
		while True:
		    api.request("GET", "/2018-06-01/runtime/invocation/next")
		    r = api.getresponse()
		    event = r.read()
		    path = "/2018-06-01/runtime/invocation/%s/response" % r.headers["Lambda-Runtime-Aws-Request-Id"]
		    if event == b"1":
		        s = socket.create_connection(where)
		        s.sendall(("POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n4\r\nhalf\r\n" % path).encode())
		        s.shutdown(socket.SHUT_WR)
		        print("told", s.recv(100).split()[1].decode(), flush=True)
		    else:
		        api.request("POST", path, b"whole")
		        api.getresponse().read()
	END
	cell_status 1 "$T/bootstrap" --event 1 --event 2
	check_eq "$(sed -n 1p "$T/out" | jq -r .errorType)" Runtime.TruncatedResponse
	check_eq "$(sed -n 2p "$T/out")" whole
	check_contains "$T/err" 'told 400'
	check_world
}

test_keys_are_asked_for_where_there_will_be_an_image() {
	own_store
	program bootstrap <<-'END'
		#!/usr/bin/python3
		import http.client, json, os
		api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
		def ask(method, path, body=None, headers={}):
		    api.request(method, path, body, headers)
		    r = api.getresponse()
		    return r, r.read()
		while True:
		    r, _ = ask("GET", "/2018-06-01/runtime/invocation/next")
		    id = r.headers["Lambda-Runtime-Aws-Request-Id"]
		    path = "/" + os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "///none").split("/", 3)[3]
		    _, good = ask("GET", path, None, {"Authorization": os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")})
		    bad, _ = ask("GET", path, None, {"Authorization": "other"})
		    ask("POST", "/2018-06-01/runtime/invocation/%s/response" % id,
		        json.dumps([os.environ.get("AWS_ACCESS_KEY_ID"), json.loads(good).get("AccessKeyId"), bad.status]))
	END
	cell_status 0 --env AWS_ACCESS_KEY_ID=key --env AWS_SECRET_ACCESS_KEY=s "$T/bootstrap"
	check_eq "$(cat "$T/out")" '["key", null, 404]'
	cell_status 0 --snapshot=unseeded --env AWS_ACCESS_KEY_ID=key --env AWS_SECRET_ACCESS_KEY=s "$T/bootstrap"
	check_eq "$(cat "$T/out")" '[null, "key", 404]'
	cell_status 0 --snapshot=unseeded --env AWS_ACCESS_KEY_ID=key --env AWS_SECRET_ACCESS_KEY=s3cretOfTheTest "$T/bootstrap"
	check_eq "$(cat "$T/out")" '[null, "key", 404]'
	grep -rqa AWS_LAMBDA_FUNCTION_NAME "$store" || fail 'the environment is not where it is looked for'
	! grep -rqa s3cretOfTheTest "$store" || fail 'a key is in the image'
	# Secrets, which come to clones alone; each has its own.
	snapshot_status 0 create "$T/bootstrap"
	for i in first second; do
		echo "$i" >"$T/id"
		cell_status 0 --snapshot=unseeded --secret "aws_access_key_id=@$T/id" "$T/bootstrap"
		restored
		check_eq "$(cat "$T/out")" "[null, \"$i\", 404]"
	done
	cell_status 0 --secret "aws_access_key_id=@$T/id" "$T/bootstrap"
	check_eq "$(cat "$T/out")" '[null, "second", 404]'
	check_store
}

# With _LAMBDA_TELEMETRY_LOG_FD: whole messages, what was written in a call before its end, and by a program that crashes. In the
# second call the server is held up until log, answer and the request for the next event all lie there.
test_messages_of_the_log_descriptor_stay_one_record() {
	need_root
	watch_world
	program bootstrap <<-'END'
		#!/usr/bin/python3
		import http.client, os, signal, struct
		log = int(os.environ["_LAMBDA_TELEMETRY_LOG_FD"])
		def say(text, type=0xa55a0003 | 0x0c):
		    text = text.encode()
		    os.write(log, struct.pack(">IIQ", type, len(text), 0) + text)
		first, then = (http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"]) for _ in range(2))
		first.connect()
		then.connect()
		say("of the init\n")
		then.request("GET", "/2018-06-01/runtime/invocation/next")
		while True:
		    r = then.getresponse()
		    event = r.read()
		    if event == b"2":
		        os.kill(os.getppid(), signal.SIGSTOP)
		        say("x" * 50000)
		    say("call %s\nhas two lines\n" % event.decode())
		    say('{"json":%s}' % event.decode(), 0xa55a0002 | 0x14)
		    if event == b"9":
		        os._exit(3)
		    first.request("POST", "/2018-06-01/runtime/invocation/%s/response" % r.headers["Lambda-Runtime-Aws-Request-Id"], event)
		    if event != b"2":
		        first.getresponse().read()
		    then.request("GET", "/2018-06-01/runtime/invocation/next")
		    if event == b"2":
		        os.kill(os.getppid(), signal.SIGCONT)
		        first.getresponse().read()
	END
	cell_status 1 --timeout "$LONG" "$T/bootstrap" --event 1 --event 2 --event 9
	check_contains "$T/out" 'exit status 3'
	tr '\r' '|' <"$T/err" | sed -n 's/^of the init$/&/p; s/^call .*/&/p; s/^{"json.*/&/p; s/^xx*$/x/p; s/^\(START\|END\) .*/\1/p' >"$T/order"
	check_eq "$(cat "$T/order")" 'of the init
START
call 1|has two lines
{"json":1}
END
START
x
call 2|has two lines
{"json":2}
END
START
call 9|has two lines
{"json":9}
END'
	check_world
}

test_an_extension_hears_of_calls_and_of_the_end() {
	need_root
	watch_world
	python_bootstrap bootstrap
	program layer/extensions/watcher <<-'END'
		#!/usr/bin/python3
		import http.client, json, os
		api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
		def ask(method, path, body=None, headers={}):
		    api.request(method, "/2020-01-01/extension/" + path, body, headers)
		    r = api.getresponse()
		    return r.headers, json.loads(r.read() or "null")
		h, _ = ask("POST", "register", json.dumps({"events": ["INVOKE", "SHUTDOWN"]}), {"Lambda-Extension-Name": "watcher"})
		me = {"Lambda-Extension-Identifier": h["Lambda-Extension-Identifier"]}
		while True:
		    _, event = ask("GET", "event/next", None, me)
		    print("watcher:", event["eventType"], event.get("shutdownReason", ""), flush=True)
		    if event["eventType"] == "SHUTDOWN":
		        break
	END
	chmod 755 "$T/layer" "$T/layer/extensions"
	cell_status 0 --layer "$T/layer" "$T/bootstrap" --event 1 --event 2
	check_eq "$(grep -c 'watcher: INVOKE' "$T/err")" 2
	check_eq "$(grep -c 'watcher: SHUTDOWN spindown' "$T/err")" 1
	check_world
}

test_an_extension_gets_the_records_that_it_has_subscribed_to() {
	need_root
	watch_world
	python_bootstrap bootstrap 'random.random = lambda: print("the function says this", flush=True) or os.write(int(os.environ["_LAMBDA_TELEMETRY_LOG_FD"]), bytes.fromhex("a55a000f000000030000000000000000610a62"))'
	program layer/extensions/listener <<-'END'
		#!/usr/bin/python3
		import http.client, http.server, json, os, threading
		got = []
		class Sink(http.server.BaseHTTPRequestHandler):
		    def do_POST(self):
		        got.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
		        self.send_response(200)
		        self.end_headers()
		    def log_message(self, *a): pass
		sink = http.server.HTTPServer(("127.0.0.1", 8080), Sink)
		threading.Thread(target=sink.serve_forever, daemon=True).start()
		api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
		def ask(method, path, body=None, headers={}):
		    api.request(method, path, body and json.dumps(body), headers)
		    r = api.getresponse()
		    return r.status, r.headers, r.read()
		_, h, _ = ask("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, {"Lambda-Extension-Name": "listener"})
		me = {"Lambda-Extension-Identifier": h["Lambda-Extension-Identifier"]}
		bad, _, _ = ask("PUT", "/2022-07-01/telemetry", {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": {"protocol": "HTTP", "URI": "http://elsewhere:1"}}, me)
		good, _, ok = ask("PUT", "/2022-07-01/telemetry", {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
		    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
		    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/x"}}, me)
		print("subscribed", bad, good, ok.decode(), flush=True)
		while True:
		    _, _, event = ask("GET", "/2020-01-01/extension/event/next", None, me)
		    if json.loads(event)["eventType"] == "SHUTDOWN":
		        import time
		        time.sleep(0.2)
		        for g in got:
		            print("RECORD", json.dumps(g), flush=True)
		        os._exit(0)
	END
	chmod 755 "$T/layer" "$T/layer/extensions"
	cell_status 0 --timeout "$LONG" --layer "$T/layer" "$T/bootstrap" --event 1 --event '"x"'
	check_contains "$T/err" 'subscribed 400 200 OK'
	sed -n 's/^RECORD //p' "$T/err" >"$T/records"
	check_eq "$(jq -c 'select(.type == "function") | .record' "$T/records" | sort -u)" '"a\nb"
"the function says this\n"'
	check_eq "$(jq -r 'select(.type == "platform.start") | .record.requestId' "$T/records" | wc -l)" 2
	check_eq "$(jq -r 'select(.type == "platform.runtimeDone") | .record.status' "$T/records" | sort -u)" success
	check_eq "$(jq -r 'select(.type == "platform.report") | .record.metrics | (.durationMs > 0) and (.memorySizeMB == 128)' "$T/records" | sort -u)" true
	check_eq "$(jq -r 'select(.type == "platform.telemetrySubscription") | .record.types | join(" ")' "$T/records")" 'platform function extension'
	check_eq "$(jq -r 'select(.type == "extension") | .record' "$T/records" | grep -c subscribed)" 1
	check_world
}

# A static program: it needs nothing of the root.
plain_bootstrap() { # NAME below $T
	mkdir -p "$T/$(dirname "$1")"
	cc -O2 -static -include "$FSBOX_SRC/tests/functions/plain_bootstrap.h" -x c /dev/null -o "$T/$1" ||
		fail 'the bootstrap does not compile'
	chmod 755 "$TAP_DIR" "$T" "$T/$(dirname "$1")"
}

test_an_unpacked_image_says_what_it_executes() {
	need_root
	watch_world
	plain_bootstrap image/rootfs/opt/serve
	cat >"$T/image/config.json" <<-'END'
		{"config": {"Entrypoint": ["/opt/serve", "-x"], "Cmd": ["\"app.main\""], "Env": ["FROM=image"], "WorkingDir": "/tmp"}}
	END
	chmod -R o+rX "$T/image"
	cell_status 0 --rootfs "$T/image" --event 7
	check_eq "$(cat "$T/out")" '"app.main"'
	printf '{"process": {"args": ["/opt/serve"], "cwd": "/"}}' >"$T/image/config.json"
	cell_status 0 --rootfs "$T/image" --event '{"a":1}' --event 2
	check_eq "$(cat "$T/out")" '{"a":1}
2'
	printf '{"config": {"Entrypoint": ["serve"], "Env": ["PATH=/none:/opt"]}}' >"$T/image/config.json"
	cell_status 0 --json --rootfs "$T/image" --event 3
	check_contains "$T/err" ' Version: '
	mv "$T/image/rootfs" "$T/image/root"
	ln -s root "$T/image/rootfs" # not followed: such a link could lead anywhere
	cell_status 2 --rootfs "$T/image"
	rm "$T/image/rootfs"
	mv "$T/image/root" "$T/image/rootfs"
	printf '{"process": {"args": ["/not/there"]}}' >"$T/image/config.json"
	cell_status 126 --rootfs "$T/image"
	check_ask .errorType Runtime.InvalidEntrypoint
	check_world
}

test_an_answer_of_6_mb_goes_through_and_more_does_not() {
	need_root
	plain_bootstrap bootstrap
	head -c 6291456 /dev/zero | tr '\0' 7 >"$T/event"
	chmod 644 "$T/event"
	cell_status 0 --timeout "$LONG" "$T/bootstrap" --event "@$T/event"
	check cmp "$T/event" "$T/out"
	python_bootstrap bootstrap.py 'import random; random.random = lambda: "x" * 6291600'
	cell_status 1 --mem 512 --timeout "$LONG" "$T/bootstrap.py" --runtime custom
	check_ask .errorType Function.ResponseSizeTooLarge
}

test_a_runtime_that_asks_for_its_restore_is_snapshotted_there() {
	own_store
	python_bootstrap bootstrap 'ask("GET", "restore/next"); random.seed()'
	snapshot_status 0 create "$T/bootstrap"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		cell_status 0 --snapshot=require "$T/bootstrap" --event 1 --event 2
		restored
		check_eq "$(sed -n 2p "$T/out" | jq .n)" 2
		sed -n 1p "$T/out" >>"$T/all"
	done
	check_eq "$(jq .random "$T/all" | sort -u | wc -l)" 10
	check_store
}

test_a_runtime_that_does_not_ask_is_not_reseeded_and_that_is_said() {
	own_store
	python_bootstrap bootstrap
	snapshot_status 0 create "$T/bootstrap"
	cell --snapshot=require "$T/bootstrap"
	check_eq "$status" 125
	check_contains "$T/err" 'not reseeded'
	cell_status 0 --snapshot=unseeded "$T/bootstrap" --event 5
	restored
	check_ask .event 5
	check_store
}

test_in_the_hosts_network_there_is_a_port_for_each_and_no_snapshot() {
	own_store
	plain_bootstrap bootstrap
	"$FSBOX" run --net host --timeout "$LONG" --event 1 "$T/bootstrap" >"$T/one" 2>/dev/null &
	"$FSBOX" run --net host --timeout "$LONG" --event 2 "$T/bootstrap" >"$T/two" 2>/dev/null &
	wait
	check_eq "$(cat "$T/one" "$T/two")" 12
	snapshot create --net host "$T/bootstrap"
	check_eq "$status" 1
	check_contains "$T/err" "in the host's network"
	check_world
}

test_in_the_hosts_network_other_users_are_turned_away() {
	need_root
	watch_world
	program bootstrap <<-'END'
		#!/usr/bin/python3
		import os, time
		print("PORT", os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")[1], flush=True)
		time.sleep(60)
	END
	"$FSBOX" run --net host --timeout 30 "$T/bootstrap" >"$T/out" 2>"$T/err" &
	pid=$!
	wait_for 100 grep -q '^PORT' "$T/err"
	port=$(sed -n 's/^PORT //p' "$T/err")
	setpriv --reuid "$CELL_USER" --regid "$CELL_USER" --clear-groups /usr/bin/python3 -c "
import http.client
api = http.client.HTTPConnection('127.0.0.1', $port, timeout=5)
try:
    api.request('GET', '/2018-06-01/ping')
    print('answered', api.getresponse().status)
except (OSError, http.client.HTTPException) as e:
    print('turned away')" >"$T/other"
	kill "$pid"
	wait "$pid" || :
	check_eq "$(cat "$T/other")" 'turned away'
	check_world
}

test_a_policy_that_begins_after_init_is_refused_before_anything_runs() {
	need_root
	plain_bootstrap bootstrap
	for policy in strict python node; do
		cell_status 2 --policy "$policy" "$T/bootstrap"
		check_contains "$T/err" "--policy $policy"
	done
	cell_status 0 --policy custom "$T/bootstrap" --event 1
}

run_tests "$@"
