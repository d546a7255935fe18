"""Logging in its forms."""

import logging
import sys

if __import__("os").environ.get("LEVEL"):
    logging.getLogger().setLevel(__import__("os").environ["LEVEL"])


def one(event, context):
    logging.getLogger().warning("one\ntwo %s", event)
    logging.info("not at this level")
    return len(logging.getLogger().handlers)


def fails(event, context):
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("shop.db").exception("it failed")
    return 1


def extra(event, context):
    logging.getLogger("shop").error("with \u00e4", extra={"order": 7, "odd": {1, 2}.__class__})
    logging.log(25, "a level of its own")
    logging.debug("not at this level")
    return 1


def own(event, context):
    """A format of the function's own keeps records whole as well."""
    logging.getLogger().handlers[0].setFormatter(logging.Formatter("<%(aws_request_id)s>\n%(message)s"))
    logging.warning("mine")
    logging.basicConfig(format="never")
    return len(logging.getLogger().handlers)


def closed(event, context):
    sys.stderr = open("/dev/null", "w")
    sys.stdout.close()
    logging.warning("to nobody")
    return 1


def by_context(event, context):
    context.log("by\ncontext")
    context.log({"a": 1})
    print("printed")
    return 1
