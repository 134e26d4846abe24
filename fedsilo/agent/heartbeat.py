"""The agent's heartbeat: ``agents/<party>.json``, from which others see that the agent runs, and what it does."""

import logging
from collections.abc import Iterable
from pathlib import Path

from fedsilo import runtime
from fedsilo.agent.lease import Lease
from fedsilo.agent.timers import Timer
from fedsilo.config import policy
from fedsilo.errors import SpecError
from fedsilo.states import AgentState

INTERVAL_SECONDS = 20.0
"""How often a heartbeat is written when nothing changes. That is 130,000 puts a month: about 0.65 USD a party."""

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes the agent's heartbeat. The next agent of the party reads it to continue the work of this one."""

    def __init__(self, lease: Lease, policy_file: Path) -> None:
        """Write nothing yet.

        Args:
            lease: The agent's lease, which each heartbeat renews.
            policy_file: The party's policy. Operators see from the heartbeat how many silos it asks for.
        """
        self._lease, self._policy_file = lease, policy_file
        self._timer = Timer(INTERVAL_SECONDS)

    @property
    def due_in(self) -> float:
        """Seconds until the next heartbeat is due, if nothing changes before."""
        return self._timer.remaining

    def beat(self, run: str | None, queued: Iterable[str], aborting: Iterable[str]) -> None:
        """Write a heartbeat if the work has changed since the last one, or if one is due.

        Args:
            run: The run whose trainer the agent looks after, if any.
            queued: The runs that wait, the next one first.
            aborting: The runs whose trainers are being removed, because the operator aborted them.

        Raises:
            LeaseLostError: Another agent has taken the lease.
        """
        state = AgentState.BUSY if run else AgentState.IDLE
        written = self._lease.written
        heartbeat = written.changed(state=state, run=run, queued=tuple(queued), aborting=tuple(aborting))
        if due := self._timer.passed:
            heartbeat = heartbeat.changed(min_silos=self._min_silos())
        if due or heartbeat != written:
            self._lease.renew(heartbeat.changed(seen=runtime.now()))
            self._timer.restart()

    def _min_silos(self) -> int | None:
        """How many silos the policy asks for; None if the policy can't be read, and the party refuses every run."""
        try:
            return policy.load(self._policy_file).min_silos
        except SpecError as error:
            log.warning("%s", error)
            return None
