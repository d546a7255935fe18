"""The loop of the runtime: loads the handler, then one frame after the other."""

import json
import os
import posix
import sys
import time

from _fsbox import channel, context, log

forked = False  # this is a child that the function made: it must not speak for the runtime

BUILTIN_MESSAGE = "Cannot use built-in module %s as a handler module"


def _on_fork():
    """In a child of fork(2). What it executes does not have the channel; what it runs on with has not either."""
    global forked
    forked = True
    for fd in (channel.IN, channel.OUT):
        try:
            posix.close(fd)
        except OSError:
            pass


def _end_child():
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the function has closed or replaced it


# ---- Loading ----


def _set_paths():
    version = "python%d.%d" % sys.version_info[:2]
    ours = sys.path[0]  # of main.py
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    sys.path[0:1] = [task, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    sys.path.append(ours)
    os.environ["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + version


def load(handler):
    """The function that --handler names. Raises errors.Failure, or what the function's module raises."""
    from _fsbox.errors import Failure, syntax_error

    name, dot, function = handler.rpartition(".")
    if not dot or not name or not function:
        raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': not FILE.FUNCTION" % handler)
    name = name.replace("/", ".")
    if name.split(".")[0] in sys.builtin_module_names:
        raise Failure("Runtime.ImportModuleError", BUILTIN_MESSAGE % name)
    try:
        __import__(name)
    except ImportError as e:
        from _fsbox.errors import describe

        text = "Unable to import module '%s': %s" % (handler.rpartition(".")[0], e)
        raise Failure("Runtime.ImportModuleError", text, describe(e)[2])
    except SyntaxError as e:
        raise syntax_error(name, e)
    module = sys.modules[name]
    try:
        found = getattr(module, function)
    except AttributeError:
        raise Failure("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, name)) from None
    if not callable(found):
        raise Failure("Runtime.HandlerNotFound", "Handler '%s' of module '%s' is not a function" % (function, name))
    return found


# ---- Calls ----


class Call:
    """The body of a CALL: deadline, remaining time, lengths; then request id, trace id, event."""

    def __init__(self, body):
        number = channel.number
        if len(body) < 24:
            raise channel.Broken("a call of %d bytes" % len(body))
        self.deadline_ms = int.from_bytes(body[:8], "little", signed=True)
        self.remaining_ns = number(body, 8, 8)
        id_end = 24 + number(body, 16, 2)
        trace_end = id_end + number(body, 18, 2)
        if trace_end + number(body, 20, 4) != len(body):
            raise channel.Broken("a call whose lengths contradict each other")
        self.request_id = body[24:id_end].decode("utf-8", "replace")
        self.trace_id = body[id_end:trace_end].decode("utf-8", "replace")
        self.event = body[trace_end:]


def _default(value):
    decimal = sys.modules.get("decimal")
    if decimal and isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def marshal(result):
    from_ascii = json.dumps
    try:
        return from_ascii(result, ensure_ascii=False, default=_default).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only escapes can carry
        return from_ascii(result, default=_default).encode()


class Runtime:
    def __init__(self):
        self.reader = channel.Reader()
        self.as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        self.config = None
        self.handler = None
        self.keep_seeds = False
        self.fault_call = None  # tells who reports refused system calls which call is running

    # -- errors --

    def report(self, kind, call, error, request_id):
        """An exception to the host and into the log. The error's document is the caller's."""
        from _fsbox import errors

        error_type, message, trace = errors.describe(error)
        document = errors.document(error_type, message, trace, request_id)
        errors.record(error_type, message, trace, request_id, self.as_json)
        flush()
        if forked:
            _end_child()
        channel.error(kind, call, error_type, message, document)

    def init_failed(self, error, error_type=None):
        if error_type:
            from _fsbox import errors

            found, message, trace = errors.describe(error)
            error = errors.Failure(error_type, "%s: %s" % (found, message), trace)
        self.report(channel.INIT_ERROR, 0, error, "")
        sys.exit(1)

    # -- frames --

    def call(self, number, body):
        call = Call(body)
        log.request_id = call.request_id
        if call.trace_id:
            os.environ["_X_AMZN_TRACE_ID"] = call.trace_id
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        if self.fault_call:
            self.fault_call(number)
        try:
            data = self.answer_of(call)
        except SystemExit:
            raise
        except BaseException as e:
            self.report(channel.ERROR, number, e, call.request_id)
        else:
            flush()
            channel.answer(number, data)
        if self.fault_call:
            self.fault_call(0)

    def answer_of(self, call):
        try:
            event = json.loads(call.event.decode())
        except (ValueError, RecursionError) as e:
            self.fail("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e)
        result = self.handler(event, context.Context(self.config, call.request_id, call.deadline_ms, call.remaining_ns))
        if forked:
            _end_child()
        try:
            data = marshal(result)
        except (TypeError, ValueError, RecursionError) as e:
            self.fail("Runtime.MarshalError", "Unable to marshal response: %s" % e)
        if len(data) > channel.MAX_PAYLOAD:
            text = "Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes)."
            self.fail("Function.ResponseSizeTooLarge", text % (len(data), channel.MAX_PAYLOAD))
        return data

    @staticmethod
    def fail(error_type, message):
        from _fsbox.errors import Failure

        raise Failure(error_type, message) from None

    def filter(self, body):
        from _fsbox import snapshot

        time.localtime()  # or the first use under the filter would open the zone's file
        r = snapshot.assist().fsbox_assist_filter(body, len(body) // 8)
        if r < 0:
            message = "the policy's filter cannot be installed: %s" % os.strerror(-r)
            self.init_failed(self.failure("Runtime.InitError", message))
        self.fault_call = snapshot.assist().fsbox_assist_call

    @staticmethod
    def failure(error_type, message):
        from _fsbox.errors import Failure

        return Failure(error_type, message)

    def park(self):
        from _fsbox import snapshot

        flush()  # or every clone would print it
        try:
            snapshot.run_before()
        except BaseException as e:
            self.init_failed(e, "Runtime.BeforeSnapshotError")
        if forked:
            _end_child()
        snapshot.prepare()
        flush()
        channel.send(channel.PARKED)

    def restore(self, body):
        from _fsbox import snapshot

        if len(body) < 120 or len(body) != 120 + channel.number(body, 96, 4):
            raise channel.Broken("a malformed restore")
        begin = time.monotonic_ns()
        self.keep_seeds = bool(channel.number(body, 92, 4) & 1)
        try:
            snapshot.apply_environment(body[120:])
            self.config = context.Config()
            snapshot.reseed(self.keep_seeds)
            middle = time.monotonic_ns()
            snapshot.run_after()
        except BaseException as e:
            self.init_failed(e, "Runtime.AfterRestoreError")
        if forked:
            _end_child()
        flush()
        end = time.monotonic_ns()
        channel.send(
            channel.RESTORED, 0, (middle - begin).to_bytes(8, "little") + (end - middle).to_bytes(8, "little")
        )

    def draw(self):
        from _fsbox import snapshot

        channel.send(channel.DRAWN, 0, snapshot.draw(self.keep_seeds))

    # -- the loop: docs/channel.md, "Order" --

    def serve(self):
        ready, parked, restored, called = range(4)
        phase = ready
        while True:
            frame = self.reader.next()
            if frame is None:
                return
            kind, number, body = frame
            if kind == channel.CALL and number and phase != parked:
                phase = called
                self.call(number, body)
            elif kind == channel.SHUTDOWN:
                return
            elif kind == channel.FILTER and phase != called:
                self.filter(body)
            elif kind == channel.SNAPSHOT and phase == ready:
                phase = parked
                self.park()
            elif kind == channel.RESTORE and phase in (ready, parked):
                phase = restored
                self.restore(body)
            elif kind == channel.DRAW and phase in (ready, restored):
                self.draw()
            else:
                raise channel.Broken("a frame of type %d out of place" % kind)


def _setup_streams():
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # By lines: what was printed before a crash is in the log.
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def main():
    try:
        for fd in (channel.IN, channel.OUT):
            posix.set_inheritable(fd, False)
    except OSError as e:
        sys.stderr.write("no channel on descriptors 3 and 4: %s; fsbox starts this program\n" % e.strerror)
        sys.exit(2)
    sys.dont_write_bytecode = True  # where code stands, nothing can be written
    _setup_streams()
    os.register_at_fork(after_in_child=_on_fork)
    _set_paths()
    log.install()
    runtime = Runtime()
    if os.environ.pop("_FSBOX_FILTER", None):
        from _fsbox import snapshot

        snapshot.assist()
    if sys.version_info < (3, 8):
        runtime.init_failed(runtime.failure("Runtime.InvalidRuntime", "Python 3.8 or newer is needed"))
    try:
        runtime.handler = load(os.environ.get("_HANDLER", ""))
    except SystemExit:
        raise
    except BaseException as e:
        runtime.init_failed(e)
    if forked:
        _end_child()
    runtime.config = context.Config()
    flush()
    try:
        channel.send(
            channel.READY,
            0,
            channel.VERSION.to_bytes(4, "little") + channel.CAN_SNAPSHOT.to_bytes(4, "little"),
        )
        runtime.serve()
    except BrokenPipeError:
        sys.exit(1)  # nobody is there to be told
    except channel.Broken as e:
        sys.stderr.write("fsbox: the channel: %s\n" % e)
        sys.exit(1)
