"""A function in Python: an answer as a dictionary, a line for the log, a failure of its own."""

import logging

logging.getLogger().setLevel("INFO")


def handler(event, context):
    name = event.get("name")
    if not name:
        raise ValueError("who is to be greeted? the event has no name")
    logging.info("greeting %s, %d ms left", name, context.get_remaining_time_in_millis())
    return {"message": "Hello, %s!" % name}
