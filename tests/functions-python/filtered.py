"""Under a filter that lets no file be opened."""

import json
import os
import time
import traceback

try:
    json.loads("[" if os.environ.get("FORMATTED") else "[]")
except ValueError:
    traceback.format_exc()  # which now has lines of a file in stock, and would look at it again


def handler(event, context):
    if event == "raise":
        raise ValueError("under the filter")
    if event == "traceback":
        try:
            raise KeyError("k")
        except KeyError:
            return traceback.format_exc()
    if event == "again":
        try:
            json.loads("[")
        except ValueError:
            return traceback.format_exc()
    if event == "library":
        json.loads("[")
    if event == "time":
        return time.localtime().tm_year > 2000
    if event == "open":
        return os.listdir("/")
    return event
