"""Trainers as local processes, for agents on a laptop. They outlive their agent, and the next agent finds them.

A run's folder holds ``job.json`` (deadline, tries) and what ``fedsilo.agent.process`` keeps of its trainer.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsilo import runtime
from fedsilo.agent.launcher import LOG_BYTES, RETRIES, Job, how_it_ended, over_deadline
from fedsilo.agent.process import LocalProcess
from fedsilo.errors import LauncherError
from fedsilo.files import write_atomically
from fedsilo.states import JobState, TrainerExit

BACKOFF_SECONDS = 1.0
"""The time before the second try; it doubles with each try. Kubernetes begins with 10 s, for nodes that are lost."""


@dataclass
class _JobFile:
    """``job.json``. Times are seconds since the epoch."""

    deadline: float
    """When the trainer is ended if it still runs."""
    deadline_seconds: float
    tries: int = 0
    """How often the trainer was started."""
    failed_tries: int = 0
    next_try: float = 0.0
    """When the trainer is started again; 0 if that is not planned."""
    state: str = ""
    """``DONE`` or ``FAILED`` once the job has ended; empty before."""
    reason: str = ""


class LocalLauncher:
    """Starts ``fedsilo trainer`` with the agent's own environment; each run has a folder below ``folder``.

    A trainer that ended with ``TrainerExit.RETRY``, or by a signal, is started again ``RETRIES`` times.
    """

    name = "local"
    interval_seconds = 0.25
    command = (sys.executable, "-P", "-m", "fedsilo", "trainer")  # -P: nothing is imported from the current folder

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, LocalProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, run: str, deadline_seconds: float) -> None:
        """Make the run's folder; the next call of ``jobs`` starts the trainer."""
        with _translate_errors(f"start {run}"):
            if not self._path(run, "job.json").exists():
                self._path(run, "tmp").mkdir(parents=True, exist_ok=True)
                self._write(run, _JobFile(runtime.now().timestamp() + deadline_seconds, deadline_seconds))

    def jobs(self) -> list[Job]:
        """The trainers' states. Starts the trainers whose time has come, and ends those over their deadline."""
        with _translate_errors("check the trainers"):
            return [self._reconcile(run) for run in self._runs()]

    def delete(self, run: str) -> None:
        """End the trainer and all it started, within ``STOP_SECONDS`` or by force; the log stays."""
        with _translate_errors(f"end {run}"):
            self._process(run).end()
            shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
            self._path(run, "job.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Delete every run's job."""
        for run in self._runs():
            self.delete(run)

    def log(self, run: str) -> str:
        """The end of what the run's tries have printed."""
        with _translate_errors(f"read the log of {run}"):
            return self._process(run).log(LOG_BYTES)

    def _reconcile(self, run: str) -> Job:
        """Start or end the run's trainer where that is due. Returns the job as it is then."""
        job, now = self._read(run), runtime.now().timestamp()
        if job.state:
            return Job(run, JobState(job.state), job.reason, job.failed_tries)
        if now > job.deadline:
            self._process(run).end()
            job.failed_tries = job.tries
            return self._end(run, job, JobState.FAILED, over_deadline(job.deadline_seconds))
        if job.next_try > now:
            return Job(run, JobState.PENDING, job.reason, job.failed_tries)
        if self._process(run).alive:
            return Job(run, JobState.RUNNING)
        if job.tries == 0 or job.next_try:
            self._spawn(run, job)
            return Job(run, JobState.RUNNING)
        return self._end_try(run, job, self._process(run).exit_code)

    def _spawn(self, run: str, job: _JobFile) -> None:
        job.tries, job.next_try = job.tries + 1, 0.0
        self._write(run, job)  # before the trainer exists: a crash in between costs a try
        environment = os.environ | {
            "FEDSILO_RUN": run,
            "TMPDIR": str(self._path(run, "tmp")),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",  # or each thread keeps memory of its own
            "PYTHONUNBUFFERED": "1",
        }
        self._process(run).start(self.command, environment)

    def _end_try(self, run: str, job: _JobFile, code: int) -> Job:
        """Decide what follows on a try that has ended: nothing, or another one after a while."""
        if code == TrainerExit.DONE:
            return self._end(run, job, JobState.DONE, "")
        job.failed_tries = job.tries
        reason = how_it_ended(code, job.tries)
        if code == TrainerExit.FATAL or job.tries > RETRIES:
            return self._end(run, job, JobState.FAILED, reason)
        job.next_try = runtime.now().timestamp() + BACKOFF_SECONDS * 2 ** (job.tries - 1)
        job.reason = f"{reason}; it will be started again"
        self._write(run, job)
        return Job(run, JobState.PENDING, job.reason, job.failed_tries)

    def _end(self, run: str, job: _JobFile, state: JobState, reason: str) -> Job:
        job.state, job.reason = state, reason
        self._write(run, job)
        shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
        return Job(run, state, reason, job.failed_tries)

    def _read(self, run: str) -> _JobFile:
        return _JobFile(**json.loads(self._path(run, "job.json").read_text()))

    def _write(self, run: str, job: _JobFile) -> None:
        write_atomically(self._path(run, "job.json"), json.dumps(asdict(job)))

    def _runs(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob("*/job.json"))

    def _process(self, run: str) -> LocalProcess:
        return self._processes.setdefault(run, LocalProcess(self._path(run)))

    def _path(self, run: str, *parts: str) -> Path:
        return self._folder.joinpath(run, *parts)


@contextmanager
def _translate_errors(doing: str) -> Iterator[None]:
    """Turn errors of the file system, and of a broken job.json, into ``LauncherError``."""
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        raise LauncherError(f"the local launcher could not {doing}: {error}") from error
