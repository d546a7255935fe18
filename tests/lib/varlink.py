"""A Varlink client for the tests of fsboxd: as small as can be, with descriptors, and as rude as a test wants it.

    c = Client()                            # FSBOX_SOCKET, or another path
    r = c.call("Invoke", function="f")      # the parameters of the answer; an error is raised as Error
    for r in c.more("List"): ...            # of each answer
    c.send("Invoke", function="f"); ...     # without waiting
    m = c.recv()                            # the next whole message, {"error", "parameters", "continues"}
    c.fds                                   # descriptors that have come, in their order
    f = Frames(Client())                    # the same connection with frames: docs/protocol.md

A wait for an answer ends after TIMEOUT seconds with socket.timeout, so that a daemon that hangs is a failed test."""
import array
import ctypes
import fcntl
import json
import mmap
import os
import resource
import select
import socket
import struct
import struct
import sys
import time
import traceback  # here: another user may not be able to read the library

TIMEOUT = 30 * int(os.environ.get("FSBOX_SLOWER", "1"))
INTERFACE = "org.fsbox.Sandbox."
F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE = 1, 2, 4, 8
SEALED = SEAL_SHRINK | SEAL_GROW | SEAL_WRITE


class Error(Exception):
    """An error that the daemon answered. name: without the interface's, if that is ours."""

    def __init__(self, name, parameters):
        Exception.__init__(self, "%s %s" % (name, json.dumps(parameters)))
        self.name = name[len(INTERFACE):] if name.startswith(INTERFACE) else name
        self.parameters = parameters


class Closed(Exception):
    """The daemon closed the connection."""


class Client:
    def __init__(self, path=None, timeout=None, rcvbuf=0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout or TIMEOUT)
        self.sock.connect(path or os.environ["FSBOX_SOCKET"])
        self.data = b""
        self.fds = []

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    # ---- Bytes and messages ----

    def send_bytes(self, data, fds=()):
        if not fds:
            self.sock.sendall(data)
            return
        n = self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        if n < len(data):
            self.sock.sendall(data[n:])

    def send_message(self, message, fds=()):
        self.send_bytes(json.dumps(message).encode() + b"\0", fds)

    def send(self, method, fds=(), more=False, oneway=False, **parameters):
        message = {"method": method if "." in method else INTERFACE + method, "parameters": parameters}
        if more:
            message["more"] = True
        if oneway:
            message["oneway"] = True
        self.send_message(message, fds)

    def recv(self):
        while b"\0" not in self.data:
            data, control, _, _ = self.sock.recvmsg(1 << 18, socket.CMSG_SPACE(64 * 4))
            for level, kind, body in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    got = array.array("i")
                    got.frombytes(body[:len(body) - len(body) % got.itemsize])
                    self.fds.extend(got)
            if not data:
                raise Closed()
            self.data += data
        text, self.data = self.data.split(b"\0", 1)
        return json.loads(text.decode())

    def is_quiet(self, seconds=0.2):
        """Nothing comes for a while."""
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            return not (self.data or self.sock.recv(1, socket.MSG_PEEK))
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(before)

    def result(self):
        """The parameters of the next answer."""
        message = self.recv()
        if "error" in message:
            raise Error(message["error"], message.get("parameters", {}))
        return message.get("parameters", {})

    # ---- Calls ----

    def call(self, method, fds=(), **parameters):
        self.send(method, fds, **parameters)
        return self.result()

    def more(self, method, fds=(), **parameters):
        """Of each answer; the call is over with the last. Leaving the loop early leaves the rest to be received."""
        self.send(method, fds, more=True, **parameters)
        while True:
            message = self.recv()
            if "error" in message:
                raise Error(message["error"], message.get("parameters", {}))
            yield message.get("parameters", {})
            if not message.get("continues"):
                return

    def fails(self, wanted, method, fds=(), **parameters):
        """The parameters of the error that has to come."""
        try:
            got = self.call(method, fds, **parameters)
        except Error as e:
            if e.name != wanted:
                raise AssertionError("%s: %s, wanted the error %s" % (method, e, wanted)) from e
            return e.parameters
        raise AssertionError("%s: %s, wanted the error %s" % (method, got, wanted))

    # ---- What tests say often ----

    def deploy(self, name, target=None, fds=(), replace=None, provisioned=0, reserved=0, maxCells=0, snapshot=None, **spec):
        """A function of the build: "echo", or a path."""
        if target is None:
            target = name
        if "/" not in target:
            target = "%s/%s.so" % (os.environ["FUNCTIONS"], target)
        parameters = {"provisioned": provisioned, "reserved": reserved, "maxCells": maxCells}
        if snapshot is not None:
            parameters["snapshot"] = snapshot
        if replace is not None:
            parameters["replace"] = replace
        return self.call("Deploy", fds, name=name, spec=dict(spec, target=target), **parameters)

    def invoke(self, function=None, text=None, **parameters):
        if text is not None:
            parameters["event"] = {"text": str(text)}
        if function is not None:
            parameters["function"] = function
        return self.call("Invoke", **parameters)

    def run_in(self, cell, *argv, **parameters):
        """Exec: the answer, and what the command wrote to both its outputs."""
        r, w = os.pipe()
        self.send("Exec", [w, w], cell=cell, argv=list(argv), stdoutFd=0, stderrFd=1, **parameters)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            try:
                result = self.result()
            finally:
                out = f.read().decode(errors="replace")
        return result, out

    def cells(self, function=None):
        parameters = {"function": function} if function else {}
        return [r["cell"] for r in self.more("List", **parameters) if "cell" in r]

    def cell(self, cell):
        return self.call("Inspect", cell=cell)["cell"]

    def functions(self):
        return [r["function"] for r in self.more("Functions") if "function" in r]


