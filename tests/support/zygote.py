"""Trainers for real agents without the seconds of their imports: forked from a process that has imported everything.

An agent's local launcher runs ``python zygote.py SOCKET run`` where it would run ``fedsilo trainer``; that process
asks the zygote for a fork with its own environment and output, passes signals on to it, and ends as it ends. When it
is killed, so is the fork. Only standard library is imported on its side.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType


class Zygote:
    """The process that forks, as long as the tests need it. ``command`` is what runs a trainer."""

    def __init__(self, path: Path) -> None:
        self.command = (sys.executable, "-S", __file__, str(path), "run")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(path), "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        with self._process:  # closes the pipes, and waits
            self._process.kill()


def serve(path: str) -> None:
    """Fork a keeper for every caller; this process has one thread, so that forks are whole."""

    import torch._dynamo  # noqa: F401 - the first optimizer imports it

    import workloads.heart_disease  # noqa: F401
    from fedsilo.training import session  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        print("ready", flush=True)  # noqa: T201
        while True:
            readable, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in readable:
                return  # whoever started this has ended
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                keep(caller)
            caller.close()


def keep(caller: socket.socket) -> None:
    """Run a trainer for the caller, and kill it when the caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(caller, 2**20, 2)
    environment = json.loads(message)
    trainer = os.fork()
    if trainer == 0:
        os.setsid()
        for descriptor, target in zip(descriptors, (1, 2), strict=True):
            os.dup2(descriptor, target)
        os.environ.clear()
        os.environ.update(environment)
        from fedsilo.training import trainer as trainers

        os._exit(trainers.main(environment["FEDSILO_RUN"]))
    caller.sendall(f"{trainer}\n".encode())
    while True:
        readable, _, _ = select.select([caller], [], [], 0.02)
        if readable:
            asked = caller.recv(1)
            os.kill(trainer, signal.SIGTERM if asked else signal.SIGKILL)
        ended, status = os.waitpid(trainer, os.WNOHANG)
        if ended:
            with contextlib.suppress(OSError):
                caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)


def run(path: str) -> None:
    """Be a trainer, as far as whoever started this process can tell."""
    with socket.socket(socket.AF_UNIX) as zygote:
        zygote.connect(path)

        def stop(signum: int, frame: FrameType | None) -> None:
            zygote.sendall(b"T")

        signal.signal(signal.SIGTERM, stop)
        socket.send_fds(zygote, [json.dumps(dict(os.environ)).encode()], [1, 2])
        with zygote.makefile() as answers:
            fork = int(answers.readline())
            Path(os.environ["TMPDIR"], "fork").write_text(str(fork))
            code = int(answers.readline())
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(5)
    sys.exit(code)


if __name__ == "__main__":
    {"serve": serve, "run": run}[sys.argv[2]](sys.argv[1])
