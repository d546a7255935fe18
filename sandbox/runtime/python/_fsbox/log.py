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


def write_record(text):
    """One record of the log, whatever lines it has."""
    if text[-1:] == "\n":
        text = text[:-1]
    sys.stdout.write(text.replace("\n", "\r") + "\n")
    sys.stdout.flush()


class Finder:
    """Lets others find logging, and then sets it up."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None) if finder is not self else None
            spec = find(name, path, target) if find else None
            if spec is not None:
                return self.with_setup(spec)
        return None

    def with_setup(self, spec):
        execute = spec.loader.exec_module

        def exec_module(module):
            spec.loader.__dict__.pop("exec_module", None)
            if self in sys.meta_path:  # not before: who finds logging need not import it
                sys.meta_path.remove(self)
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


# What each record has; the rest came with extra={…}.
_USUAL = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs"
    " relativeCreated thread threadName processName process taskName message asctime aws_request_id tenant_id".split()
)


def _json_record(logging, record):
    from _fsbox import codec

    whole = {
        "timestamp": timestamp(record.created),
        "level": logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10),
        "message": record.getMessage(),
        "logger": record.name,
    }
    if record.exc_info and record.exc_info[1] is not None:
        from _fsbox import errors

        kind, error, tb = record.exc_info
        whole["stackTrace"] = errors.trace_of(tb)
        whole["errorType"], whole["errorMessage"] = kind.__name__, str(error)
        whole["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
    whole["requestId"] = request_id
    for key, value in record.__dict__.items():
        if key not in _USUAL and key not in whole and value is not None:
            whole[key] = value
    return codec.dumps(whole, str).decode()


def setup(logging):
    as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    logging.Formatter.converter = time.gmtime

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = request_id
            record.tenant_id = None
            return True

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            try:
                write_record(self.format(record))
            except Exception:
                self.handleError(record)

    class JsonFormatter(logging.Formatter):
        def format(self, record):
            return _json_record(logging, record)

    handler = LambdaLoggerHandler()
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
    if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        root.setLevel(level)
    elif as_json:
        root.setLevel("INFO")