NAMES = [None, "HELLO", "CALL", "DATA", "END", "CREDIT", "RESULT", "ERROR", "LOG", "CANCEL", "PING", "PONG"]
for number, name in enumerate(NAMES[1:], 1):
    globals()[name] = number
WINDOW = 262144


class Answer:
    """What has come of one stream. result: the last frame's JSON, None before; error: an Error instead."""

    def __init__(self):
        self.body, self.log = bytearray(), bytearray()
        self.result = self.error = None
        self.parts = self.credit_left = 0

    @property
    def over(self):
        return self.result is not None or self.error is not None


class Frames:
    """Frames on a connection. Events are sent as their credit allows, answers collected by stream; with auto, credit is given
    for what has come."""

    def __init__(self, client, auto=True):
        self.client, self.sock, self.auto = client, client.sock, auto
        client.send_message({"method": INTERFACE + "Invoke", "upgrade": True})
        reply = client.result()
        if reply != {"kind": "frames", "invocation": ""}:
            raise AssertionError(reply)
        self.data = bytearray(client.data)
        kind, stream, body = self.get()
        if (kind, stream) != (HELLO, 0):
            raise AssertionError((kind, stream, body))
        self.hello = json.loads(body.decode())
        self.last, self.answers, self.credit, self.waiting, self.pongs = 0, {}, {}, {}, []

    def close(self):
        self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    # ---- Single frames ----

    @staticmethod
    def frame(kind, stream, body=b""):
        return struct.pack("<IIBBH", len(body), stream, kind, 0, 0) + body

    def put(self, kind, stream, body=b""):
        self.sock.sendall(self.frame(kind, stream, body))

    def get(self):
        """The next frame: type, stream, body."""
        while len(self.data) < 12 or len(self.data) < 12 + struct.unpack_from("<I", self.data)[0]:
            data = self.sock.recv(1 << 18)
            if not data:
                raise Closed()
            self.data += data
        n, stream, kind, flags, zero = struct.unpack_from("<IIBBH", self.data)
        if flags or zero:
            raise AssertionError("bytes that are to be 0 are not")
        body = bytes(self.data[12:12 + n])
        del self.data[:12 + n]
        return kind, stream, body

    # ---- Calls ----

    def open(self, function=None, **parameters):
        """A CALL: its stream."""
        if function is not None:
            parameters["function"] = function
        self.last += 1
        self.answers[self.last], self.credit[self.last] = Answer(), WINDOW
        self.put(CALL, self.last, json.dumps(parameters).encode())
        return self.last

    def start(self, function=None, event=b"", **parameters):
        """A CALL with its event, which is sent while answers are read."""
        stream = self.open(function, **parameters)
        self.waiting[stream] = memoryview(event)
        self.push()
        return stream

    def push(self):
        for stream in sorted(self.waiting):
            while self.waiting.get(stream) is not None and (self.credit[stream] > 0 or not len(self.waiting[stream])):
                part = self.waiting[stream][:min(65536, self.credit[stream])]
                if not len(part):
                    self.put(END, stream)
                    del self.waiting[stream]
                    continue
                if not select.select([], [self.sock], [], 0)[1]:  # never waits to send while there may be something to read
                    return
                self.put(DATA, stream, part)
                self.credit[stream] -= len(part)
                self.waiting[stream] = self.waiting[stream][len(part):]

    def grant(self, stream, n):
        self.put(CREDIT, stream, struct.pack("<I", n))

    def step(self):
        """Takes one frame, and says which stream it was of."""
        while len(self.data) < 12 and self.waiting and not select.select([self.sock], [], [], 0.001)[0]:
            self.push()
        kind, stream, body = self.get()
        a = self.answers.get(stream)
        if kind == PONG:
            self.pongs.append(body)
        elif kind == ERROR and stream == 0:
            e = json.loads(body.decode())
            raise Error(e["error"], e["parameters"])
        elif kind == CREDIT:
            self.credit[stream] += struct.unpack("<I", body)[0]
        elif a.over:
            raise AssertionError("%s behind the end of stream %d" % (NAMES[kind], stream))
        elif kind == DATA:
            a.body += body
            a.parts += 1
            if self.auto:
                self.grant(stream, len(body))
        elif kind == LOG:
            a.log += body[8:]
        elif kind == RESULT:
            a.result = json.loads(body.decode())
        elif kind == ERROR:
            e = json.loads(body.decode())
            a.error = Error(e["error"], e["parameters"])
        else:
            raise AssertionError("frame %d" % kind)
        if a is not None and a.over:
            self.waiting.pop(stream, None)
        self.push()
        return stream

    def wait(self, *streams):
        """Until these (default: all) have ended; the answer of the first, whose error is raised."""
        while not all(self.answers[s].over for s in streams or list(self.answers)):
            self.step()
        return self.answers[streams[0]] if streams else None

    def call(self, function=None, event=b"", **parameters):
        """A whole call. The stream's Answer."""
        stream = self.start(function, event, **parameters)
        a = self.wait(stream)
        del self.answers[stream]
        if a.error:
            raise a.error
        return a

    def fails(self, wanted, function=None, event=b"", **parameters):
        try:
            a = self.call(function, event, **parameters)
        except Error as e:
            if e.name != wanted:
                raise AssertionError("%s, wanted the error %s" % (e, wanted)) from e
            return e.parameters
        raise AssertionError("%s, wanted the error %s" % (a.result, wanted))

    def breaks(self, *frames):
        """Sends what is wrong: the reason that is given before the connection is closed."""
        self.sock.sendall(b"".join(frames))
        try:
            while True:
                self.step()
        except Error as e:
            if e.name != "InvalidFrame":
                raise
            reason = e.parameters["reason"]
        try:
            while True:
                self.get()
        except (Closed, ConnectionError):
            return reason


