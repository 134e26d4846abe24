"""What the agent asks of whatever runs its trainers: Kubernetes in a cluster, processes on a laptop."""

from dataclasses import dataclass
from typing import Protocol

from fedsilo.config.run import RunIdentity
from fedsilo.states import JobState, TrainerExit

RETRIES = 3
"""How often a trainer that died is started again: enough for a lost node or a short outage, and a defect still ends."""

LOG_BYTES = 256 * 1024
"""How much of the end of a trainer's log is kept in the ledger."""


@dataclass(frozen=True)
class Job:
    """The state of a run's trainer, as its launcher sees it."""

    run: str
    state: JobState
    reason: str = ""
    """Why the job is in this state, for the operator."""
    failed_tries: int = 0
    """How many of the trainer's tries have ended badly so far."""

    @property
    def ended(self) -> bool:
        """Whether the job has ended, well or badly."""
        return self.state in (JobState.DONE, JobState.FAILED)


class Launcher(Protocol):
    """Starts trainers, and finds them again after the agent was restarted. All methods raise ``LauncherError``."""

    name: str
    interval_seconds: float
    """How often to look at jobs while one is alive."""

    def start(self, identity: RunIdentity, deadline_seconds: float) -> None:
        """Make the run's job, unless it exists. Its trainer may take ``deadline_seconds``, all tries together."""

    def jobs(self) -> list[Job]:
        """Every job that exists, including those that have ended, for as long as the launcher keeps them."""

    def delete(self, run: str) -> None:
        """Begin to remove the run's job and to end its trainer; ``jobs`` lists it until it is gone.

        Nothing happens if there is no job.
        """

    def end_own(self) -> None:
        """End the trainers that no other agent of the party can find, because this one does nothing more."""

    def log(self, run: str) -> str:
        """The last ``LOG_BYTES`` that the run's trainer has logged, all tries together; empty if it logged nothing."""


def how_it_ended(code: int, tries: int) -> str:
    """How a trainer's last try ended, in words. A ``code`` above 128 is a signal, as in a shell."""
    how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    refused = code == TrainerExit.AUTHENTICATION
    why = ": AWS did not accept its credentials or its clock; its log says more" if refused else ""
    return f"the trainer {how}{on_try(tries)}{why}"


def on_try(tries: int) -> str:
    """The number of a try in words; empty for the first."""
    return f" on try {tries}" if tries > 1 else ""


def over_deadline(deadline_seconds: float) -> str:
    """The reason of a job that was ended at its deadline."""
    return f"the trainer ran over its deadline of {deadline_seconds / 3600:g} h"
