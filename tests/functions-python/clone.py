"""The place of a clone, and calls under a filter: tests/unit/test_runtime_python_clone."""

import logging
import os
import time


def place(event, context):
    get = os.environ.get
    return [
        get("COLOUR"), get("KEPT"), context.memory_limit_in_mb, get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        context.log_stream_name,
    ]


# ---- Under a filter ----


def calm(event, context):
    whole = sum(i * i for i in range(event))
    logging.warning("calm %s", time.strftime("%Y", time.localtime()))
    return [whole, len("x" * 300000)]


def fails_calmly(event, context):
    if event == "misspelt":
        return logging.warning2
    if event == "part":
        return len([event][event and 7:][0])
    if event == "logged":
        try:
            raise KeyError("lost")
        except KeyError:
            logging.exception("caught")
        return 1
    raise LookupError("under the filter")


def parent(event, context):
    return os.getppid()
