"""A function with modules that have the names of standard ones, which others import before them."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__) + "/shadows")
import random  # noqa: E402
import secrets  # noqa: E402
import uuid  # noqa: E402


def handler(event, context):
    return [m.__file__.split("/")[-2] for m in (random, secrets, uuid)]
