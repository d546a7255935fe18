"""Has a child process with generators of its own."""

import multiprocessing
import time

child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
child.start()


def handler(event, context):
    return 1
