"""Logging is imported in the call; warnings go to stderr."""

import sys
import warnings


def handler(event, context):
    before = "logging" in sys.modules
    finders = len(sys.meta_path)
    import logging
    import logging.config

    logging.getLogger("late").warning("there")
    warnings.warn("take care")
    return [before, finders - len(sys.meta_path), logging.__spec__.name, logging.Formatter.converter.__name__]
