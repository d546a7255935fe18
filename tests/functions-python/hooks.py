"""Hooks around a snapshot, and what is renewed in a clone."""

import os
import random
import sys
import tempfile
import uuid

if os.environ.get("PACKAGED"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "packaged"))

from snapshot_restore_py import get_after_restore, get_before_snapshot, register_after_restore, register_before_snapshot

said = []
random.seed(7)
seeded = random.Random(7)
name = next(tempfile._get_candidate_names())
sequence = tempfile._name_sequence


class Loud(random.Random):
    def seed(self, *args, **kwargs):
        said.append("seed") if args == ("mine",) else super().seed(*args, **kwargs)


loud = Loud(7)


@register_before_snapshot
def first_before():
    said.append("before 1")


def fail(what, times=1):
    if os.environ.get("FAIL") == what:
        raise ValueError("%s failed %d times" % (what, times))
    if os.environ.get("FAIL") == what + " exit":
        sys.exit(5)
    said.append(what)


register_before_snapshot(fail, "before 2", times=3)
register_after_restore(fail, "after 1")


@register_after_restore
def second_after():
    said.append("after 2 " + os.environ.get("ADDED", "-"))
    said.append(os.popen("printf %s \"$ADDED\"").read())  # what C code sees


def handler(event, context):
    if event == "said":
        return [said, len(get_before_snapshot()), len(get_after_restore())]
    if event == "names":
        return sequence is tempfile._name_sequence
    if event == "memory":
        return [context.memory_limit_in_mb, context.log_stream_name]
    return [random.random(), seeded.random(), loud.random(), name, next(tempfile._get_candidate_names()), str(uuid.uuid4())]
