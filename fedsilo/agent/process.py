"""A process that is known by its folder: whoever opens the folder finds the process, whoever started it.

``log.txt`` holds what the process printed. A few words of shell around it write ``pid`` when it starts and ``exit``
when it ends. While it is alive it holds a lock on the file ``lock``, which the kernel drops with it. Unlike a pid and
its start time, the lock never means another process.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedsilo import runtime
from fedsilo.errors import LauncherError

STOP_SECONDS = 5.0
"""How long a process may take to end when asked; a pod has 30 s."""

_SIGKILL = 128 + signal.SIGKILL
# The trap keeps the shell alive until the process has ended. The process itself gets the signal as usual.
_SHELL = 'trap : TERM INT; echo $$ >"$0/pid"; "$@"; echo $? >"$0/exit"'


class LocalProcess:
    """The process of a folder; ``start`` makes the folder. Every method may raise ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is alive, or a fork of it, which holds the lock too."""
        if not (self._folder / "lock").exists():
            return False
        lock = self._lock(fcntl.LOCK_SH)
        if lock is not None:
            os.close(lock)
        return lock is None

    @property
    def exit_code(self) -> int:
        """The exit code of the process that has ended; above 128 for a signal, as in a shell."""
        code = self._number("exit")
        return _SIGKILL if code is None else code  # the shell was killed too

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process in a session of its own; nothing happens if it is alive."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.alive:
            return
        while (lock := self._lock(fcntl.LOCK_EX)) is None:
            runtime.sleep(0.01)  # somebody else checks at this moment whether it is alive
        try:
            for name in ("exit", "pid"):
                (self._folder / name).unlink(missing_ok=True)
            with (self._folder / "log.txt").open("ab") as log:
                self._child = subprocess.Popen(  # noqa: S603
                    ["/bin/sh", "-c", _SHELL, str(self._folder), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    pass_fds=[lock],
                    start_new_session=True,
                )
        finally:
            os.close(lock)

    def end(self) -> None:
        """End the process and all it started: by SIGTERM, and by SIGKILL what is alive after ``STOP_SECONDS``.

        Raises:
            LauncherError: Something is alive ``STOP_SECONDS`` after SIGKILL.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._end_by(number):
                return
        raise LauncherError(f"the process of {self._folder} does not end")

    def _end_by(self, number: signal.Signals) -> bool:
        """Send the signal once, and wait. Returns whether the process has ended."""
        deadline = runtime.monotonic() + STOP_SECONDS
        sent = False
        while self.alive:
            if runtime.monotonic() > deadline:
                return False
            if not sent and (pid := self._number("pid")):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
                sent = True
            runtime.sleep(0.02)
        return True

    def log(self, last_bytes: int) -> str:
        """The end of what the process printed."""
        path = self._folder / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - last_bytes))
            return file.read(last_bytes).decode(errors="replace")

    def _lock(self, operation: int) -> int | None:
        """The lock, which the caller must close; None if the process is alive and holds it."""
        if self._child:
            self._child.poll()  # or it would stay as a zombie
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _number(self, name: str) -> int | None:
        try:
            return int((self._folder / name).read_text())
        except (FileNotFoundError, ValueError):
            return None