def body(result):
    """An answer's body as text."""
    payload = result["payload"]
    return payload["text"] if "text" in payload else json.dumps(payload["json"])


def memfd(data, seals=SEALED):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    if seals:
        fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


# ---- Checks ----

def eq(got, wanted, what=""):
    if got != wanted:
        raise AssertionError("%sgot %r, wanted %r" % (what + ": " if what else "", got, wanted))


def true(got, what="it"):
    if not got:
        raise AssertionError("not true: %s" % (what,))


def until(condition, what, seconds=10):
    """Waits for a state, and gives what made it true."""
    end = time.monotonic() + seconds * int(os.environ.get("FSBOX_SLOWER", "1"))
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("did not come: %s" % (what,))
        time.sleep(0.02)


# ---- The machine ----

def snapshot_errors(n):
    """Of the events that are kept, what the first @n about snapshots that failed say."""
    said = []
    with Client() as b:
        first = b.fails("Lost", "Subscribe", more=True, since=1)["firstAvailable"]
        for e in b.more("Subscribe", since=first):
            if (e["event"]["kind"], e["event"].get("status")) == ("snapshot", "error"):
                said.append(e["event"]["detail"])
            if len(said) == n:
                return said


def pid_of(name):
    """The daemon's process of this name; the tests are in a pid namespace of their own."""
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/comm" % pid) as f:
                if pid.isdigit() and f.read().strip() == name:
                    return int(pid)
        except OSError:
            continue
    return 0


