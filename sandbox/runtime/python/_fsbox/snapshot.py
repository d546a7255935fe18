"""What a snapshot needs of a Python process: hooks, fresh randomness in each clone, draws to compare two of them.

What lies in memory and would be the same in every clone: the state of random.Random objects, numpy's generators (the legacy
ones and those of default_rng), names of temporary files, multiprocessing's key, the node of uuid1, and what C libraries have
(runtime/assist). The kernel's own is not in an image: os.urandom, secrets, uuid4 and SystemRandom are different from the
start. Not to be reached: the hash seed of str and bytes (it is used up already), generators of C extensions, and those of
child processes.
"""

import ctypes
import gc
import os
import sys

from _fsbox import channel

_library = None
# Found before the snapshot, renewed after it: random.Random objects that are not the system's; numpy's
_randoms, _states, _bits = [], [], []


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


def _hooks(when):
    """The list of snapshot_restore_py, ours or AWS's own: as on Lambda, what is registered while they run runs as well."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, "get_" + when)() if module else []


def run_before():
    hooks = _hooks("before_snapshot")
    while hooks:
        func, args, kwargs = hooks.pop()
        func(*args, **kwargs)


def run_after():
    hooks = _hooks("after_restore")
    for func, args, kwargs in hooks:
        func(*args, **kwargs)
    hooks.clear()


def _objects(module, *names):
    """Of these classes, as far as the module is there."""
    classes = tuple(c for c in (_standard(module, name) for name in names) if isinstance(c, type))
    # By type(), for isinstance() asks objects, and a proxy would look for what it stands for.
    return [o for o in gc.get_objects() if issubclass(type(o), classes)] if classes else []


def _standard(module, name):
    """Of a standard module, if it is loaded, and not one of the function's with the same name that lacks this."""
    return getattr(sys.modules.get(module), name, None)


def _find_instances():
    system = _standard("random", "SystemRandom")
    _randoms[:] = [o for o in _objects("random", "Random") if system and not isinstance(o, system)]
    _states[:] = _objects("numpy.random.mtrand", "RandomState")
    _bits[:] = _objects("numpy.random.bit_generator", "BitGenerator")


def prepare():
    gc.collect()  # what is garbage need not be in the image
    _find_instances()
    assist().fsbox_assist_prepare()


def has_children():
    """Processes of multiprocessing, with generators of their own that nobody here reaches."""
    process = sys.modules.get("multiprocessing.process")
    return bool(process and process.active_children())


def parse_restore(body):
    """Flags and environment, checked as runtime/channel.c does."""
    number = channel.number
    flags, elapsed_ns, clone_id = number(body, 92, 4), number(body, 80, 8), body[104:120]
    environment = body[120:]
    if number(body, 96, 4) != len(environment) or number(body, 100, 4) or flags & ~1 or elapsed_ns >> 63:
        raise channel.Broken("a malformed restore")
    if clone_id[12:] != bytes(4) or not all(c in b"0123456789abcdef" for c in clone_id[:12]):
        raise channel.Broken("a restore without a clone id")
    pairs = environment.split(b"\0")
    if pairs.pop() or not all(pair.find(b"=") > 0 for pair in pairs):
        raise channel.Broken("a restore with a malformed environment")
    return flags, number(body, 88, 4), pairs


def apply(memory_mb, pairs):
    os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = str(memory_mb)
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        os.environb[key] = value


def reseed(keep_seeds):
    r = assist().fsbox_assist_reseed(1 if keep_seeds else 0)
    if r < 0:
        raise OSError(-r, os.strerror(-r))
    if _standard("tempfile", "_name_sequence"):
        sys.modules["tempfile"]._name_sequence = None  # it notices a fork by its pid, which a clone shares
    current = _standard("multiprocessing.process", "current_process")
    if current:
        current().authkey = os.urandom(32)
    uuid = sys.modules.get("uuid")
    if uuid:
        uuid._last_timestamp = None
        if (getattr(uuid, "_node", None) or 0) >> 40 & 1:
            uuid._node = None  # a node's number that was drawn, for want of a network interface
    if keep_seeds:
        return
    if not _randoms and not _bits:
        _find_instances()
    for generator in _randoms:
        # Not its own seed(), which a subclass may have made something else of.
        sys.modules["random"].Random.seed(generator)
    for state in _states:
        try:
            state.seed()  # forgets the half of a pair of normal deviates, too
        except TypeError:
            pass  # not over MT19937: what it draws from is among the next
    for generator in _bits:
        generator.state = type(generator)().state


def _name(name, i):
    return name[:28] + ("#%d" % (i + 1) if i else "")


def draw(keep_seeds):
    """Body of a DRAWN."""
    buffer = ctypes.create_string_buffer(4096)
    length = assist().fsbox_assist_draw(buffer, 1 if keep_seeds else 0)
    body = buffer.raw[:length]
    values = []
    if not keep_seeds:
        random = sys.modules.get("random")
        for i, generator in enumerate(_randoms[:32]):
            value = random.Random.getrandbits(generator, 256)
            values.append((_name("python-random", i), value.to_bytes(32, "little")))
        for i, generator in enumerate(_bits[:32]):
            raw = [int(generator.random_raw()) & 0xFFFFFFFF for _ in range(8)]  # some have 32 bits, some 64
            values.append((_name("numpy-" + type(generator).__name__, i), b"".join(n.to_bytes(4, "little") for n in raw)))
    uuid4, names = _standard("uuid", "uuid4"), _standard("tempfile", "_get_candidate_names")
    token = _standard("secrets", "token_bytes")
    if uuid4:
        values.append(("python-uuid4", uuid4().bytes))
    if names:
        values.append(("python-tempfile", next(names()).encode()))
    if token:
        values.append(("python-secrets", token(32)))
    for name, value in values:
        entry = bytes((len(name), len(value))) + name.encode() + value
        if len(body) + len(entry) <= 4096:
            body += entry
    return body
