"""Children, threads, ends: tests/unit/test_runtime_python_process."""

import atexit
import os
import subprocess
import sys
import threading

if os.environ.get("SAY_EXIT"):
    atexit.register(print, "exit")


def forks(event, context):
    """A child that comes back from the handler, in this way or that, must not speak for the runtime."""
    if event == "library":
        import ctypes

        fork = ctypes.CDLL(None).fork
    else:
        fork = os.fork
    pid = fork()
    if pid == 0:
        if event == "raises":
            raise ValueError("in the child")
        if event == "leaves":
            sys.exit(7)
        return "from the child"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _has_channel():
    return [os.path.exists("/proc/self/fd/%d" % fd) for fd in (3, 4)]


def forked_has_channel(event, context):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, repr(_has_channel()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(r, 100).decode()


def executed_has_channel(event, context):
    test = "for n in 3 4; do [ ! -e /proc/self/fd/$n ] || echo $n; done"
    kept = subprocess.run(["/bin/sh", "-c", test], stdout=subprocess.PIPE, close_fds=False)
    return kept.stdout.decode()


def work(connection):
    print("at work")
    sys.stdout.flush()
    connection.send(os.getppid())


def multiprocesses(event, context):
    import multiprocessing

    context = multiprocessing.get_context(event)
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there,))
    process.start()
    there.close()
    parent = here.recv() if here.poll(8) else None
    process.join()
    return [parent is not None, process.exitcode]


def thread_stays(event, context):
    threading.Thread(target=threading.Event().wait).start()
    return "started"


def thread_prints(event, context):
    threads = [threading.Thread(target=print, args=("thread %d" % i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(threads)


def thread_dies(event, context):
    def die():
        raise ValueError("in a thread")

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    return "lives"


def exits(event, context):
    print("last words", end="")
    sys.exit(event)


def exhausts(event, context):
    """Whoever has no descriptor left can still fail."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (5, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    raise ValueError("nothing left")