def rss_kb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith("Pss_Anon:") or line.startswith("Anonymous:"):
                return int(line.split()[1])
    return 0


def fsboxd_pid():
    """Also in valgrind, which has its own tool's name."""
    return pid_of("fsboxd") or pid_of("memcheck-amd64-") or pid_of("memcheck-arm64-")


def descriptors(pid):
    """How many a process holds of each kind, without the network namespaces that fsbox-spawn has made ahead, and without
    the socket and the process of who makes them: they end when none was wanted for a while."""
    kinds = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            kind = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue
        kind = kind.split(":[")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    if kinds.get("net", 0) > 1:
        kinds["net"] = 1
        kinds["socket"] -= 1
        kinds["anon_inode"] -= 1
    return kinds


def fd_count(pid):
    return sum(descriptors(pid).values())


def limits_of(pid):
    """Soft and hard ones; prlimit(2) would ask for more than root has in some containers."""
    names = {"Max open files": resource.RLIMIT_NOFILE, "Max address space": resource.RLIMIT_AS}
    with open("/proc/%d/limits" % pid) as f:
        lines = [(names.get(line[:26].strip()), line[26:].split()[:2]) for line in f]
    return {limit: [resource.RLIM_INFINITY if n == "unlimited" else int(n) for n in values] for limit, values in lines if limit is not None}


