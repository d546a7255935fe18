# Executed by a cell's PID 1. As small as can be: a script is compiled anew at each start, a module comes from its cache.
# multiprocessing runs it once more in each child that it does not fork, under another name.
if __name__ == "__main__":
    import sys

    sys.path[:0] = [__file__.rpartition("/")[0]]  # PYTHONSAFEPATH leaves it out; serve takes it out of the way again
    import _fsbox.serve

    _fsbox.serve.main()
