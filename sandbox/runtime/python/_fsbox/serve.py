"""The loop of the runtime: loads the handler, then one frame after the other."""

import os
import posix
import sys
import time

from _fsbox import channel, codec, context, log

_process = posix.getpid()  # another one is a child that the function made: it must not speak for the runtime


def _on_fork():
    """In a child of os.fork(): neither what it executes nor what it runs on with has the channel."""
    for fd in (channel.IN, channel.OUT):
        try:
            posix.close(fd)
        except OSError:
            pass


def _end_if_child(status=0):
    # By the process id, because a library may call fork(2) without telling Python. A clone of a snapshot has its old id.
    if posix.getpid() != _process:
        flush()
        posix._exit(status)


def flush():
    # The first two, too: the function may have put others in their place, with something still in the buffer.
    for name in ("__stdout__", "__stderr__", "stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:
            pass  # the function has closed it, removed it, or put something else there


def leave(status):
    """Ends as an interpreter does, but for waiting for threads: one of the function's may never end, and nobody hears it any
    more; and but for taking everything apart, which takes longer than a call."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # before 3.10 it raises what it has printed
    flush()
    posix._exit(status)


# ---- Loading ----


def _set_paths():
    version = "python%d.%d" % sys.version_info[:2]
    ours = sys.path[0]  # main.py sees to that
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    layers = ["/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    sys.path[:] = [task] + layers + [path for path in sys.path if path != ours] + [ours]
    os.environ["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + version


def failure(error_type, message, trace=()):
    from _fsbox.errors import Failure

    return Failure(error_type, message, trace)


def load(handler):
    """The function that --handler names. Raises errors.Failure, or what the function's module raises."""
    path, dot, function = handler.rpartition(".")
    name = path.replace("/", ".")
    if not dot or not function or not all(name.split(".")):
        raise failure("Runtime.MalformedHandlerName", "Bad handler '%s': not FILE.FUNCTION" % handler)
    if name.split(".")[0] in sys.builtin_module_names:
        text = "Cannot use built-in module %s as a handler module" % name
        raise failure("Runtime.BuiltInModuleConflict", text)
    try:
        __import__(name)
    except ImportError as e:
        from _fsbox.errors import trace_of

        text = "Unable to import module '%s': %s" % (path, e)
        raise failure("Runtime.ImportModuleError", text, trace_of(e.__traceback__)) from None
    except SyntaxError as e:
        from _fsbox.errors import syntax_error

        raise syntax_error(path, e) from None
    try:
        found = getattr(sys.modules[name], function)
    except AttributeError:
        text = "Handler '%s' missing on module '%s'" % (function, path)
        raise failure("Runtime.HandlerNotFound", text) from None
    if not callable(found):
        raise failure("Runtime.HandlerNotFound", "Handler '%s' of module '%s' is not a function" % (function, path))
    return found


# ---- Calls ----


class Call:
    """The body of a CALL: deadline, remaining time, lengths; then request id, trace id, event."""

    def __init__(self, body):
        number = channel.number
        id_length, trace_length, event_length = number(body, 16, 2), number(body, 18, 2), number(body, 20, 4)
        id_end = 24 + id_length
        trace_end = id_end + trace_length
        if trace_end + event_length != len(body):
            raise channel.Broken("a call whose lengths contradict each other")
        ids = body[24:trace_end]
        if id_length > channel.MAX_ID or trace_length > channel.MAX_TRACE or event_length > channel.MAX_PAYLOAD or 0 in ids:
            raise channel.Broken("a call that is too large")
        self.deadline_ms = int.from_bytes(body[:8], "little", signed=True)
        self.remaining_ns = number(body, 8, 8)
        self.request_id = body[24:id_end].decode("utf-8", "replace")
        self.trace_id = body[id_end:trace_end].decode("utf-8", "replace")
        self.event = body[trace_end:]


def marshal(result):
    """The bytes of an answer. Bytes are one already."""
    if isinstance(result, bytes):
        return result
    try:
        return codec.dumps(result)
    except Exception as e:
        text = "Unable to marshal response: %s" % e
        if type(result).__name__ == "coroutine":
            result.close()  # or a warning would follow
            text += ": the handler is an 'async def', which Lambda does not await; call asyncio.run() in a plain one"
        raise failure("Runtime.MarshalError", text) from None


def _text(error):
    try:
        return str(error)
    except Exception:
        return ""


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
        error_type, message, document = type(error).__name__, None, b""
        try:
            from _fsbox import errors

            error_type, message, trace = errors.describe(error)
            document = errors.document(error_type, message, trace, request_id)
            errors.record(error_type, message, trace, request_id, self.as_json)
        except Exception:
            # No memory or descriptor is left to tell more: the host makes a document of what is known.
            message = _text(error) if message is None else message
        flush()
        _end_if_child(1)
        channel.error(kind, call, error_type, message, document)

    def init_failed(self, error, error_type=None):
        if error_type:
            from _fsbox import errors

            found, message, trace = errors.describe(error)
            error = errors.Failure(error_type, "%s: %s" % (found, message), trace)
        self.report(channel.INIT_ERROR, 0, error, "")
        leave(1)

    # -- frames --

    def call(self, number, body):
        call = Call(body)
        del body  # a large event does not outlive its call
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
        data, call.event = call.event, None
        try:
            event = codec.loads(data)
        except Exception as e:
            raise failure("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e) from None
        del data
        result = self.handler(
            event, context.LambdaContext(self.config, call.request_id, call.deadline_ms, call.remaining_ns)
        )
        _end_if_child()
        data = marshal(result)
        if len(data) > channel.MAX_PAYLOAD:
            text = "Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes)."
            raise failure("Function.ResponseSizeTooLarge", text % (len(data), channel.MAX_PAYLOAD))
        return data

    def filter(self, body):
        # What would open a file at its first use under the filter.
        import json  # noqa: F401

        from _fsbox import errors, snapshot

        errors.keep_lines()
        r = snapshot.assist().fsbox_assist_filter(body, len(body) // 8)
        if r < 0:
            message = "the policy's filter cannot be installed: %s" % os.strerror(-r)
            self.init_failed(failure("Runtime.InitError", message))
        self.fault_call = snapshot.assist().fsbox_assist_call

    def park(self):
        from _fsbox import snapshot

        flush()  # or every clone would print it
        try:
            snapshot.run_before()
        except BaseException as e:
            self.init_failed(e, "Runtime.BeforeSnapshotError")
        _end_if_child()
        snapshot.prepare()
        flush()
        flags = channel.NOT_RESEEDED if snapshot.has_children() else 0
        channel.send(channel.PARKED, 0, flags.to_bytes(4, "little") if flags else b"")

    def restore(self, body):
        from _fsbox import snapshot

        begin = time.monotonic_ns()
        flags, memory_mb, environment = snapshot.parse_restore(body)
        self.keep_seeds = bool(flags & 1)
        try:
            snapshot.apply(memory_mb, environment)
            self.config = context.Config()
            snapshot.reseed(self.keep_seeds)
            middle = time.monotonic_ns()
            snapshot.run_after()
        except BaseException as e:
            self.init_failed(e, "Runtime.AfterRestoreError")
        _end_if_child()
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
            body = None
            frame = self.reader.next()
            if frame is None:
                return
            kind, number, body = frame
            del frame
            if kind == channel.CALL and phase != parked:
                phase = called
                self.call(number, body)
            elif kind == channel.SHUTDOWN:
                return
            elif kind == channel.FILTER and phase in (ready, restored) and not self.fault_call:
                self.filter(body)
            elif kind == channel.SNAPSHOT and phase == ready and not self.fault_call:
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
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def _complain(what):
    try:
        posix.write(2, ("fsbox: the channel: %s\n" % what).encode())  # whatever has become of sys.stderr
    except OSError:
        pass
    return 1


def _run(runtime):
    """Returns the exit status."""
    try:
        runtime.handler = load(os.environ.get("_HANDLER", ""))
    except SystemExit:
        raise
    except BaseException as e:
        runtime.init_failed(e)
    _end_if_child()
    runtime.config = context.Config()
    flush()
    try:
        flags = channel.CAN_SNAPSHOT
        channel.send(channel.READY, 0, channel.VERSION.to_bytes(4, "little") + flags.to_bytes(4, "little"))
        runtime.serve()
        return 0
    except BrokenPipeError:
        return 1  # nobody is there to be told
    except channel.Broken as e:
        return _complain(e)
    except OSError as e:
        return _complain(e.strerror)


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
        runtime.init_failed(failure("Runtime.InvalidRuntime", "Python 3.8 or newer is needed"))
    leave(_run(runtime))
