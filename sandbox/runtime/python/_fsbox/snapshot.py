"""What a snapshot needs of a Python process: hooks, fresh randomness in each clone, draws to compare two of them.

What lies in memory and would be the same in every clone: the state of random.Random objects, numpy's legacy generator, names
of temporary files, multiprocessing's key, and what C libraries have (runtime/assist). The kernel's own is not in an image:
os.urandom, secrets, uuid4 and SystemRandom are different from the start. Not to be reached: the hash seed of str and bytes
(it is used up already), generators of C extensions, numpy's Generator objects.
"""

import ctypes
import gc
import os
import sys

_library = None
_instances = []  # random.Random objects that are not the system's


def assist():
    """The one library of ours in the process; loaded when it is first needed."""
    global _library
    if _library is None:
        path = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "assist.so")
        _library = ctypes.CDLL(path)
        _library.fsbox_assist_call.argtypes = [ctypes.c_uint64]
        _library.fsbox_assist_call.restype = None
        _library.fsbox_assist_filter.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        _library.fsbox_assist_prepare.restype = None
        _library.fsbox_assist_draw.argtypes = [ctypes.c_char_p, ctypes.c_int]
        _library.fsbox_assist_draw.restype = ctypes.c_size_t
    return _library


def _hooks(name):
    module = sys.modules.get("snapshot_restore_py")
    return list(getattr(module, name, ())) if module else []


def run_before():
    for func, args, kwargs in reversed(_hooks("_before_snapshot")):
        func(*args, **kwargs)


def run_after():
    for func, args, kwargs in _hooks("_after_restore"):
        func(*args, **kwargs)


def _find_instances():
    module = sys.modules.get("random")
    if module:
        system = module.SystemRandom
        _instances[:] = [
            o for o in gc.get_objects() if isinstance(o, module.Random) and not isinstance(o, system)
        ]


def prepare():
    gc.collect()  # what is garbage need not be in the image
    _find_instances()
    assist().fsbox_assist_prepare()


def apply_environment(env):
    for pair in env.split(b"\0"):
        if pair:
            key, _, value = pair.partition(b"=")
            os.environb[key] = value


def reseed(keep_seeds):
    r = assist().fsbox_assist_reseed(1 if keep_seeds else 0)
    if r < 0:
        raise OSError(-r, os.strerror(-r))
    tempfile = sys.modules.get("tempfile")
    if tempfile:
        tempfile._name_sequence = None  # it notices a fork by its pid, which a clone shares
    process = sys.modules.get("multiprocessing.process")
    if process:
        process.current_process().authkey = os.urandom(32)
    if keep_seeds:
        return
    if not _instances:
        _find_instances()
    for generator in _instances:
        # Not its own seed(), which a subclass may have made something else of.
        sys.modules["random"].Random.seed(generator)
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand:
        mtrand.seed()


def draw(keep_seeds):
    """Body of a DRAWN."""
    buffer = ctypes.create_string_buffer(4096)
    length = assist().fsbox_assist_draw(buffer, 1 if keep_seeds else 0)
    body = buffer.raw[:length]
    values = []
    if not keep_seeds:
        random = sys.modules.get("random")
        for i, generator in enumerate(_instances[:32]):
            value = random.Random.getrandbits(generator, 256)
            values.append(("python-random" if i == 0 else "python-random#%d" % (i + 1), value.to_bytes(32, "little")))
        mtrand = sys.modules.get("numpy.random.mtrand")
        if mtrand:
            values.append(("numpy-random", mtrand.bytes(32)))
    if "uuid" in sys.modules:
        values.append(("python-uuid4", sys.modules["uuid"].uuid4().bytes))
    if "tempfile" in sys.modules:
        values.append(("python-tempfile", next(sys.modules["tempfile"]._get_candidate_names()).encode()))
    if "secrets" in sys.modules:
        values.append(("python-secrets", sys.modules["secrets"].token_bytes(32)))
    for name, value in values:
        entry = bytes((len(name), len(value))) + name.encode() + value
        if len(body) + len(entry) <= 4096:
            body += entry
    return body
