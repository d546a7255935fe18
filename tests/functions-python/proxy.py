"""An object that passes for another: tests/unit/test_runtime_python_clone."""

import random


class Trap:
    """An object that passes for another, as proxies do, and fails when it is asked."""

    @property
    def __class__(self):
        raise RuntimeError("outside of a request")


trap = Trap()
own = random.Random(7)


def handler(event, context):
    return own.random() != random.Random(7).random()
