"""Frames: a head of 16 bytes (length, type, 0, number of the call) and a body; integers are little-endian."""

import posix

IN, OUT = 3, 4
HEAD = 16

CALL, FILTER, SHUTDOWN, SNAPSHOT, RESTORE, DRAW = 1, 2, 3, 4, 5, 6
READY, INIT_ERROR, DATA, DONE, ERROR, PARKED, RESTORED, DRAWN = 16, 17, 18, 19, 20, 23, 24, 25

VERSION, CAN_SNAPSHOT, NOT_RESEEDED = 1, 2, 1
MAX_ID, MAX_TRACE, MAX_PAYLOAD = 128, 3072, 6291456
MAX_TYPE, MAX_MESSAGE, MAX_DOCUMENT = 256, 32768, 1048576

# type: whether the head has the number of a call; the least and the most bytes of the body; what they are a multiple of
_RULES = {
    CALL: (True, 24, MAX_PAYLOAD + 4096, 1),
    FILTER: (False, 8, 32768, 8),
    SHUTDOWN: (False, 0, 0, 1),
    SNAPSHOT: (False, 0, 0, 1),
    RESTORE: (False, 120, 120 + 16384, 1),
    DRAW: (False, 0, 0, 1),
}


class Broken(Exception):
    """The host does not keep to the channel's contract, or is gone in the middle of a frame."""


def number(data, at, size):
    return int.from_bytes(data[at : at + size], "little")


class Reader:
    def __init__(self):
        self.data = b""

    def _fill(self, wanted):
        """True when `wanted` bytes are there; False at an end of file before the first of them."""
        have = len(self.data)
        if have >= wanted:
            return True
        parts = [self.data]
        while have < wanted:
            # A small frame comes with one read; of a large one, no more than is known to be its own is asked for.
            part = posix.read(IN, max(wanted - have, 65536 if wanted == HEAD else 1))
            if not part:
                if have:
                    raise Broken("the end of the pipe in the middle of a frame")
                return False
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)
        return True

    def next(self):
        """Type, number of the call and body of the next frame; None at the end of the channel."""
        if not self._fill(HEAD):
            return None
        length, kind, call = number(self.data, 0, 4), number(self.data, 4, 2), number(self.data, 8, 8)
        rule = _RULES.get(kind)
        # Refused before anything waits for the body: it may never come.
        if not rule or self.data[6:8] != b"\0\0" or rule[0] != (call != 0):
            raise Broken("a malformed head of type %d" % kind)
        if not rule[1] <= length <= rule[2] or length % rule[3]:
            raise Broken("a frame of type %d with %d bytes" % (kind, length))
        self._fill(HEAD + length)
        body, self.data = self.data[HEAD : HEAD + length], self.data[HEAD + length :]
        return kind, call, body


def head(kind, call, length):
    return b"".join(
        (length.to_bytes(4, "little"), kind.to_bytes(2, "little"), b"\0\0", call.to_bytes(8, "little"))
    )


def write(*parts):
    """All of it, with one system call where the pipe has room."""
    left = sum(map(len, parts))
    while left:
        n = posix.writev(OUT, parts)
        left -= n
        if left:
            parts = (memoryview(b"".join(parts))[n:],)


def send(kind, call=0, body=b""):
    write(head(kind, call, len(body)), body)


def answer(call, data):
    write(head(DATA, call, len(data)), data, head(DONE, call, 0))


def error(kind, call, error_type, message, document=b""):
    error_type = _cut(error_type, MAX_TYPE)
    message = _cut(message, MAX_MESSAGE)
    if len(document) > MAX_DOCUMENT:
        document = b""  # the host makes one of type and message
    fixed = len(error_type).to_bytes(2, "little") + b"\0\0" + len(message).to_bytes(4, "little")
    send(kind, call, b"".join((fixed, error_type, message, document)))


def _cut(text, size):
    """UTF-8 of at most so many bytes, no character cut in two."""
    data = text[:size].encode("utf-8", "backslashreplace")
    if len(data) <= size:
        return data
    return data[:size].decode("utf-8", "ignore").encode()
