"""A seccomp agent (config-linux.md, "The Container Process State"): takes connections at a socket, writes each one's state as a
line of JSON to a file, and answers the questions of its filter: mkdir(2) and mkdirat(2) fail with EDOM, the rest goes on.

    python3 oci_agent.py SOCKET FILE
"""
import array
import errno
import fcntl
import json
import os
import platform
import select
import socket
import struct
import sys
import threading

NOTIF = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, nr, arch, ip, args
RESP = struct.Struct("=QqiI")  # id, val, error, flags
RECV = 3 << 30 | NOTIF.size << 16 | ord("!") << 8 | 0
SEND = 3 << 30 | RESP.size << 16 | ord("!") << 8 | 1
CONTINUE = 1
MKDIR = (34,) if platform.machine() == "aarch64" else (83, 258)


def answer(fd):
    notif = bytearray(NOTIF.size)
    try:
        fcntl.ioctl(fd, RECV, notif)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.EINTR):  # who asked is gone
            return
        raise
    ident, _, _, nr = NOTIF.unpack(notif)[:4]
    resp = RESP.pack(ident, 0, -errno.EDOM, 0) if nr in MKDIR else RESP.pack(ident, 0, 0, CONTINUE)
    try:
        fcntl.ioctl(fd, SEND, bytearray(resp))
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise


def serve(fd):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        events = poll.poll()[0][1]
        if events & select.POLLIN:
            answer(fd)
        elif events & (select.POLLHUP | select.POLLERR):  # nobody is under the filter any more
            os.close(fd)
            return


def take(conn, out):
    text = b""
    fds = array.array("i")
    while True:
        data, control, _, _ = conn.recvmsg(65536, socket.CMSG_SPACE(4 * 8))
        for level, kind, rights in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(rights[: len(rights) - len(rights) % 4])
        if not data:
            break
        text += data
    state = json.loads(text)
    state["received"] = len(fds)
    out.write(json.dumps(state) + "\n")
    out.flush()
    for fd in fds:
        threading.Thread(target=serve, args=(fd,), daemon=True).start()


def main():
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(sys.argv[1] + ".new")
    listener.listen()
    out = open(sys.argv[2], "w")
    os.rename(sys.argv[1] + ".new", sys.argv[1])  # there means ready
    while True:
        conn, _ = listener.accept()
        take(conn, out)
        conn.close()


main()
