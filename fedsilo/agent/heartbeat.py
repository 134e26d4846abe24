"""The agent's heartbeat: ``agents/<party>.json``, from which others see that the agent runs, and what it does."""

import logging
from collections.abc import Iterable
from pathlib import Path

import fedsilo
from fedsilo import runtime
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.timers import Timer
from fedsilo.config import policy
from fedsilo.errors import SpecError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.states import AgentState

INTERVAL_SECONDS = 60.0
"""How often a heartbeat is written when nothing changes. A put a minute is 44,000 a month: about 0.22 USD a party."""

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes the agent's heartbeat. The next agent of the party reads it to continue the work of this one."""

    def __init__(self, hub: AgentHub, party: str, launcher: str, policy_file: Path) -> None:
        """Write nothing yet.

        Args:
            hub: Where to write.
            party: Whose agent it is.
            launcher: What starts its trainers: ``kubernetes`` or ``local``.
            policy_file: The party's policy. Operators see from the heartbeat how many silos it asks for.
        """
        self._hub, self._policy_file = hub, policy_file
        self._written = AgentStatus(party=party, version=fedsilo.__version__, launcher=launcher, started=runtime.now())
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
        """
        state = AgentState.BUSY if run else AgentState.IDLE
        heartbeat = self._written.changed(state=state, run=run, queued=tuple(queued), aborting=tuple(aborting))
        if due := self._timer.passed:
            heartbeat = heartbeat.changed(min_silos=self._min_silos())
        if due or heartbeat != self._written:
            heartbeat = heartbeat.changed(seen=runtime.now())
            self._hub.put_heartbeat(heartbeat)
            self._written = heartbeat
            self._timer.restart()

    def _min_silos(self) -> int | None:
        """How many silos the policy asks for; None if the policy can't be read, and the party refuses every run."""
        try:
            return policy.load(self._policy_file).min_silos
        except SpecError as error:
            log.warning("%s", error)
            return None
