"""The command of a trainer that is really a fork: it does what the fork does, as far as its parent can tell.

It imports the standard library alone, so that it starts at once. The pid of the fork is in ``fork`` in the trainer's
folder for temporary files.
"""

import os
import signal
import sys
import time
from multiprocessing.connection import Client
from pathlib import Path


def main(socket: str) -> int:
    """Have a trainer forked, pass SIGTERM on to it, and end as it ends."""
    with Client(socket, family="AF_UNIX") as forks:
        forks.send((dict(os.environ), os.readlink("/proc/self/fd/1")))
        pid = forks.recv()
        signal.signal(signal.SIGTERM, lambda number, frame: forks.send(number))
        part = Path(os.environ["TMPDIR"], "fork.part")
        part.write_text(str(pid))
        part.replace(part.with_name("fork"))  # in one step: a test reads it as soon as it is there
        code: int = forks.recv()
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(5)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
