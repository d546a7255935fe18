"""A Varlink client for the tests of fsboxd: as small as can be, with descriptors, and as rude as a test wants it.

    c = Client()                            # FSBOX_SOCKET, or another path
    r = c.call("Invoke", function="f")      # the parameters of the answer; an error is raised as Error
    for r in c.more("List"): ...            # of each answer
    c.send("Invoke", function="f"); ...     # without waiting
    m = c.recv()                            # the next whole message, {"error", "parameters", "continues"}
    c.fds                                   # descriptors that have come, in their order

A wait for an answer ends after TIMEOUT seconds with socket.timeout, so that a daemon that hangs is a failed test."""
import array
import ctypes
import fcntl
import json
import os
import socket
import sys
import time

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

    def deploy(self, name, target=None, fds=(), replace=None, provisioned=0, reserved=0, maxCells=0, **spec):
        """A function of the build: "echo", or a path."""
        if target is None:
            target = name
        if "/" not in target:
            target = "%s/%s.so" % (os.environ["FUNCTIONS"], target)
        parameters = {"provisioned": provisioned, "reserved": reserved, "maxCells": maxCells}
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


def fd_count(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


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
        status = "?"
        try:
            become(uid, groups)
            with Client() as c:
                function(c)
            status = ""
        except BaseException as e:  # whatever it is, the parent says it
            import traceback
            status = "%s\n%s" % (e, traceback.format_exc())
        sys.stdout.flush()
        os.write(w, status.encode()[-4000:])
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        said = f.read()
    os.waitpid(pid, 0)
    if said:
        raise AssertionError("as uid %d: %s" % (uid, said))
