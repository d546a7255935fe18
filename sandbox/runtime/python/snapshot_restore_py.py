"""Hooks around a snapshot, by the names that they have on AWS Lambda.

    @register_before_snapshot       the last registered runs first
    @register_after_restore         the first registered runs first

Both take arguments for the function as well: register_after_restore(connect, host, retries=3). What a hook raises fails the
snapshot (Runtime.BeforeSnapshotError) or the call (Runtime.AfterRestoreError). A package that brings AWS's own module of this
name is served just as well: the runtime uses the get_ functions alone.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore


def reset():
    _before_snapshot.clear()
    _after_restore.clear()
