"""Trainers as local processes, for agents on a laptop. They outlive their agent, and the next agent finds them.

A run's folder holds ``job.json`` (deadline, tries) and what ``fedsilo.agent.process`` keeps of its trainer.

The wall clock decides nothing here, because a person or NTP may set it. The kernel's monotonic clock, which all
processes of one boot share, measures deadlines and waits. It stands still while the machine sleeps: a trainer can't
work then either.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from fedsilo import runtime
from fedsilo.agent.launcher import LOG_BYTES, RETRIES, Job, how_it_ended, over_deadline
from fedsilo.agent.process import LocalProcess
from fedsilo.config.run import RunIdentity
from fedsilo.errors import DiskError, LauncherError
from fedsilo.files import disk_error, write_atomically
from fedsilo.states import JobState, TrainerExit

KEPT_RUNS = 20
"""How many runs that have ended keep their folder, and so their log, on this machine."""

BACKOFF_SECONDS = 1.0
"""The time before the second try; it doubles with each try. Kubernetes begins with 10 s, for nodes that are lost."""

RECORD_SECONDS = 60.0
"""How often the time of a trainer that runs is written down: what a reboot may take off it."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells one boot of this machine from another; empty where the system does not say, as on macOS."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


class TrainerProcess(Protocol):
    """The process of a run's trainer, as the launcher uses it: ``LocalProcess``, or one that the simulator plays."""

    @property
    def alive(self) -> bool:
        """Whether it is alive."""

    @property
    def exit_code(self) -> int:
        """The exit code of the process that has ended; above 128 for a signal."""

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it."""

    def end(self) -> None:
        """End it, and all it started."""

    def log(self, last_bytes: int) -> str:
        """The end of what it printed."""


@dataclass
class _JobFile:
    """``job.json``. Moments are seconds of the monotonic clock, which begins anew with each boot."""

    sha256: str
    """The digest of the run's run.json."""
    version: str
    """The version of the run's run.json."""
    boot: str
    """The boot to which the moments belong."""
    since: float
    """The moment up to which ``spent_seconds`` counts."""
    deadline_seconds: float
    """How long the trainer may take, all tries together."""
    spent_seconds: float = 0.0
    """How long the job had existed at ``since``, without the time in which the machine slept or was off."""
    tries: int = 0
    """How often the trainer was started."""
    failed_tries: int = 0
    next_try: float = 0.0
    """The moment when the trainer is started again; 0 if that is not planned."""
    state: str = ""
    """``DONE`` or ``FAILED`` once the job has ended; empty before."""
    reason: str = ""

    def count(self, now: float) -> None:
        """Count the time up to now."""
        self.spent_seconds += now - self.since
        self.since = now

    def adopt(self, boot: str, now: float) -> None:
        """Take over the job of an earlier boot: nothing of it runs any more, and it is started again at once.

        Where the boot is not known, a moment in the future shows that it is another one.
        """
        if (self.boot, self.since <= now) != (boot, True):
            self.boot, self.since, self.next_try = boot, now, min(self.next_try, now)


class LocalLauncher:
    """Starts ``fedsilo trainer`` with the agent's own environment; each run has a folder below ``folder``.

    A trainer that failed is started again ``RETRIES`` times, unless it ended with ``TrainerExit.FATAL``.
    """

    name = "local"
    interval_seconds = 0.25
    command = (sys.executable, "-P", "-m", "fedsilo", "trainer")  # -P: nothing is imported from the current folder

    def __init__(
        self, folder: Path, boot: str | None = None, process: Callable[[Path], TrainerProcess] = LocalProcess
    ) -> None:
        """Start nothing yet.

        Args:
            folder: Where the runs' folders are.
            boot: Which boot of the machine this is; by default what the system says.
            process: Makes the process of a run's folder.
        """
        self._folder, self._make_process = folder, process
        self._boot = boot_id() if boot is None else boot
        self._processes: dict[str, TrainerProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, identity: RunIdentity, deadline_seconds: float) -> None:
        """Make the run's folder; the next call of ``jobs`` starts the trainer."""
        run = identity.run
        with _translate_errors(f"start {run}"):
            if not self._path(run, "job.json").exists():
                self._remove_old_runs()
                self._path(run, "tmp").mkdir(parents=True, exist_ok=True)
                job = _JobFile(identity.sha256, identity.version, self._boot, runtime.monotonic(), deadline_seconds)
                self._write(run, job)

    def _remove_old_runs(self) -> None:
        """Remove the folders of ended runs but the ``KEPT_RUNS`` newest."""
        alive = {run for run in self._runs() if not self._read(run).state}
        ended = [folder for folder in self._folder.iterdir() if folder.is_dir() and folder.name not in alive]
        for folder in sorted(ended, key=lambda each: each.stat().st_mtime)[:-KEPT_RUNS]:
            shutil.rmtree(folder)
            self._processes.pop(folder.name, None)

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

    def end_own(self) -> None:
        """Delete every run's job: an agent of another folder finds none of them."""
        for run in self._runs():
            self.delete(run)

    def log(self, run: str) -> str:
        """The end of what the run's tries have printed."""
        with _translate_errors(f"read the log of {run}"):
            return self._process(run).log(LOG_BYTES)

    def _reconcile(self, run: str) -> Job:
        """Start or end the run's trainer where that is due. Returns the job as it is then."""
        job, now = self._read(run), runtime.monotonic()
        if job.state:
            return Job(run, JobState(job.state), job.reason, job.failed_tries)
        if now > job.since + RECORD_SECONDS:
            self._write(run, job)
        if job.spent_seconds + now - job.since > job.deadline_seconds:
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
        environment = os.environ | RunIdentity(run, job.sha256, job.version).to_environment()
        environment |= {
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
        job.next_try = runtime.monotonic() + BACKOFF_SECONDS * 2 ** (job.tries - 1)
        job.reason = f"{reason}; it will be started again"
        self._write(run, job)
        return Job(run, JobState.PENDING, job.reason, job.failed_tries)

    def _end(self, run: str, job: _JobFile, state: JobState, reason: str) -> Job:
        job.state, job.reason = state, reason
        self._write(run, job)
        shutil.rmtree(self._path(run, "tmp"), ignore_errors=True)
        return Job(run, state, reason, job.failed_tries)

    def _read(self, run: str) -> _JobFile:
        job = _JobFile(**json.loads(self._path(run, "job.json").read_text()))
        job.adopt(self._boot, runtime.monotonic())
        return job

    def _write(self, run: str, job: _JobFile) -> None:
        job.count(runtime.monotonic())
        write_atomically(self._path(run, "job.json"), json.dumps(asdict(job)))

    def _runs(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob("*/job.json"))

    def _process(self, run: str) -> TrainerProcess:
        return self._processes.setdefault(run, self._make_process(self._path(run)))

    def _path(self, run: str, *parts: str) -> Path:
        return self._folder.joinpath(run, *parts)


@contextmanager
def _translate_errors(doing: str) -> Iterator[None]:
    """Turn errors of the file system, and of a broken job.json, into ``LauncherError``."""
    try:
        yield
    except (OSError, ValueError, TypeError, DiskError) as error:
        told = (disk_error(error) if isinstance(error, OSError) else None) or error
        raise LauncherError(f"the local launcher could not {doing}: {told}") from error
