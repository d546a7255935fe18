#!/bin/sh
# The programs of contrib/schedulers against a daemon: the autoscaler follows the load and the daemon's restarts; the bridge
# answers as an OpenFaaS provider does. Both listen and call on the loopback alone.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"
SCHEDULERS=$FSBOX_SRC/contrib/schedulers

scheduler_begin() { # PROGRAM [ARG...]: its output is $T/scheduler
	scheduler=$1
	shift
	rm -f "$T/scheduler" # of one before
	python3 "$SCHEDULERS/$scheduler" "$@" >"$T/scheduler" 2>&1 </dev/null &
	SCHEDULER=$!
	trap scheduler_abandon EXIT
}

scheduler_abandon() { # behind a test that failed
	scheduler_status=$?
	set +e
	kill "$SCHEDULER" 2>/dev/null
	sed 's/^/#   scheduler: /' "$T/scheduler"
	(exit "$scheduler_status")
	daemon_abandon
}

scheduler_stop() {
	kill -0 "$SCHEDULER" || fail "the scheduler has ended"
	kill -TERM "$SCHEDULER"
	wait "$SCHEDULER" 2>/dev/null || :
	! grep -q Traceback "$T/scheduler" || fail "the scheduler has made a mistake"
	trap daemon_abandon EXIT
}

# A function that takes as long as its event says.
sleeper() { # >FILE
	printf 'import time\n\ndef handler(event, context):\n    time.sleep(event.get("s", 0))\n    return event\n'
}

test_the_autoscaler_follows_the_load() {
	daemon_start --keep 2 --cpu-overcommit 100
	sleeper >"$T/sleeper.py"
	chmod 644 "$T/sleeper.py"
	scheduler_begin autoscaler.py sleeper --min 1 --max 5 --calm 2 --every 0.5
	steps <<'END'
def numbers():
    return [(f["provisioned"], f["idle"] + f["busy"]) for f in c.functions()][0]

def calls(n, seconds):
    clients = [Client() for i in range(n)]
    for client in clients:
        client.send("Invoke", function="sleeper", event={"json": {"s": seconds}}, cancelOnClose=True)
    return clients

# It was there before the function.
c.deploy("sleeper", T + "/sleeper.py", timeout=60)
until(lambda: numbers() == (1, 1), "one is kept")
three = calls(3, 50)
until(lambda: numbers() == (3, 3), "as many as are called", 20)
more = calls(5, 50)
until(lambda: numbers()[0] == 5, "as many as it may have", 20)
for client in three + more:
    client.close()
until(lambda: numbers() == (1, 1), "one again when it is calm", 30)

# No call is there at the moment of a look, and yet there are some each second: Little's law.
end = time.monotonic() + 60
while numbers()[0] < 3:
    true(time.monotonic() < end, "three calls of 0.3 s in 0.3 s: %s" % (numbers(),))
    for client in calls(3, 0.3):
        client.result()
        client.close()
END
	check_matches "$T/scheduler" '^sleeper: 0 -> 1 .busy 0'
	check_matches "$T/scheduler" '^sleeper: [34] -> 5 '
	scheduler_stop
	daemon_stop
}

test_the_autoscaler_goes_on_after_a_restart() {
	daemon_start --keep 2
	scheduler_begin autoscaler.py echo --min 2 --calm 1 --every 0.5
	steps <<'END'
c.deploy("echo")
until(lambda: c.functions()[0]["idle"] == 2, "two are ready")
# Who dies is started again, whether or not the scheduler sees it at once.
for i in range(3):
    os.kill(pid_of("fsboxd"), signal.SIGKILL)
    c = until(lambda: Client(), "the next fsboxd")
    c.call("Scale", name="echo", provisioned=0)
    until(lambda: c.functions()[0]["provisioned"] == 2, "it has noticed", 30)
c.call("Undeploy", name="echo")
time.sleep(1)
c.deploy("echo")
until(lambda: c.functions()[0]["idle"] == 2, "of the new one, too", 30)
END
	scheduler_stop
	daemon_stop 'fsboxd .*(killed|signal|ended)'
}

test_the_autoscaler_asks_for_no_more_than_there_is() {
	daemon_start --memory 400
	scheduler_begin autoscaler.py echo --min 10 --max 10 --every 0.2
	steps <<'END'
c.deploy("echo")
until(lambda: c.functions()[0]["idle"] == 3, "three of 128 MB have room in 400")
time.sleep(1)
eq(c.functions()[0]["provisioned"], 3)
END
	scheduler_stop
	daemon_stop
}

bridge_begin() { # [OPTION...]: its port is $PORT
	scheduler_begin faas-bridge.py --functions "$T/functions" --listen 127.0.0.1:0 --state "$T/notes" "$@"
	wait_for 100 grep -qs listening "$T/scheduler"
	PORT=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$T/scheduler")
	check [ -n "$PORT" ]
}

