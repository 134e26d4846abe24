"""Trainers as local processes, for agents on a laptop. They outlive their agent, which finds them again.

A run's folder holds ``job.json`` (deadline, tries) and what ``fedsilo.agent.process`` keeps of its trainer.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsilo.agent.launcher import LOG_BYTES, RETRIES, Job, ending
from fedsilo.agent.process import LocalProcess
from fedsilo.errors import LauncherError
from fedsilo.files import write_atomically
from fedsilo.states import JobState, TrainerExit

BACKOFF_SECONDS = 1.0
"""The time before the second try; it doubles with each. Kubernetes begins with 10 s, for nodes that are lost."""


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
    command = (sys.executable, "-P", "-m", "fedsilo", "trainer")  # -P: what lies in the current folder is not ours

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, LocalProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, run: str, deadline_seconds: float) -> None:
        """Make the run's folder; the next look at ``jobs`` starts the trainer."""
        with _explained(f"start {run}"):
            if not self._path(run, "job.json").exists():
                self._path(run, "tmp").mkdir(parents=True, exist_ok=True)
                self._write(run, _Record(time.time() + deadline_seconds, deadline_seconds))

    def jobs(self) -> list[Job]:
        """How the trainers are; starts those whose time has come and ends those whose time is over."""
        with _explained("look at the trainers"):
            return [self._look(run) for run in self._runs()]

    def delete(self, run: str) -> None:
        """End the trainer and all it started, within ``STOP_SECONDS`` or by force; the log stays."""
        with _explained(f"end {run}"):
            self._process(run).end()
            shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
            self._path(run, "job.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Delete every run's job."""
        for run in self._runs():
            self.delete(run)

    def log(self, run: str) -> str:
        """The end of what the run's tries have printed."""
        with _explained(f"read the log of {run}"):
            return self._process(run).log(LOG_BYTES)

    def _look(self, run: str) -> Job:
        record = self._read(run)
        now = time.time()
        if record.state == JobState.DONE:
            return Job(run, JobState.DONE)
        if record.state:
            return Job(run, JobState.FAILED, record.reason)
        if now > record.deadline:
            self._process(run).end()
            hours = record.deadline_seconds / 3600
            return self._over(run, record, JobState.FAILED, f"the trainer ran over its deadline of {hours:g} h")
        if record.next_try > now:
            return Job(run, JobState.PENDING, record.reason)
        if self._process(run).alive:
            return Job(run, JobState.RUNNING)
        if record.tries == 0 or record.next_try:
            self._spawn(run, record)
            return Job(run, JobState.RUNNING)
        code = self._process(run).exit_code
        if code == TrainerExit.DONE:
            return self._over(run, record, JobState.DONE, "")
        how = ending(code, record.tries)
        if code == TrainerExit.FATAL or record.tries > RETRIES:
            return self._over(run, record, JobState.FAILED, how)
        record.next_try = now + BACKOFF_SECONDS * 2 ** (record.tries - 1)
        record.reason = f"{how}; it is started again"
        self._write(run, record)
        return Job(run, JobState.PENDING, record.reason)

    def _spawn(self, run: str, record: _Record) -> None:
        record.tries, record.next_try = record.tries + 1, 0.0
        self._write(run, record)  # before the trainer is there: a crash in between costs a try
        environment = os.environ | {
            "FEDSILO_RUN": run,
            "TMPDIR": str(self._path(run, "tmp")),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",  # or each thread keeps memory of its own
            "PYTHONUNBUFFERED": "1",
        }
        self._process(run).start(self.command, environment)

    def _over(self, run: str, record: _Record, state: str, reason: str) -> Job:
        record.state, record.reason = state, reason
        self._write(run, record)
        shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
        return self._look(run)

    def _read(self, run: str) -> _Record:
        return _Record(**json.loads(self._path(run, "job.json").read_text()))

    def _write(self, run: str, record: _Record) -> None:
        write_atomically(self._path(run, "job.json"), json.dumps(asdict(record)))

    def _runs(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob("*/job.json"))

    def _process(self, run: str) -> LocalProcess:
        return self._processes.setdefault(run, LocalProcess(self._path(run)))

    def _path(self, run: str, *parts: str) -> Path:
        return self._folder.joinpath(run, *parts)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        raise LauncherError(f"the local launcher could not {doing}: {error}") from error
