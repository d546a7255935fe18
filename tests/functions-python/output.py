"""What becomes of what is printed: tests/unit/test_runtime_python_process."""

import io
import os
import sys


def looks(event, context):
    """Whoever only asks for logging leaves it for others."""
    import importlib.util

    found = importlib.util.find_spec("logging")
    import logging

    logging.warning("one\ntwo")
    return len(logging.getLogger().handlers) if found else None


def early(event, context):
    sys.stdout.write("no end of line")
    sys.stderr.write("nor here")
    os.environ["LATER"] = "1"
    return 1


def surrogate(event, context):
    print("half: \ud800, whole: \u00e4")
    return 1


class Refuses(io.StringIO):
    def write(self, text):
        raise RuntimeError("no writing")

    def flush(self):
        raise RuntimeError("no flushing")


def breaks(event, context):
    """Does something to stdout, then answers, or fails."""
    how, _, fails = event.partition(" ")
    if how == "closes":
        sys.stdout.close()
    if how == "descriptor":
        sys.stdout.write("in the buffer")
        os.close(1)
        os.close(2)
    if how == "none":
        sys.stdout = sys.stderr = None
    if how == "nothing":
        del sys.stdout, sys.stderr
    if how == "memory":
        sys.stdout = io.StringIO()
    if how == "refuses":
        sys.stdout = sys.stderr = Refuses()
    if fails:
        raise ValueError("without a log")
    return how


def behind(event, context):
    """Printed to the stream that was there first, by somebody who has put another in its place."""
    sys.__stdout__.write("to the first")
    sys.stdout = io.StringIO()
    return 1
