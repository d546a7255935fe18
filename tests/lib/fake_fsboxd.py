"""A stand-in for fsboxd: answers one connection after the other from a script, and writes down what it was asked.

    python3 fake_fsboxd.py SOCKET SCRIPT LOG

SCRIPT is a JSON object: a method's name (without the interface's) to an array of answers, which are sent in their order.
An answer is an object:

    {"parameters": …}              sent as it stands; "continues" too
    {"error": …, "parameters": …}
    {"raw": TEXT}                  these bytes, without a 0 byte behind them; "raw64" for any bytes
    {"pause": SECONDS}             nothing is sent for so long
    {"flood": N}                   N bytes that are no message yet
    {"close": true}                the connection is closed
    {"half": true}                 with parameters: only the first half of the message, then the connection is closed
    {"fd": TEXT}                   with parameters: a sealed memfd with the text comes along; "fd64" for any bytes;
                                   "fds": N for N of them, "pipe": true for a pipe instead
    {"split": true}                with parameters: one byte at a time
    {"wait": true}                 nothing more happens until the client has gone, which the log has as {"gone": METHOD}
    {"glued": [ANSWER…]}           all of them by one write

"METHOD 2" is for the second call of METHOD, and so on; "METHOD" is for any. LOG gets a line of JSON for each call:
{"method", "parameters", "more", "fds": [{"kind", "seals", "size", "sha256", "text", "access"}]}.

It ends when its standard input does, and so with whoever started it. Lines that say "listening" are on standard output."""
import array
import base64
import fcntl
import hashlib
import json
import os
import socket
import stat
import sys
import threading
import time

F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEALS = 1 | 2 | 4 | 8  # seal, shrink, grow, write
INTERFACE = "org.fsbox.Sandbox."


def look_at(fd):
    """What there is to know of a descriptor that came."""
    st = os.fstat(fd)
    seen = {"kind": "dir" if stat.S_ISDIR(st.st_mode) else "file" if stat.S_ISREG(st.st_mode) else "other"}
    seen["access"] = ["r", "w", "rw"][fcntl.fcntl(fd, fcntl.F_GETFL) & 3]
    seen["path"] = os.readlink("/proc/self/fd/%d" % fd)
    if seen["kind"] == "file":
        data = os.pread(fd, st.st_size, 0)
        seen.update(size=st.st_size, sha256=hashlib.sha256(data).hexdigest())
        try:
            seen["seals"] = fcntl.fcntl(fd, F_GET_SEALS)
        except OSError:
            seen["seals"] = None  # no memfd
        if st.st_size <= 200:
            seen["text"] = data.decode("latin-1")
    os.close(fd)
    return seen


def memfd(data):
    fd = os.memfd_create("fake", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)  # its offset is at the end then, as a daemon's is
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    return fd


def message_of(answer):
    kept = {k: answer[k] for k in ("parameters", "error", "continues") if k in answer}
    return json.dumps(kept).encode() + b"\0"


class Server:
    def __init__(self, script, log):
        self.script, self.log = script, log
        self.lock, self.calls = threading.Lock(), {}

    def note(self, record):
        with self.lock, open(self.log, "a") as f:
            f.write(json.dumps(record) + "\n")

    def answers(self, method):
        with self.lock:
            self.calls[method] = n = self.calls.get(method, 0) + 1
        return self.script.get("%s %d" % (method, n), self.script.get(method))

    def descriptors(self, answer):
        if "pipe" in answer:
            return list(os.pipe())[:1]
        if "fds" in answer:
            return [memfd(b"x") for _ in range(answer["fds"])]
        if "fd" in answer:
            return [memfd(answer["fd"].encode())]
        return [memfd(base64.b64decode(answer["fd64"]))] if "fd64" in answer else []

    def send(self, conn, answer):
        """False when the connection is to be closed."""
        if "raw" in answer or "raw64" in answer:
            conn.sendall(answer["raw"].encode() if "raw" in answer else base64.b64decode(answer["raw64"]))
        elif "pause" in answer:
            time.sleep(answer["pause"])
        elif "flood" in answer:
            conn.sendall(b"[" * answer["flood"])
        elif "glued" in answer:
            conn.sendall(b"".join(message_of(a) for a in answer["glued"]))
        elif "close" not in answer or "parameters" in answer:
            data, fds = message_of(answer), self.descriptors(answer)
            if answer.get("half"):
                conn.sendall(data[: len(data) // 2])
                return False
            if answer.get("split"):
                for i in range(len(data)):
                    conn.sendall(data[i : i + 1])
            elif fds:
                n = conn.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
                conn.sendall(data[n:])
            else:
                conn.sendall(data)
            for fd in fds:
                os.close(fd)
        return not answer.get("close")

    def call(self, conn, message, fds):
        call = json.loads(message.decode())
        method = call["method"]
        method = method[len(INTERFACE) :] if method.startswith(INTERFACE) else method
        self.note(
            {
                "method": method,
                "parameters": call.get("parameters"),
                "more": call.get("more", False),
                "unknown": sorted(set(call) - {"method", "parameters", "more"}),
                "fds": [look_at(fd) for fd in fds],
            }
        )
        answers = self.answers(method)
        if answers is None:
            answers = [{"error": "org.varlink.service.MethodNotFound", "parameters": {"method": call["method"]}}]
        for answer in answers:
            if "wait" in answer:
                try:
                    while conn.recv(1):
                        pass
                except ConnectionResetError:  # it went without having read everything
                    pass
                self.note({"gone": method})
                return False
            if not self.send(conn, answer):
                return False
        return True

    def serve(self, conn):
        data, fds = b"", []
        try:
            while True:
                part, control, _, _ = conn.recvmsg(1 << 20, socket.CMSG_SPACE(4 * 64))
                for level, kind, body in control:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        came = array.array("i")
                        came.frombytes(body[: len(body) - len(body) % came.itemsize])
                        fds += came
                if not part:
                    break
                data += part
                while b"\0" in data:
                    message, data = data.split(b"\0", 1)
                    taken, fds = fds, []
                    if not self.call(conn, message, taken):
                        return
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            conn.close()


def main():
    path, script, log = sys.argv[1:]
    with open(script) as f:
        server = Server(json.load(f), log)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(16)
    print("listening", flush=True)

    def accept():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=server.serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
