"""Exceptions as Lambda tells them: a document for the caller, a record for the log. Imported when there is one."""

import json
import os
import sys
import traceback

OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
MAX_FRAMES = 1000


class Failure(Exception):
    """What the runtime itself finds wrong, with Lambda's type of it."""

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type, self.trace = error_type, list(trace)


def _frames(tb):
    """Without those of the runtime, and of the import system, that stand before the function's own."""
    frames = traceback.extract_tb(tb)
    first = 0
    while first < len(frames) and (frames[first].filename.startswith((OURS, "<frozen importlib"))):
        first += 1
    frames = list(frames[first:])
    if len(frames) > MAX_FRAMES:
        frames = frames[: MAX_FRAMES // 2] + frames[-MAX_FRAMES // 2 :]
    return traceback.StackSummary.from_list(frames).format()


def describe(error):
    """Type, message and trace (a list of texts)."""
    if isinstance(error, Failure):
        return error.error_type, str(error), error.trace
    try:
        message = str(error)
    except Exception as e:  # somebody's own __str__
        message = "<exception whose text cannot be made: %s>" % type(e).__name__
    return type(error).__name__, message, _frames(error.__traceback__)


def syntax_error(module, error):
    # Not traceback's text of it, which would quote the runtime as well.
    where = '  File "%s" Line %s\n    %s' % (error.filename, error.lineno, (error.text or "").rstrip("\n"))
    return Failure("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, error), [where])


def document(error_type, message, trace, request_id):
    whole = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}
    return json.dumps(whole).encode()


def record(error_type, message, trace, request_id, as_json):
    """On stdout, as one record whatever lines it has."""
    if as_json:
        from _fsbox import log

        text = json.dumps(
            {
                "timestamp": log.timestamp(),
                "log_level": "ERROR",
                "errorMessage": message,
                "errorType": error_type,
                "requestId": request_id,
                "stackTrace": trace,
            }
        )
    else:
        text = "[ERROR] %s: %s" % (error_type, message) if error_type else "[ERROR] " + message
        if trace:
            text += "\nTraceback (most recent call last):\n" + "".join(trace)
        text = text.rstrip("\n").replace("\n", "\r")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        pass  # the function has closed or replaced it
