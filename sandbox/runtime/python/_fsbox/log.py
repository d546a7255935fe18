"""The logging module as Lambda's runtime leaves it: a handler on the root logger, in text or JSON.

logging takes some milliseconds to import, so it is set up when the function imports it and not before: a finder stands first
in sys.meta_path until then. Who imports logging cannot tell the difference.
"""

import os
import sys
import time

request_id = ""  # of the call that is running


def timestamp(seconds=None):
    seconds = time.time() if seconds is None else seconds
    whole = int(seconds)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return "%s.%03dZ" % (text, int((seconds - whole) * 1000))


class Finder:
    """Lets others find logging, and then sets it up."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                return _with_setup(spec)
        return None


def _with_setup(spec):
    execute = spec.loader.exec_module

    def exec_module(module):
        spec.loader.__dict__.pop("exec_module", None)
        execute(module)
        setup(module)

    try:
        spec.loader.exec_module = exec_module
    except AttributeError:  # a loader of somebody's own: then without
        pass
    return spec


def install():
    if "logging" in sys.modules:
        setup(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, Finder())


def setup(logging):
    as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"

    class Filter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = request_id
            return True

    class Handler(logging.Handler):
        def emit(self, record):
            try:
                sys.stdout.write(self.format(record) + "\n")
                sys.stdout.flush()
            except Exception:
                self.handleError(record)

    class Text(logging.Formatter):
        converter = time.gmtime

        def format(self, record):
            return super().format(record).replace("\n", "\r")  # one record, whatever lines it has

    class Json(logging.Formatter):
        # What every record has; the rest came with extra={…}.
        usual = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "aws_request_id"}

        def format(self, record):
            import json

            whole = {
                "timestamp": timestamp(record.created),
                "level": record.levelname,
                "message": record.getMessage(),
                "logger": record.name,
                "requestId": request_id or None,
            }
            for key, value in record.__dict__.items():
                if key not in self.usual:
                    whole[key] = value
            if record.exc_info and record.exc_info[1] is not None:
                import traceback

                kind, error, tb = record.exc_info
                whole["errorType"], whole["errorMessage"] = kind.__name__, str(error)
                whole["stackTrace"] = traceback.format_list(traceback.extract_tb(tb))
                whole["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
            return json.dumps({k: v for k, v in whole.items() if v is not None}, default=str)

    handler = Handler()
    if as_json:
        handler.setFormatter(Json())
    else:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        handler.setFormatter(Text(form, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(Filter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
    if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        root.setLevel(level)
    elif as_json:
        root.setLevel("INFO")
