"""The lease of a party's agent: of two agents of one party, one acts, and the other says so and waits.

``agents/<party>.json`` names the holder. The holder renews its lease with every heartbeat, by a conditional write: S3
writes only over what the holder wrote last. So an agent that was paused, and whose lease another one took meanwhile,
finds out before it acts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).

No two clocks are compared: an agent takes over when *it* has seen the same object for ``LEASE_SECONDS``.
"""

import logging
import socket

import fedsilo
from fedsilo import runtime
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.timers import Timer
from fedsilo.errors import HubError, LeaseLostError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.states import AgentState

LEASE_SECONDS = 60.0
"""How long a holder may write nothing before another agent takes over: three heartbeats. An agent that is stopped
releases its lease, and one that is killed and started again in the same folder, as in the same pod, still holds it. So
only the agent of another pod or machine waits as long as this."""

POLL_SECONDS = 5.0
"""How often an agent that waits looks at the lease."""

REPORT_SECONDS = 60.0
"""How often an agent that waits reports that it does."""

_TRIES = 3

log = logging.getLogger(__name__)


class Lease:
    """One agent's hold on its party. Every method raises what the hub raises."""

    def __init__(self, hub: AgentHub, party: str, launcher: str, instance: str) -> None:
        """Ask the hub for nothing yet.

        Args:
            hub: Where the lease is.
            party: Whose agent it is.
            launcher: What starts its trainers: ``kubernetes`` or ``local``.
            instance: Which agent it is.
        """
        self._hub = hub
        self._etag = ""
        self.held = False
        """Whether this agent has taken the lease."""
        self.before = AgentStatus()
        """What the last holder wrote, once the lease is held."""
        self.written = AgentStatus(
            party=party,
            version=fedsilo.__version__,
            launcher=launcher,
            instance=instance,
            host=socket.gethostname(),
            started=runtime.now(),
        )
        """What this agent wrote last, once the lease is held."""
        self._seen = ""
        """The ETag of the holder's newest heartbeat that was seen while waiting."""
        self._unchanged = Timer(LEASE_SECONDS)
        self._report = Timer(REPORT_SECONDS)

    def take(self) -> None:
        """Take the lease if nobody holds it: ``held`` says so. Otherwise report that this agent waits."""
        holder, etag = self._hub.heartbeat()
        if not self._is_free(holder, etag):
            self._report_waiting(holder)
            return
        taken = self.written.changed(
            state=holder.state or AgentState.IDLE,
            run=holder.run,
            queued=holder.queued,
            aborting=holder.aborting,
            seen=runtime.now(),
        )
        if written := self._hub.put_heartbeat(taken, etag):
            self._etag, self.written, self.before, self.held = written, taken, holder, True

    def renew(self, heartbeat: AgentStatus) -> None:
        """Write a heartbeat.

        Raises:
            LeaseLostError: Another agent has taken the lease.
        """
        for _ in range(_TRIES):
            if written := self._hub.put_heartbeat(heartbeat, self._etag):
                self._etag, self.written = written, heartbeat
                return
            # A write whose answer was lost is tried again by the client, and then it is this agent's own.
            holder, etag = self._hub.heartbeat()
            if etag and holder.instance != self.written.instance:
                raise LeaseLostError(
                    f"the agent {_called(holder)} has taken over, because this one wrote nothing for {LEASE_SECONDS:g} "
                    "s; this one ends. If two were not meant to run, start only one"
                )
            self._etag = etag
        raise HubError(f"the heartbeat of {heartbeat.party} changes each time that its agent writes it")

    def confirm(self) -> None:
        """Make sure that the lease is still held, before something is done that only its holder may do.

        Raises:
            LeaseLostError: Another agent has taken the lease.
        """
        self.renew(self.written.changed(seen=runtime.now()))

    def release(self) -> None:
        """Let another agent take over at once, because this one stops."""
        if self.held:
            self.renew(self.written.changed(state=AgentState.STOPPED, seen=runtime.now()))

    def _is_free(self, holder: AgentStatus, etag: str) -> bool:
        if holder.state == AgentState.STOPPED or holder.instance in ("", self.written.instance):
            return True
        if etag != self._seen:
            self._seen = etag
            self._unchanged.restart()
        return self._unchanged.passed

    def _report_waiting(self, holder: AgentStatus) -> None:
        if not self._report.passed:
            return
        log.warning(
            "another agent of %s is at work: %s. This one waits until the other one stops, or has written nothing for "
            "%g s. If two were not meant to run, end one of them",
            self.written.party,
            _called(holder),
            LEASE_SECONDS,
        )
        self._hub.put_waiting(self.written.changed(state=AgentState.WAITING, seen=runtime.now()))
        self._report.restart()


def _called(agent: AgentStatus) -> str:
    started = f", started {agent.started:%Y-%m-%d %H:%M:%S} UTC" if agent.started else ""
    return f"{agent.instance} on {agent.host or 'an unnamed host'}{started}"