bridge_functions() {
	mkdir -p "$T/functions"
	sleeper >"$T/functions/sleeper.py"
	cp "$EXAMPLES/hello.so" "$FUNCTIONS/echo.so" "$FUNCTIONS/fail.so" "$FUNCTIONS/crash_segv.so" "$FUNCTIONS/counter.so" "$T/functions"
	chmod -R a+rX "$T/functions"
	cat >"$T/http.py" <<-'END'
		import http.client, json
		def http_call(port, method, path, body=None, headers={}):
		    h = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
		    if isinstance(body, dict):
		        body = json.dumps(body)
		    h.request(method, path, body, headers)
		    r = h.getresponse()
		    text = r.read()
		    h.close()
		    return r.status, text, r.headers
		def deploy(port, service, image, wanted=202, method="POST", **more):
		    status, text, _ = http_call(port, method, "/system/functions", dict(service=service, image=image, **more))
		    if status != wanted:
		        raise AssertionError("deploying %s: %d %s" % (service, status, text))
	END
}

bridge_steps() { # as steps; http_call and deploy are there, and the port
	{
		echo "port = $PORT"
		cat "$T/http.py" -
	} | steps
}

test_the_bridge_deploys_lists_scales_and_removes() {
	daemon_start
	bridge_functions
	bridge_begin
	bridge_steps <<'END'
eq(http_call(port, "GET", "/healthz")[:2], (200, b"OK"))
info = json.loads(http_call(port, "GET", "/system/info")[1])
eq((info["provider"], info["version"]["release"]), ("fsbox", c.call("Describe")["version"]))
eq(json.loads(http_call(port, "GET", "/system/functions")[1]), [])
deploy(port, "hello", "hello.so:latest", envVars={"A": "1"}, limits={"memory": "64Mi"}, labels={"team": "x", "com.fsbox.timeout": "7"},
       annotations={"topic": "t"})
f = c.functions()[0]
eq((f["name"], f["spec"]["mem"], f["spec"]["env"], f["spec"]["timeout"]), ("hello", 64, {"A": "1"}, "7"))
got = json.loads(http_call(port, "GET", "/system/function/hello")[1])
created = got.pop("createdAt")
eq(got, {"name": "hello", "image": "hello.so:latest", "envVars": {"A": "1"}, "replicas": 0, "availableReplicas": 0, "invocationCount": 0,
         "limits": {"memory": "64Mi"}, "labels": {"team": "x", "com.fsbox.timeout": "7"}, "annotations": {"topic": "t"}})
eq(http_call(port, "POST", "/system/scale-function/hello", {"serviceName": "hello", "replicas": 2})[0], 202)
until(lambda: json.loads(http_call(port, "GET", "/system/functions")[1])[0]["availableReplicas"] == 2, "two replicas")
eq(http_call(port, "POST", "/system/scale-function/hello", {"replicas": -1})[0], 400)
eq(http_call(port, "POST", "/system/scale-function/nothing", {"replicas": 1})[0], 404)
# Another image under the name takes its place; PUT only when there is one.
deploy(port, "hello", "echo.so", method="PUT")
eq(http_call(port, "POST", "/function/hello", b"now")[1], b"now")
deploy(port, "other", "echo.so", 404, method="PUT")
# Nothing but what lies in its directory.
for image in "../daemon", "/etc/passwd", "", ".", "nothing.so", "..":
    deploy(port, "bad", image, 400)
deploy(port, "b@d", "echo.so", 400)
deploy(port, "bad", "echo.so", 400, limits={"memory": "much"})
deploy(port, "bad", "echo.so", 400, secrets=["s"])
eq(http_call(port, "POST", "/system/functions", "no JSON")[0], 400)
eq(http_call(port, "DELETE", "/system/functions", {"functionName": "hello"})[0], 202)
eq(http_call(port, "DELETE", "/system/functions", {"functionName": "hello"})[0], 404)
eq(http_call(port, "GET", "/system/function/hello")[0], 404)
eq(http_call(port, "GET", "/elsewhere")[0], 404)
# What a browser sends for a page of somebody else's.
eq(http_call(port, "POST", "/system/functions", "{}", {"Origin": "http://example.org", "Content-Type": "text/plain"})[0], 403)
eq(c.functions(), [])
END
	scheduler_stop
	daemon_stop
}

