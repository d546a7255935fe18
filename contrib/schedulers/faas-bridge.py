#!/usr/bin/env python3
"""Serves fsboxd as an OpenFaaS provider: the HTTP interface that OpenFaaS's gateway, faas-cli and connectors call.

    faas-bridge.py --functions DIR [--listen ADDRESS:PORT] [--auth FILE] [--state FILE] [--socket FILE]

An "image" is a file or directory below DIR (`hello.so`, `greeter/handler.py`), with what follows a ':' left out; envVars,
limits.memory and the labels com.fsbox.timeout, com.fsbox.maxCells mean what they say. Replicas are provisioned cells: with
0 of them a call is still answered, by a cold start. Labels and annotations are kept in --state. FILE of --auth holds
USER:PASSWORD; without it whoever can connect can do what this process can, so the default is the loopback alone.
Written from docs/protocol.md alone; secrets, namespaces, constraints and paths below a function's are not supported."""
import argparse
import base64
import hmac
import http.server
import json
import math
import os
import re
import select
import socket
import threading
import time
import urllib.parse
import uuid

import fsboxd

MAX_BODY = 6 << 20       # of an event
MAX_CALLS = 200          # at once: fsboxd takes 256 connections of one user
CRASHES = ("Runtime.ExitError", "Runtime.OutOfMemory", "Runtime.ProtocolError", "Runtime.InvalidEntrypoint")
STATUS = {"NotFound": 404, "InvalidSpec": 400, "InvalidParameter": 400, "Denied": 403, "PermissionDenied": 403, "Busy": 429,
          "CapacityExhausted": 503, "DeadlineExceeded": 504, "Cancelled": 503, "Unsupported": 501}


class Refused(Exception):
    def __init__(self, status, text, **headers):
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers


class Gone(Exception):
    """Whoever asked has closed the connection."""


