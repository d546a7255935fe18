"""Sends the examples of docs/protocol.md to a daemon and compares what comes back with what the page says.

    protocol_examples.py DOCUMENT SOCKET EXAMPLES

Lines that begin with "    > " are calls, those with "    < " the answers to the last one, as far as they are shown. An
answer is as the page says when it has the members that the page has, each of the same JSON type, and for errors the same
name; a list that is empty on the page and texts and numbers may be anything, but what tells answers apart must be equal.
Each example group (up to the next heading) uses one connection; a stream that is shown in part is closed."""
import json
import re
import socket
import sys

EQUAL = {"error", "kind", "status", "created", "existed", "sameSpec", "continues", "vendor", "product", "interfaces", "apiLevel",
         "field", "what", "function", "name", "stream", "leased", "payload", "log"}
OPTIONAL = {"buildUs", "initUs", "restoreUs"}  # of a start that was cold, which depends on when the call came
KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a text", dict: "an object", list: "a list",
         type(None): "null"}


def differences(wanted, got, place):
    """What the page says and the answer lacks, one line each."""
    if KINDS[type(wanted)] != KINDS[type(got)]:
        yield f"{place} is {KINDS[type(got)]}, and {KINDS[type(wanted)]} on the page"
    elif isinstance(wanted, dict):
        for name, value in wanted.items():
            if name not in got:
                yield f"{place}.{name} is missing"
            elif name in EQUAL and not isinstance(value, dict) and value != got[name]:
                yield f"{place}.{name} is {got[name]!r}, and {value!r} on the page"
            else:
                yield from differences(value, got[name], f"{place}.{name}")
        for name in got:
            if name not in wanted and wanted and name not in OPTIONAL:
                yield f"{place}.{name} is not on the page"
    elif isinstance(wanted, list) and wanted and got:
        yield from differences(wanted[0], got[0], place + "[0]")


def find(value, name):
    if isinstance(value, dict):
        if name in value:
            return value[name]
        for inner in value.values():
            found = find(inner, name)
            if found is not None:
                return found
    if isinstance(value, list) and value:
        return find(value[0], name)
    return None


class Connection:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.continues = False

    def send(self, text):
        self.sock.sendall(text.encode() + b"\0")

    def receive(self):
        text = bytearray()
        while not text.endswith(b"\0"):
            byte = self.file.read(1)
            if not byte:
                raise SystemExit("the daemon has closed the connection")
            text += byte
        answer = json.loads(bytes(text[:-1]))
        self.continues = answer.get("continues", False)
        return answer


def goes_without(text, features):
    """Of a daemon that has no CRIU."""
    return "snapshot" not in features and re.search(r"Sandbox\.(Snapshot|Fork)\"", text)


def main(document, path, examples):
    connection, last, wrong, calls, fresh, bound = None, {}, 0, 0, True, {}
    features, left_out = ("snapshot",), False
    for number, line in enumerate(open(document, encoding="utf-8"), 1):
        if line.startswith("#"):
            fresh = True
        if line.startswith("    > "):
            left_out = goes_without(line, features)
            if left_out:
                continue
            if fresh or connection.continues:
                connection, fresh = Connection(path), False
            text = line[6:].strip().replace("$EXAMPLES", examples)
            for name in re.findall(r"\$([a-z]+)", text):
                found = find(last, name)  # in the answer before, or in one before that
                if found is not None:
                    bound[name] = found
                text = text.replace("$" + name, bound[name])
            connection.send(text)
            calls += 1
        elif line.startswith("    < ") and not left_out:
            last = connection.receive()
            features = last.get("parameters", {}).get("features", features)
            bound.update((name, found) for name in ("cell", "id", "lease") for found in [find(last, name)] if found)
            for difference in differences(json.loads(line[6:]), last, "answer"):
                print(f"{document}:{number}: {difference}\n    {json.dumps(last)[:600]}")
                wrong += 1
    print(f"{calls} calls")
    return wrong > 0 or calls < 20


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