def soft_limit(pid, limit, value):
    """Sets it in another process, as its own user, and gives what it was."""
    before = limits_of(pid)[limit]
    child = os.fork()
    if child == 0:
        try:
            st = os.stat("/proc/%d" % pid)
            os.setresgid(st.st_gid, st.st_gid, st.st_gid)
            os.setresuid(st.st_uid, st.st_uid, st.st_uid)
            resource.prlimit(pid, limit, (value, before[1]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    eq(limits_of(pid)[limit][0], value, "the limit")
    return before[0]


def leave_descriptors(pid, room):
    """Lowers the limit on descriptors until so many numbers below it are free. Gives what it was."""
    held = {int(fd) for fd in os.listdir("/proc/%d/fd" % pid)}
    limit = 0
    while limit - sum(fd < limit for fd in held) < room or limit in held:
        limit += 1
    return soft_limit(pid, resource.RLIMIT_NOFILE, limit)


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        words = f.read().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def cgroup2_root():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ")
            if right.split()[0] == "cgroup2":
                return left.split()[4]
    return None


def is_frozen(cell):
    """Of a cell as Inspect has it; None where there is no cgroup2 freezer."""
    root = cgroup2_root()
    path = "%s/%s/cgroup.events" % (root, cell.get("cgroup", ""))
    if root is None or not os.path.exists(path):
        return None
    with open(path) as f:
        return "frozen 1" in f.read()


def alive(cell):
    """Processes of a cell as Inspect has it that are no zombies: PID 1 of a frozen cell reaps nobody."""
    pids = []
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/cgroup" % pid) as f, open("/proc/%s/stat" % pid) as g:
                if cell["cgroup"] in f.read() and g.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                    pids.append(int(pid))
        except OSError:
            continue
    return pids


def become(uid, groups=()):
    """Another user for the rest of this process; for children of a test."""
    os.setgroups(list(groups))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG: the ids' change took it away


def as_user(uid, function, groups=()):
    """Runs function(Client) in a child with this uid; what it raises is raised here."""
    sys.stdout.flush()
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = "it ended in the middle"
        try:
            become(uid, groups)
            with Client() as c:
                function(c)
            status = ""
        except BaseException as e:  # whatever it is, the parent says it
            status = "%s\n%s" % (e, traceback.format_exc())
        finally:  # never back into what the parent does
            sys.stdout.flush()
            os.write(w, status.encode()[-4000:])
            os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        said = f.read()
    os.waitpid(pid, 0)
    if said:
        raise AssertionError("as uid %d: %s" % (uid, said))


# ---- What an attack on the daemon must leave as it was ----

class Bystander:
    """Somebody else's warm cell, and what the daemon holds: neither may change by what others do.

        other = Bystander()
        ...
        other.is_undisturbed()      # the same daemon, the same cell, the next number of its counter
        other.holds_no_more()       # the same number of descriptors, once what goes on has ended"""

    def __init__(self):
        self.client = Client()
        self.client.deploy("bystander", "counter")
        self.cell = self.client.invoke("bystander")["cell"]
        self.count = 1
        self.pids = [pid_of("fsboxd"), pid_of("fsbox-spawn")]
        self.is_undisturbed()
        time.sleep(0.3)  # namespaces are made ahead meanwhile
        self.fds = self.held()

    def held(self):
        """Of each process what its descriptors are, without numbers that differ from one to the next."""
        return [descriptors(pid) for pid in self.pids]

    def is_undisturbed(self):
        r = self.client.invoke("bystander")
        self.count += 1
        eq((r["cell"], r["startKind"], body(r)), (self.cell, "warm", str(self.count)), "the bystander")
        eq([pid_of("fsboxd"), pid_of("fsbox-spawn")], self.pids, "the daemon's processes")

    def holds_no_more(self):
        self.is_undisturbed()
        try:
            until(lambda: self.held() == self.fds, "as many descriptors as before")
        except AssertionError as e:
            now = self.held()
            raise AssertionError("%s: %s" % (e, [{kind: (n.get(kind, 0), now.get(kind, 0)) for kind in set(n) | set(now)
                                                  if n.get(kind, 0) != now.get(kind, 0)} for n, now in zip(self.fds, now)])) from e


class Faults:
    """What tests/lib/shim/faults.c does to fsboxd, through the file that both have mapped."""
    COUNT, FROM, TO, FAILED, WALL, READ_CODE, UNREAD = range(7)

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 56)

    def get(self, field):
        return struct.unpack_from("q", self.map, 8 * field)[0]

    def set(self, field, value):
        struct.pack_into("q", self.map, 8 * field, value)

    def fail(self, after, n):
        """Of the allocations from now on so many succeed, and the next n fail."""
        begin = self.get(self.COUNT) + 1 + after
        self.set(self.FAILED, 0)
        self.set(self.TO, begin + n)
        self.set(self.FROM, begin)

    def end(self):
        """How many have failed."""
        self.set(self.FROM, 0)
        return self.get(self.FAILED)
