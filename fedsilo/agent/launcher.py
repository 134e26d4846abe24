"""What an agent asks of whoever runs its trainers: Kubernetes in a cluster, processes on a laptop."""

from dataclasses import dataclass
from typing import Protocol

from fedsilo.states import JobState

RETRIES = 3
"""How often a trainer that died is started again: a lost node or a short outage is survived, and a defect ends."""

LOG_BYTES = 256 * 1024
"""How much of the end of a trainer's log is kept in the ledger."""


@dataclass(frozen=True)
class Job:
    """How a run's trainer is.

    ``PENDING``: not running yet, or not running again yet; ``ENDING``: being removed; ``STUCK``: will not start by
    itself, and is to be removed; ``DONE`` and ``FAILED``: over. ``reason`` says why, for the operator.
    """

    run: str
    state: JobState
    reason: str = ""


class Launcher(Protocol):
    """Starts trainers and knows them again after the agent was restarted. All methods raise ``LauncherError``."""

    name: str
    interval_seconds: float
    """How often to look at jobs while one is alive."""

    def start(self, run: str, deadline_seconds: float) -> None:
        """Make the run's job; nothing happens where it is there already."""

    def jobs(self) -> list[Job]:
        """Every job that is there, those that are over too, for as long as the launcher keeps them."""

    def delete(self, run: str) -> None:
        """Remove the run's job and end its trainer; ``jobs`` tells when it is gone. Nothing where there is none."""

    def log(self, run: str) -> str:
        """The last ``LOG_BYTES`` of what the run's trainer has logged, all tries together."""


def ending(code: int, tries: int) -> str:
    """In words: how a trainer's last try ended. ``code`` above 128 is a signal, as shells have it."""
    how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    return f"the trainer {how}" + (f" at try {tries}" if tries > 1 else "")
