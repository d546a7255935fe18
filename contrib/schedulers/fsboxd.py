"""What both schedulers here need of the protocol (docs/protocol.md): calls, streams and errors, with the standard library."""
import array
import fcntl
import json
import os
import socket

INLINE = 65536  # of a body in a message; larger ones go in a memfd
F_ADD_SEALS = 1033  # fcntl.F_ADD_SEALS since Python 3.9
SEALS = 2 | 4 | 8  # F_SEAL_SHRINK, GROW, WRITE: what lies in it stays as it is


class Error(Exception):
    """An error that fsboxd answered: name without the interface's, and its parameters."""

    def __init__(self, answer):
        self.name = answer["error"].rsplit(".", 1)[-1]
        self.parameters = answer.get("parameters", {})
        super().__init__(self.name + " " + json.dumps(self.parameters))


class Closed(ConnectionError):
    """fsboxd has closed the connection: it was started again, or has ended."""


def default_socket():
    own = os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/run"), "fsbox/fsbox.sock")
    shared = "/run/fsbox/fsbox.sock"
    return os.environ.get("FSBOX_SOCKET") or (shared if os.access(shared, os.W_OK) else own)


def memfd(data):
    """A Payload's descriptor with these bytes; the caller closes it."""
    fd = os.memfd_create("event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as f:
        f.write(data)
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    return fd


class Client:
    """One connection: one call at a time. When it is Closed, make another one."""

    def __init__(self, path=None, timeout=None):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path or default_socket())
        self.data = b""

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def send(self, method, more=False, fds=(), **parameters):
        message = {"method": "org.fsbox.Sandbox." + method, "parameters": parameters}
        if more:
            message["more"] = True
        data = json.dumps(message).encode() + b"\0"
        try:
            if fds:  # they travel with the bytes that this one call sends
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                data = data[self.sock.sendmsg([data], rights):]
            self.sock.sendall(data)
        except ConnectionError as e:
            raise Closed(str(e)) from e

    def receive(self):
        """The next answer: (its parameters, whether another one follows)."""
        while b"\0" not in self.data:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError as e:
                raise Closed(str(e)) from e
            if not data:
                raise Closed("fsboxd has closed the connection")
            self.data += data
        text, self.data = self.data.split(b"\0", 1)
        answer = json.loads(text)
        if "error" in answer:
            raise Error(answer)
        return answer.get("parameters", {}), answer.get("continues", False)

    def call(self, method, **parameters):
        self.send(method, **parameters)
        return self.receive()[0]

    def each(self, method, **parameters):
        """Of a method with several answers: a list of all."""
        self.send(method, more=True, **parameters)
        found, follows = [], True
        while follows:
            answer, follows = self.receive()
            found.append(answer)
        return found
