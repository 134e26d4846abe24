"""Mail of runs that have ended: nobody reads it any more, so the agent takes it out of the party's queue."""

from collections.abc import Set

from fedsilo.agent.hub import AgentHub
from fedsilo.agent.timers import Timer
from fedsilo.config import queue_settings

EXPECTED_SECONDS = queue_settings.VISIBILITY_TIMEOUT_SECONDS + 30.0
"""For how long after a run's end its mail may still arrive: a notice that a killed trainer held stays hidden for the
queue's visibility timeout, and other parties take a while to end."""

INTERVAL_SECONDS = 2.0
"""How often the queue is drained meanwhile."""


class StaleMail:
    """Drains the party's data queue for a while after a run has ended there."""

    def __init__(self, hub: AgentHub, finished: Set[str]) -> None:
        """Drain nothing yet. ``finished`` is the ids of the runs that have ended; it is read at every drain."""
        self._hub, self._finished = hub, finished
        self._expected = Timer(EXPECTED_SECONDS)
        self._interval = Timer(INTERVAL_SECONDS)

    @property
    def expected(self) -> bool:
        """Whether mail of a run that has ended may still arrive."""
        return not self._expected.passed

    def expect(self) -> None:
        """Drain the queue from now on, because a run has just ended."""
        self._expected.restart()

    def drain(self) -> None:
        """Take mail of finished runs out of the queue if it is time to, until another run's mail is in it."""
        if self.expected and self._interval.passed:
            self._interval.restart()
            if not self._hub.drain_mail(self._finished.__contains__):
                self._expected.expire()
