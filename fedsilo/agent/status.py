"""The agent's part in a party's ``status.json`` of a run: everything before a trainer runs, and after it failed.

A trainer that runs writes its status itself. The agent changes what it says and keeps the rest, so that the round and
the metrics of a trainer that died remain.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import fedsilo
from fedsilo import runtime
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.launcher import Job
from fedsilo.agent.lease import Lease
from fedsilo.agent.timers import Timer
from fedsilo.config.run import RunIdentity
from fedsilo.ledger.schema import Status
from fedsilo.ledger.writer import HEARTBEAT_SECONDS
from fedsilo.states import TERMINAL, JobState, PartyState
from fedsilo.text import clip

log = logging.getLogger(__name__)


@dataclass
class _Written:
    """What the agent wrote last of a run, and when it has to repeat that."""

    state: PartyState
    reason: str
    heartbeat: Timer = field(default_factory=lambda: Timer(HEARTBEAT_SECONDS))


class StatusWriter:
    """Writes the party's status of each run. Every method raises what the hub and the lease raise."""

    def __init__(self, hub: AgentHub, party: str, lease: Lease) -> None:
        self._hub, self._party, self._lease = hub, party, lease
        self._written: dict[str, _Written] = {}

    def state(self, run_id: str) -> PartyState | None:
        """The state that the party's status of the run has in the ledger, whoever wrote it; None if there is none."""
        status = self._hub.status(run_id)
        return None if status is None else status.state

    def write(self, run_id: str, state: PartyState, reason: str, **fields: Any) -> None:
        """Write state, reason and other fields over those in the ledger.

        A trainer that fails, and may be started again, writes why. That stays part of the reason until a trainer of the
        run writes its status again.
        """
        self._lease.confirm()
        log.info("%s %s", state, reason, extra={"run": run_id})
        now = runtime.now()
        status = self._hub.status(run_id) or Status(run=run_id, party=self._party, round=0, started=now)
        if status.state == PartyState.RESTARTING:
            status = status.changed(failure=status.reason)
        explained = status.failure and state in (PartyState.PENDING, PartyState.FAILED)
        told = f"{reason}; the trainer reported: {status.failure}" if explained else reason
        if state in TERMINAL:
            fields["finished"] = now
        status = status.changed(version=fedsilo.__version__, state=state, reason=clip(told), heartbeat=now, **fields)
        self._hub.put_status(run_id, status)
        self._remember(run_id, state, reason)

    def write_if_changed(self, run_id: str, state: PartyState, reason: str, **fields: Any) -> None:
        """Write the status if state or reason are news, or as a heartbeat if the last one is too long ago."""
        last = self._written.get(run_id)
        if last is None or (last.state, last.reason) != (state, reason) or last.heartbeat.passed:
            self.write(run_id, state, reason, **fields)

    def write_final(self, run_id: str, state: PartyState, reason: str, **fields: Any) -> None:
        """Write a final status, unless the trainer has written one itself."""
        written = self.state(run_id)
        if written not in TERMINAL:
            self.write(run_id, state, reason, **fields)
        log.info("has ended: %s", written if written in TERMINAL else state, extra={"run": run_id})

    def publish(self, job: Job) -> None:
        """Write why a trainer does not run, or not again yet. One that runs writes its status itself."""
        if job.state == JobState.RUNNING:
            self._written.pop(job.run, None)
        else:
            self.write_if_changed(job.run, PartyState.PENDING, job.reason, failed_tries=job.failed_tries)

    def resume_queued(self, run_id: str) -> RunIdentity | None:
        """Take over a run that an earlier agent has queued.

        Returns:
            Which run.json was requested; None if the run does not wait any more.
        """
        status = self._hub.status(run_id)
        if status is None or status.state != PartyState.QUEUED:
            return None
        self._remember(run_id, PartyState.QUEUED, status.reason)
        return RunIdentity(run_id, status.sha256, status.object_version)

    def _remember(self, run_id: str, state: PartyState, reason: str) -> None:
        written = _Written(state, reason)
        written.heartbeat.restart()
        self._written[run_id] = written
