"""fsbox's runtime for Python functions: docs/runtimes.md; its side of the channel: docs/channel.md.

    serve       the loop: loads the handler, takes frames, answers
    channel     frames over descriptors 3 and 4
    codec       JSON
    context     what a handler gets besides its event
    errors      exceptions as Lambda's documents and log records
    log         the logging module as Lambda sets it up; imported when logging is
    snapshot    hooks, reseeding, draws; imported when a snapshot is near

A start imports the first four, and log's finder. Nothing here is for functions but snapshot_restore_py, beside this package.
Works with Python 3.8 and newer.
"""
