"""What the tests of the runtime call: each function one form of answer, failure or end."""

import collections
import decimal
import os
import sys

calls = 0


def echo(event, context):
    return event


def count(event, context):
    global calls
    calls += 1
    return calls


class Text(str):
    pass


def answers(event, context):
    if isinstance(event, int):
        return "x" * event
    loop = []
    loop.append(loop)
    return {
        "none": None,
        "bytes": b"\xff raw",
        "no bytes": b"",
        "tuple": (1, [2.5, True]),
        "named": collections.namedtuple("Named", "a b")(1, 2),
        "text": Text("t"),
        "keys": {1: 1, None: 2, True: 3},
        "decimal": [decimal.Decimal("1.10"), {"d": decimal.Decimal("1E+40")}, decimal.Decimal("12345678901234567890.1")],
        "decimal nan": decimal.Decimal("NaN"),
        "surrogate": "\ud800",
        "umlaut": {"\u00e4": "\u20ac"},
        "set": {1},
        "loop": loop,
        "key": {(1, 2): 3},
        "inner bytes": [b"x"],
    }[event]


async def awaits(event, context):
    return 1


class Odd(Exception):
    pass


class Silent(Exception):
    def __str__(self):
        raise ValueError("no text")


def deeper(n):
    return deeper(n + 1)


def raises(event, context):
    if event == "odd":
        raise Odd('it is "odd"\nand \u00e4')
    if event == "empty":
        raise ValueError
    if event == "silent":
        raise Silent
    if event == "deep":
        deeper(0)
    if event == "library":
        import json

        json.loads("{")
    if event == "interrupt":
        raise KeyboardInterrupt
    if event == "surrogate":
        raise ValueError("\ud800")
    if event == "long":
        raise ValueError("x" + "\u00e4" * 40000)
    if event == "huge":
        raise ValueError("\u00e4" * (1 << 19))
    if event == "generated":
        exec("1 / 0")


class Callable:
    def method(self, event, context):
        return [type(self).__name__, event]


method = Callable().method
number = 7


def describes(event, context):
    names = (
        "aws_request_id function_name function_version memory_limit_in_mb log_group_name log_stream_name"
        " invoked_function_arn client_context tenant_id"
    ).split()
    whole = {name: getattr(context, name) for name in names}
    whole["identity"] = [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id]
    whole["trace"] = os.environ.get("_X_AMZN_TRACE_ID")
    whole["type"], whole["repr"] = type(context).__name__, repr(context)[:40]
    return whole


def remaining(event, context):
    import time

    first = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    second = context.get_remaining_time_in_millis()
    return [type(first).__name__, 2000 < first <= 3000, first - second >= 50]


def late(event, context):
    return context.get_remaining_time_in_millis()


def exits(event, context):
    print("before the end", end="")
    sys.exit(event)


def says(event, context):
    print("no end of line", end="")
    sys.stderr.write("\u00e4 \ud800")
    return 1


def closes(event, context):
    sys.stdout.close()
    sys.stderr = None
    return 1
