"""Exceptions as Lambda tells them: a document for the caller, a record for the log. Imported when there is one.

The traceback module is not used: it costs more than half of an interpreter's start to import, marks columns since Python 3.11,
which Lambda leaves out, and looks at files each time, which a policy that begins after init forbids.
"""

import os
import sys

from _fsbox import codec, log

OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
MAX_FRAMES = 1000
MAX_SAME = 3  # of one line in a row, as Python prints them
MAX_KEPT = 4 << 20

_kept = None  # lines of source by file name, when no file can be opened any more


class Failure(Exception):
    """What the runtime itself finds wrong, with Lambda's type of it."""

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type, self.trace = error_type, list(trace)


# ---- Source lines ----


def _read_lines(path, names):
    try:
        with open(path, "rb") as f:
            data = f.read()
        if any(b"coding" in line for line in data.split(b"\n", 2)[:2]):
            import io
            import tokenize

            data = data.decode(tokenize.detect_encoding(io.BytesIO(data).readline)[0], "replace").encode()
        # Not splitlines(), which also ends lines where Python's own count does not.
        return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, LookupError, SyntaxError):
        pass
    try:  # out of a zip file, say
        return (names["__loader__"].get_source(names["__name__"]) or "").split("\n")
    except Exception:
        return []


def keep_lines():
    """Before a filter that lets no file be opened: reads what a trace would quote of the function. For the traceback module
    as well, which looks at files again wherever their lines are not given."""
    global _kept
    import linecache

    traceback = sys.modules.get("traceback")
    if traceback:
        try:
            _kept = 1 / 0  # a part of a line, to be marked as such: it imports more for that
        except ZeroDivisionError:
            traceback.format_exc()
    _kept, size = {}, 0
    roots = (os.environ.get("LAMBDA_TASK_ROOT", "/var/task") + "/", "/opt/")
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(roots) and path.endswith(".py") and size < MAX_KEPT:
            lines = _kept[path] = _read_lines(path, vars(module))
            length = sum(map(len, lines))
            size += length
            linecache.cache[path] = (length, None, [line + "\n" for line in lines], path)
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []


# ---- Traces ----


def _walk(tb):
    """File, line, name and globals of each frame; without the runtime's and the import system's before the function's own."""
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if frames or not code.co_filename.startswith((OURS, "<frozen importlib")):
            frames.append((code.co_filename, tb.tb_lineno, code.co_name, tb.tb_frame.f_globals))
        tb = tb.tb_next
    if len(frames) > MAX_FRAMES:
        frames = frames[: MAX_FRAMES // 2] + frames[-MAX_FRAMES // 2 :]
    return frames


def trace_of(tb):
    files = {} if _kept is None else _kept
    texts, last, same = [], None, 0

    def end_of_run():
        if same > MAX_SAME:
            texts.append("  [Previous line repeated %d more time%s]\n" % (same - MAX_SAME, "s"[: same - MAX_SAME - 1]))

    for path, line, name, names in _walk(tb):
        if (path, line, name) != last:
            end_of_run()
            last, same = (path, line, name), 0
        same += 1
        if same > MAX_SAME:
            continue
        if path not in files:
            files[path] = [] if _kept is not None or path.startswith("<") else _read_lines(path, names)
        text = '  File "%s", line %s, in %s\n' % (path, line, name)
        if line and line <= len(files[path]) and files[path][line - 1].strip():
            text += "    %s\n" % files[path][line - 1].strip()
        texts.append(text)
    end_of_run()
    return texts


def describe(error):
    """Type, message and trace (a list of texts)."""
    if isinstance(error, Failure):
        return error.error_type, str(error), error.trace
    try:
        message = str(error)
    except Exception as e:  # somebody's own __str__
        message = "<exception whose text cannot be made: %s>" % type(e).__name__
    return type(error).__name__, message, trace_of(error.__traceback__)


def syntax_error(module, error):
    where = '  File "%s" Line %s\n    %s' % (error.filename, error.lineno, (error.text or "").rstrip("\n"))
    return Failure("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, error), [where])


# ---- What becomes of them ----


def document(error_type, message, trace, request_id):
    whole = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}
    return codec.dumps(whole)


def record(error_type, message, trace, request_id, as_json):
    """On stdout, as one record whatever lines it has."""
    if as_json:
        whole = {
            "timestamp": log.timestamp(),
            "level": "ERROR",
            "errorMessage": message,
            "errorType": error_type,
            "requestId": request_id,
            "stackTrace": trace,
        }
        text = codec.dumps(whole).decode()
    else:
        lines = ["[ERROR] " + ": ".join(filter(None, (error_type, message))), "Traceback (most recent call last):"]
        for part in trace:
            for line in part.splitlines():
                bare = line.lstrip(" ")
                lines.append("\N{NO-BREAK SPACE}" * (len(line) - len(bare)) + bare)  # or viewers of logs drop the indent
        text = "\n".join(lines if trace else lines[:1])
    try:
        log.write_record(text)
    except Exception:
        pass  # the function has closed it, removed it, or put something else there
