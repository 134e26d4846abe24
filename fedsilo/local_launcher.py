"""Trainers as local processes, for agents on a laptop. They outlive their agent, which finds them again.

A run's folder holds ``job.json`` (deadline, tries), ``log.txt``, and what a few words of shell around the trainer
write: ``pid`` when it starts, ``exit`` when it ends. Whether it is alive is told by a lock on ``lock`` that the
process holds and the kernel drops with it; unlike a pid and its start time it never means another process.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsilo.errors import LauncherError
from fedsilo.launcher import DONE, LOG_BYTES, OVER, RETRIES, Job, ending

STOP_SECONDS = 5.0
"""How long a trainer may take to end itself when asked; a pod has 30 s."""

BACKOFF_SECONDS = 1.0
"""The time before the second try; it doubles with each. Kubernetes begins with 10 s, for nodes that are lost."""

_SIGKILL = 128 + signal.SIGKILL
# The trap keeps the shell until the trainer has ended; the trainer itself gets the signal as always.
_SHELL = 'trap : TERM INT; echo $$ >"$0/pid"; "$@"; echo $? >"$0/exit"'


@dataclass
class _Record:
    """``job.json``. ``deadline`` and ``next_try`` are seconds since the epoch; ``state`` is set when it is over."""

    deadline: float
    deadline_seconds: float
    tries: int = 0
    next_try: float = 0.0
    state: str = ""
    reason: str = ""


class LocalLauncher:
    """Starts ``fedsilo trainer`` with the agent's own environment; each run has a folder below ``folder``.

    A trainer that ended with ``AGAIN`` or by a signal is started again ``RETRIES`` times, one that is ``OVER`` is not.
    """

    name = "local"
    interval_seconds = 0.25
    command = (sys.executable, "-m", "fedsilo", "trainer")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, run: str, deadline_seconds: float) -> None:
        """Make the run's folder; the next look at ``jobs`` starts the trainer."""
        with _explained(f"start {run}"):
            if not self._path(run, "job.json").exists():
                self._path(run, "tmp").mkdir(parents=True, exist_ok=True)
                self._write(run, _Record(time.time() + deadline_seconds, deadline_seconds))

    def jobs(self) -> list[Job]:
        """How the trainers are; starts those whose time has come and ends those whose time is over."""
        self._children = [child for child in self._children if child.poll() is None]
        with _explained("look at the trainers"):
            return [self._look(path.parent.name) for path in sorted(self._folder.glob("*/job.json"))]

    def delete(self, run: str) -> None:
        """End the trainer and all it started, within ``STOP_SECONDS`` or by force; the log stays."""
        with _explained(f"end {run}"):
            self._end(run)
            self._path(run, "job.json").unlink(missing_ok=True)

    def log(self, run: str) -> str:
        path = self._path(run, "log.txt")
        with _explained(f"read the log of {run}"):
            if not path.exists():
                return ""
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
                return file.read(LOG_BYTES).decode(errors="replace")

    def _look(self, run: str) -> Job:
        record = self._read(run)
        now = time.time()
        if record.state == "DONE":
            return Job(run, "DONE")
        if record.state:
            return Job(run, "FAILED", record.reason)
        if now > record.deadline:
            self._end(run)
            hours = record.deadline_seconds / 3600
            return self._over(run, record, "FAILED", f"the trainer ran over its deadline of {hours:g} h")
        if record.next_try > now:
            return Job(run, "PENDING", record.reason)
        lock = self._lock(run)
        if lock is None:
            return Job(run, "RUNNING")
        try:
            if record.tries == 0 or record.next_try:
                self._spawn(run, record, lock)
                return Job(run, "RUNNING")
            code = self._exit_code(run)
        finally:
            os.close(lock)
        if code == DONE:
            return self._over(run, record, "DONE", "")
        how = ending(code, record.tries)
        if code == OVER or record.tries > RETRIES:
            return self._over(run, record, "FAILED", how)
        record.next_try = now + BACKOFF_SECONDS * 2 ** (record.tries - 1)
        record.reason = f"{how}; it is started again"
        self._write(run, record)
        return Job(run, "PENDING", record.reason)

    def _spawn(self, run: str, record: _Record, lock: int) -> None:
        """Start the trainer, which inherits the lock."""
        self._path(run, "exit").unlink(missing_ok=True)
        self._path(run, "pid").unlink(missing_ok=True)
        record.tries, record.next_try = record.tries + 1, 0.0
        self._write(run, record)  # before the trainer is there: a crash in between costs a try
        environment = os.environ | {
            "FEDSILO_RUN": run,
            "TMPDIR": str(self._path(run, "tmp")),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",  # or each thread keeps memory of its own
            "PYTHONUNBUFFERED": "1",
        }
        with self._path(run, "log.txt").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _SHELL, str(self._path(run)), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[lock],
                start_new_session=True,
            )
        self._children.append(child)

    def _end(self, run: str) -> None:
        for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            deadline = time.monotonic() + patience
            asked = False
            while (lock := self._lock(run)) is None:
                if time.monotonic() > deadline:
                    break
                if not asked and (pid := self._number(run, "pid")):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, number)
                    asked = True
                time.sleep(0.02)
            else:
                os.close(lock)
                return
        raise LauncherError(f"the trainer of {run} does not end; its folder is {self._path(run)}")

    def _lock(self, run: str) -> int | None:
        """The lock, to be closed by the caller, or None where the run's trainer is alive and holds it."""
        lock = os.open(self._path(run, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _exit_code(self, run: str) -> int:
        code = self._number(run, "exit")
        return _SIGKILL if code is None else code  # the shell was killed too

    def _number(self, run: str, name: str) -> int | None:
        try:
            return int(self._path(run, name).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _over(self, run: str, record: _Record, state: str, reason: str) -> Job:
        record.state, record.reason = state, reason
        self._write(run, record)
        shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
        return self._look(run)

    def _read(self, run: str) -> _Record:
        return _Record(**json.loads(self._path(run, "job.json").read_text()))

    def _write(self, run: str, record: _Record) -> None:
        path = self._path(run, "job.json")
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(record)))
        new.replace(path)

    def _path(self, run: str, *parts: str) -> Path:
        return self._folder.joinpath(run, *parts)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        raise LauncherError(f"the local launcher could not {doing}: {error}") from error
