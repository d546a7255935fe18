"""The Runtime API's server under noise: clients that send nonsense, vanish and crowd it, while a bootstrap serves calls.

    python3 api_noise.py API BOOTSTRAP SEED CALLS       in a network namespace of its own

Speaks the channel to API as fsbox does. Every call must be answered with its event; then the server must end with status 0.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

API, BOOTSTRAP, SEED, CALLS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PATHS = (
    "/2018-06-01/runtime/invocation/xx/response", "/2018-06-01/runtime/invocation/xx/error", "/2018-06-01/runtime/restore/next",
    "/2018-06-01/ping", "/2020-01-01/extension/register", "/2020-01-01/extension/event/next", "/2020-01-01/extension/exit/error",
    "/2022-07-01/telemetry", "/2020-08-15/logs", "/2021-04-23/credentials", "/x", "/2018-06-01/runtime/init/none",
)
CALL, SHUTDOWN, READY, DATA, DONE = 1, 3, 16, 18, 19
stop = False


def request(rng):
    method, path = rng.choice(("GET", "POST", "PUT", "DELETE")), rng.choice(PATHS)
    head = "%s %s HTTP/1.1\r\n" % (method, path)
    kind = rng.randrange(7)
    if kind == 0:
        return rng.randbytes(rng.randint(1, 300))
    if kind == 1:
        return (head + "Host: x\r\n\r\n").encode()
    if kind == 2:
        return (head + "Content-Length: %d\r\n\r\n" % rng.randint(0, 100)).encode() + rng.randbytes(rng.randint(0, 120))
    if kind == 3:
        return (head + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n").encode()
    if kind == 4:
        return (head + "Lambda-Extension-Name: n%d\r\nContent-Length: 2\r\n\r\n{}" % rng.randint(0, 2)).encode()
    if kind == 5:
        return head.encode() + b"A: " + b"x" * 70000
    return (head + "\r\n").encode() * 3


def noise(seed):
    rng = random.Random(seed)
    while not stop:
        try:
            with socket.create_connection(("127.0.0.1", 9001), timeout=2) as s:
                s.settimeout(0.05)
                for _ in range(rng.randint(1, 4)):
                    data = request(rng)
                    s.sendall(data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data)
                    try:
                        s.recv(rng.randint(1, 5000))
                    except OSError:
                        pass
                if rng.random() < 0.3:  # not closed but reset
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass


class Channel:
    def __init__(self):
        (child_in, self.out), (self.into, child_out) = os.pipe(), os.pipe()

        def place():
            os.dup2(child_in, 10)
            os.dup2(child_out, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        env = {"PATH": "/usr/bin:/bin", "AWS_LAMBDA_FUNCTION_NAME": "f", "ASAN_OPTIONS": "detect_leaks=0"}
        self.server = subprocess.Popen([API, BOOTSTRAP], preexec_fn=place, close_fds=False, env=env)
        os.close(child_in)
        os.close(child_out)

    def send(self, kind, call=0, body=b""):
        data = struct.pack("<IHHQ", len(body), kind, 0, call) + body
        while data:
            data = data[os.write(self.out, data) :]

    def _read(self, n):
        parts = b""
        while len(parts) < n:
            part = os.read(self.into, n - len(parts))
            if not part:
                raise SystemExit("the server has ended: %d" % self.server.wait())
            parts += part
        return parts

    def next(self):
        length, kind, _, call = struct.unpack("<IHHQ", self._read(16))
        return kind, call, self._read(length)

    def call(self, number, event):
        ident = b"id-%d" % number
        fixed = struct.pack("<qQHHI", int(time.time() * 1000) + 3000, 3000000000, len(ident), 0, len(event))
        self.send(CALL, number, fixed + ident + event)
        answer = b""
        while True:
            kind, call, body = self.next()
            if kind != DATA:
                return answer if kind == DONE and call == number else b"frame %d: " % kind + body
            answer += body


def main():
    global stop
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    channel = Channel()
    if channel.next()[0] != READY:
        raise SystemExit("it is not ready")
    crowd = [threading.Thread(target=noise, args=(SEED * 100 + i,)) for i in range(4)]
    for t in crowd:
        t.start()
    try:
        for number in range(1, CALLS + 1):
            event = b"7" * 6291456 if number % 100 == 0 else b'{"n":%d}' % number
            answer = channel.call(number, event)
            if answer != event:
                raise SystemExit("call %d: %r" % (number, answer[:200]))
    finally:
        stop = True
        for t in crowd:
            t.join()
    channel.send(SHUTDOWN)
    status = channel.server.wait(timeout=20)
    if status != 0:
        raise SystemExit("it ends with %d" % status)
    print("%d calls" % CALLS)


main()