test_the_bridge_answers_calls_as_they_end() {
	daemon_start --memory 300 --cpu-overcommit 100
	bridge_functions
	bridge_begin
	bridge_steps <<'END'
for name in "hello", "echo", "fail", "crash_segv":
    deploy(port, name, name + ".so")
deploy(port, "sleeper", "sleeper.py", labels={"com.fsbox.timeout": "1"})
status, text, headers = http_call(port, "POST", "/function/hello", {"name": "ada"})
eq((status, json.loads(text), headers["Content-Type"]), (200, {"message": "Hello, ada!"}, "application/json"))
true(headers["X-Call-Id"] and headers["X-Start-Kind"] == "cold", headers)
eq(http_call(port, "GET", "/function/hello", headers={"X-Call-Id": "17"})[2]["X-Call-Id"], "17")
# Bodies arrive as they are.
for data, kind in (b"plain", "text/plain; charset=utf-8"), (b"\x00\xff\xfe", "application/octet-stream"), (b'{ "a":  1 }', "application/json"):
    status, text, headers = http_call(port, "PUT", "/function/echo", data)
    eq((status, text if kind[-4:] != "json" else json.loads(text), headers["Content-Type"]),
       (200, data if kind[-4:] != "json" else {"a": 1}, kind))
big = os.urandom(1 << 20)
eq(http_call(port, "POST", "/function/echo", big)[1] == big, True)
eq(http_call(port, "POST", "/function/echo", headers={"Content-Length": str(7 << 20)})[0], 413)
eq(http_call(port, "POST", "/function/echo", iter([b"x"]), {"Transfer-Encoding": "chunked"})[0], 411)
eq(http_call(port, "POST", "/function/nothing", b"x")[0], 404)
status, text, _ = http_call(port, "POST", "/function/fail", b"{}")
true(status == 500 and "errorType" in json.loads(text), (status, text))
status, text, _ = http_call(port, "POST", "/function/crash_segv", b"{}")
eq((status, json.loads(text)["errorType"]), (502, "Runtime.ExitError"))
eq(http_call(port, "POST", "/function/sleeper", {"s": 30})[0], 504)
# All the room is taken, by cells that work.
deploy(port, "slow", "sleeper.py", labels={"com.fsbox.timeout": "50"})
threads = [threading.Thread(target=http_call, args=(port, "POST", "/function/slow", {"s": 5})) for i in range(4)]
for i, t in enumerate(threads):
    t.start()
    until(lambda: [(f["busy"], f["queued"]) for f in c.functions() if f["name"] == "slow"][0] == (min(i + 1, 2), max(i - 1, 0)),
          "two run, then two wait", 20)
status, _, headers = http_call(port, "POST", "/function/slow", {"s": 5})
true(status == 429 and int(headers["Retry-After"]) >= 1, (status, headers))
eq(http_call(port, "POST", "/function/hello", b"{}")[0], 503)
for t in threads:
    t.join()
END
	scheduler_stop
	daemon_stop
}

test_the_bridge_keeps_connections_logs_and_labels() {
	daemon_start
	bridge_functions
	printf 'ada:engine\n' >"$T/auth"
	bridge_begin --auth "$T/auth"
	bridge_steps <<'END'
import base64
eq(http_call(port, "GET", "/system/functions")[0], 401)
eq(http_call(port, "GET", "/system/functions", headers={"Authorization": "Basic " + base64.b64encode(b"ada:x").decode()})[0], 401)
auth = {"Authorization": "Basic " + base64.b64encode(b"ada:engine").decode()}
eq(http_call(port, "POST", "/system/functions", {"service": "hello", "image": "hello.so", "labels": {"a": "b"}}, auth)[0], 202)
h = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
for name in "ada", "bob":
    h.request("POST", "/function/hello", json.dumps({"name": name}), auth)
    eq(json.loads(h.getresponse().read()), {"message": "Hello, %s!" % name})
h.request("POST", "/system/scale-function/hello", "{", auth)
r = h.getresponse()
eq((r.status, len(r.read()) > 0), (400, True))
h.request("GET", "/system/logs?name=hello", headers=auth)
lines = [json.loads(x) for x in h.getresponse().read().splitlines()]
eq([(x["name"], x["text"]) for x in lines], [("hello", "greeting ada"), ("hello", "greeting bob")])
h.close()
END
	scheduler_stop
	# What OpenFaaS wants back is there in the next one, which needs no password now.
	bridge_begin
	bridge_steps <<'END'
eq(json.loads(http_call(port, "GET", "/system/function/hello")[1])["labels"], {"a": "b"})
END
	scheduler_stop
	daemon_stop
}

test_the_bridges_calls_end_with_their_clients_and_run_at_most_once() {
	daemon_start
	bridge_functions
	bridge_begin
	bridge_steps <<'END'
deploy(port, "sleeper", "sleeper.py", labels={"com.fsbox.timeout": "50"})
deploy(port, "counter", "counter.so")
def busy():
    return [f["busy"] for f in c.functions() if f["name"] == "sleeper"][0]
h = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
h.request("POST", "/function/sleeper", json.dumps({"s": 40}))
until(lambda: busy() == 1, "it runs")
h.close()
until(lambda: busy() == 0, "it was cancelled")
# fsboxd dies under a call that has begun, and under one that has not.
got = []
t = threading.Thread(target=lambda: got.append(http_call(port, "POST", "/function/sleeper", json.dumps({"s": 40}))))
t.start()
until(lambda: busy() == 1, "it runs")
os.kill(pid_of("fsboxd"), signal.SIGKILL)
t.join()
eq((got[0][0], b"result is lost" in got[0][1]), (502, True), got[0])
eq(http_call(port, "POST", "/function/counter", b"{}")[:2], (200, b"1"))
END
	scheduler_stop
	daemon_stop 'fsboxd .*(killed|signal|ended)'
}
run_tests