def megabytes(text):
    """Kubernetes' quantities: 128Mi, 1Gi, 134217728, 128M."""
    m = re.fullmatch(r"(\d+)([KMG]i?)?", text)
    if not m:
        raise Refused(400, f"'{text}' is no amount of memory")
    unit = {None: 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[m.group(2)]
    return max(16, math.ceil(int(m.group(1)) * unit / (1 << 20)))


class Notes:
    """What OpenFaaS wants to have back and fsboxd does not keep."""

    def __init__(self, path):
        self.path, self.lock, self.of = path, threading.Lock(), {}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.of = json.load(f)

    def set(self, name, note):
        with self.lock:
            self.of.pop(name, None)
            if note:
                self.of[name] = note
            if self.path:
                with open(self.path + ".new", "w", encoding="utf-8") as f:
                    json.dump(self.of, f)
                os.replace(self.path + ".new", self.path)


class Bridge(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, args):
        host, _, port = args.listen.rpartition(":")
        super().__init__((host, int(port)), Handler)
        self.args = args
        self.root = os.path.realpath(args.functions)
        self.notes = Notes(args.state)
        self.places = threading.BoundedSemaphore(MAX_CALLS)
        self.auth = None
        if args.auth:
            with open(args.auth, "rb") as f:
                self.auth = b"Basic " + base64.b64encode(f.read().strip())

    def client(self):
        return fsboxd.Client(self.args.socket)

    def functions(self, name=None):
        client = self.client()
        try:
            uid = client.call("Describe")["uid"]
            found = client.each("Functions", **({"name": name} if name else {}))
        finally:
            client.close()
        return [a["function"] for a in found if a.get("function") and a["function"]["owner"] == uid]

    def call(self, method, **parameters):
        client = self.client()
        try:
            return client.call(method, **parameters)
        finally:
            client.close()

    def image_path(self, image):
        name = image.rpartition(":")[0] or image
        path = os.path.realpath(os.path.join(self.root, name))
        if os.path.commonpath([path, self.root]) != self.root or path == self.root or not os.path.exists(path):
            raise Refused(400, f"there is no '{image}' in the bridge's directory of functions")
        return path

    def status_of(self, f):
        """A function as OpenFaaS has it."""
        spec, note = f["spec"], self.notes.of.get(f["name"], {})
        status = {"name": f["name"], "image": note.get("image") or os.path.relpath(spec.get("target", ""), self.root),
                  "envVars": spec.get("env", {}), "replicas": f["provisioned"], "availableReplicas": f["idle"] + f["busy"],
                  "invocationCount": f["calls"], "limits": {"memory": f"{spec.get('mem', 128)}Mi"}}
        status.update((k, note[k]) for k in ("labels", "annotations", "createdAt") if note.get(k))
        return status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120  # of a connection that says nothing

    def log_message(self, *args):
        pass

    # ---- HTTP ----

    def answer(self, status, body=b"", kind="text/plain; charset=utf-8", **headers):
        if not isinstance(body, (bytes, str)):
            body, kind = json.dumps(body), "application/json"
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True  # what follows is not read
            raise Refused(413 if length.isdecimal() and int(length) > MAX_BODY else 411, "bodies have a length up to 6 MiB")
        return self.rfile.read(int(length))

    def json_body(self):
        try:
            value = json.loads(self.body())
        except ValueError as e:
            raise Refused(400, f"the body is no JSON: {e}") from e
        if not isinstance(value, dict):
            raise Refused(400, "the body is no JSON object")
        return value

    def handle_any(self):
        try:
            self.handle_request()
        except ConnectionError:
            self.close_connection = True  # whoever asked is gone

    def handle_request(self):
        url = urllib.parse.urlsplit(self.path)
        words = [urllib.parse.unquote(w) for w in url.path.split("/") if w]
        try:
            if self.server.auth and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.server.auth):
                if words != ["healthz"]:
                    self.close_connection = True
                    raise Refused(401, "name and password are needed", WWW_Authenticate='Basic realm="fsbox"')
            self.route(words, url)
        except Refused as e:
            self.answer(e.status, e.text, **e.headers)
        except fsboxd.Error as e:
            headers = {}
            if e.name == "Busy":
                headers["Retry_After"] = max(1, math.ceil(e.parameters["retryAfterMs"] / 1000))
            self.answer(STATUS.get(e.name, 500), str(e), **headers)
        except (fsboxd.Closed, FileNotFoundError, ConnectionRefusedError) as e:
            self.answer(502, f"fsboxd: {e}")
        except Gone:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_any

    def route(self, words, url):
        if "Origin" in self.headers and not self.server.auth and words[:1] == ["system"]:
            raise Refused(403, "pages of browsers need a name and a password here (--auth)")
        what = (self.command, *words[:2])
        if words[:1] == ["function"] and len(words) == 2:
            self.invoke(words[1])
        elif what == ("GET", "system", "functions"):
            self.body()
            self.answer(200, [self.server.status_of(f) for f in self.server.functions()])
        elif what in (("POST", "system", "functions"), ("PUT", "system", "functions")):
            self.deploy(self.json_body())
        elif what == ("DELETE", "system", "functions"):
            self.delete(str(self.json_body().get("functionName", "")))
        elif what == ("GET", "system", "function") and len(words) == 3:
            self.body()
            self.answer(200, self.server.status_of(self.one(words[2])))
        elif what == ("POST", "system", "scale-function") and len(words) == 3:
            self.scale(words[2], self.json_body())
        elif what == ("GET", "system", "logs"):
            self.body()
            self.logs(dict(urllib.parse.parse_qsl(url.query)))
        elif what == ("GET", "system", "info"):
            self.body()
            about = self.server.call("Describe")
            self.answer(200, {"provider": "fsbox", "version": {"release": about["version"], "sha": ""}, "orchestration": "fsboxd"})
        elif what == ("GET", "healthz"):
            self.body()
            self.answer(200, "OK")
        else:
            self.body()
            raise Refused(404, "no such resource")

    # ---- Functions ----

    def one(self, name):
        found = self.server.functions(name)
        if not found:
            raise Refused(404, f"there is no function '{name}'")
        return found[0]

    def deploy(self, asked):
        name, labels = str(asked.get("service", "")), asked.get("labels") or {}
        if asked.get("secrets") or asked.get("constraints"):
            raise Refused(400, "secrets and constraints are not supported")
        if self.command == "PUT":
            self.one(name)
        spec = {"target": self.server.image_path(str(asked.get("image", "")))}
        if asked.get("envVars"):
            spec["env"] = asked["envVars"]
        if (asked.get("limits") or {}).get("memory"):
            spec["mem"] = megabytes(asked["limits"]["memory"])
        if "com.fsbox.timeout" in labels:
            spec["timeout"] = labels["com.fsbox.timeout"]
        try:
            numbers = {"provisioned": int(labels.get("com.openfaas.scale.min", 0)), "maxCells": int(labels.get("com.fsbox.maxCells", 0))}
        except ValueError as e:
            raise Refused(400, f"a label that should be a number: {e}") from e
        self.server.call("Deploy", name=name, spec=spec, replace=True, **numbers)
        note = {k: asked[k] for k in ("image", "labels", "annotations") if asked.get(k)}
        self.server.notes.set(name, dict(note, createdAt=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))
        self.answer(202)

    def delete(self, name):
        if not self.server.call("Undeploy", name=name)["existed"]:
            raise Refused(404, f"there is no function '{name}'")
        self.server.notes.set(name, None)
        self.answer(202)

    def scale(self, name, asked):
        replicas = asked.get("replicas")
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            raise Refused(400, "replicas is a number from 0 up")
        self.server.call("Scale", name=name, provisioned=replicas)
        self.answer(202)

    def logs(self, query):
        """One JSON object in a line, until the end of what is kept, or of the connection with follow."""
        follow = query.get("follow", "").lower() in ("1", "t", "true")
        client = self.server.client()
        try:
            client.send("Logs", more=True, follow=follow, **({"function": query["name"]} if query.get("name") else {}))
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Connection", "close")
            self.end_headers()
            follows = True
            while follows:
                answer, follows = client.receive()
                chunk = answer.get("chunk")
                if not chunk:
                    continue
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(chunk["timeMs"] / 1000))
                for text in chunk["text"].splitlines():
                    line = {"name": chunk["function"], "instance": chunk["cell"], "timestamp": stamp, "text": text}
                    self.wfile.write(json.dumps(line).encode() + b"\n")
                self.wfile.flush()
        except (fsboxd.Error, OSError):
            self.close_connection = True  # the answer has begun: its end is all that can be said
        finally:
            client.close()

    # ---- Calls ----

    def invoke(self, name):
        body = self.body()
        if not self.server.places.acquire(blocking=False):
            raise Refused(429, "too many calls at once", Retry_After=1)
        try:
            begin, invocation = time.monotonic(), str(uuid.uuid4())
            parameters = {"function": name, "invocation": invocation, "cancelOnClose": True}
            if len(body) > fsboxd.INLINE:
                parameters["event"] = {"fd": 0}
            elif body:
                try:
                    text = body.decode()
                    parameters["event"] = {"base64": base64.b64encode(body).decode()} if "\0" in text else {"text": text}
                except UnicodeDecodeError:
                    parameters["event"] = {"base64": base64.b64encode(body).decode()}
            try:
                result = self.run(parameters, body)
            except fsboxd.Closed:  # fsboxd ended: ask the next one, which runs it if it has not begun
                try:
                    result = self.run(parameters, body)
                except fsboxd.Error as e:
                    if e.name == "NotFound" and e.parameters.get("what") == "invocation":
                        raise Refused(502, "the call was begun, and its result is lost") from e
                    raise
        finally:
            self.server.places.release()
        headers = {"X_Call_Id": self.headers.get("X-Call-Id") or invocation,
                   "X_Duration_Seconds": f"{time.monotonic() - begin:.6f}", "X_Start_Kind": result.get("startKind", "")}
        self.answer(self.status_of_result(result), *self.payload(result), **headers)

    def run(self, parameters, body):
        """Waits for the result, and for the end of who wants it: closing the connection cancels the call."""
        client = self.server.client()
        fds = [fsboxd.memfd(body)] if len(body) > fsboxd.INLINE else []
        try:
            client.send("Invoke", fds=fds, **parameters)
            while True:
                ready = select.select([client, self.connection], [], [])[0]
                if client in ready:
                    return client.receive()[0]
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    raise Gone()
                select.select([client], [], [])  # it has sent the next request already
        finally:
            for fd in fds:
                os.close(fd)
            client.close()

    @staticmethod
    def status_of_result(result):
        if result["status"] == "failure":
            return 502 if result.get("errorType") in CRASHES else 500
        return {"success": 200, "timeout": 504}.get(result["status"], 500)

    @staticmethod
    def payload(result):
        p = result.get("payload") or {}
        if "json" in p:
            return json.dumps(p["json"], ensure_ascii=False), "application/json"
        if "text" in p:
            try:
                json.loads(p["text"])
                return p["text"], "application/json"
            except ValueError:
                return p["text"], "text/plain; charset=utf-8"
        if "base64" in p:
            return base64.b64decode(p["base64"]), "application/octet-stream"
        return json.dumps({k: result[k] for k in ("errorType", "errorMessage") if k in result}), "application/json"


def main():
    p = argparse.ArgumentParser(description="serves fsboxd as an OpenFaaS provider")
    p.add_argument("--functions", required=True, help="directory that images are looked for in")
    p.add_argument("--listen", default="127.0.0.1:8081", help="ADDRESS:PORT (default 127.0.0.1:8081)")
    p.add_argument("--auth", help="file with USER:PASSWORD that callers have to know")
    p.add_argument("--state", help="file that keeps labels and annotations")
    p.add_argument("--socket", help="fsboxd's socket")
    with Bridge(p.parse_args()) as bridge:
        print("listening on %s:%d" % bridge.server_address[:2], flush=True)
        try:
            bridge.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
