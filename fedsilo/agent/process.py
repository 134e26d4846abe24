"""A process that is known by its folder, so that whoever opens the folder finds it again, whoever started it.

``log.txt`` has what it printed. A few words of shell around it write ``pid`` when it starts and ``exit`` when it ends.
Whether it is alive is told by a lock on ``lock`` that the process holds and the kernel drops with it; unlike a pid and
its start time it never means another process.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedsilo.errors import LauncherError

STOP_SECONDS = 5.0
"""How long a process may take to end itself when asked; a pod has 30 s."""

_SIGKILL = 128 + signal.SIGKILL
# The trap keeps the shell until the process has ended; that itself gets the signal as always.
_SHELL = 'trap : TERM INT; echo $$ >"$0/pid"; "$@"; echo $? >"$0/exit"'


class LocalProcess:
    """The process of ``folder``, which ``start`` makes; every method may raise ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it, or what it has started in its session, runs."""
        if not (self._folder / "lock").exists():
            return False
        lock = self._lock(fcntl.LOCK_SH)
        if lock is not None:
            os.close(lock)
        return lock is None

    @property
    def exit_code(self) -> int:
        """Of a process that has ended; as shells have it, above 128 for a signal."""
        code = self._number("exit")
        return _SIGKILL if code is None else code  # the shell was killed too

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it in a session of its own; nothing happens where it is alive."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.alive:
            return
        while (lock := self._lock(fcntl.LOCK_EX)) is None:
            time.sleep(0.01)  # somebody looks at the moment whether it is alive
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
        """End it and all it started: asked first, and by force after ``STOP_SECONDS``.

        Raises ``LauncherError`` where it is alive then.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + STOP_SECONDS
            asked = False
            while self.alive:
                if time.monotonic() > deadline:
                    break
                if not asked and (pid := self._number("pid")):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, number)
                    asked = True
                time.sleep(0.02)
            else:
                return
        raise LauncherError(f"the process of {self._folder} does not end")

    def log(self, last_bytes: int) -> str:
        """The end of what it printed."""
        path = self._folder / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - last_bytes))
            return file.read(last_bytes).decode(errors="replace")

    def _lock(self, operation: int) -> int | None:
        """The lock, to be closed by the caller, or None where the process is alive and holds it."""
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
