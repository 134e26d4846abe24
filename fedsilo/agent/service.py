"""A party's agent: takes run requests, checks them against the party's policy, and looks after one trainer at a time.

The agent may be killed at any moment, so it writes what it has accepted into the ledger before it acknowledges a
message: a run that waits is ``QUEUED`` in its ``status.json`` and named in ``agents/<party>.json``; a run that has been
started has its job. A message that was not acknowledged comes again, and a repeated request changes nothing.

The data queue belongs to the party and not to a run, so the agent starts one run after the other.
"""

import itertools
import logging
from collections.abc import Callable

from fedsilo import runtime
from fedsilo.agent import health, lease, stale_mail
from fedsilo.agent.health import Probe
from fedsilo.agent.heartbeat import Heartbeat
from fedsilo.agent.hub import AgentHub, Delivery
from fedsilo.agent.inbox import Inbox
from fedsilo.agent.jobs import BY_OPERATOR, Jobs
from fedsilo.agent.launcher import Launcher
from fedsilo.agent.lease import Lease
from fedsilo.agent.policy import check
from fedsilo.agent.retries import attempt, retry
from fedsilo.agent.settings import AgentSettings
from fedsilo.agent.status import StatusWriter
from fedsilo.config import policy
from fedsilo.config.policy import Policy
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import FedsiloError, LauncherError, LeaseLostError, RefusedError, SpecError
from fedsilo.messaging.control import Request
from fedsilo.states import TERMINAL, PartyState, RequestAction

log = logging.getLogger(__name__)


class Agent:
    """The agent's loop: requests in, queued runs on, jobs looked after."""

    def __init__(
        self,
        settings: AgentSettings,
        hub: AgentHub,
        instance: str,
        make_launcher: Callable[[Callable[[], None]], Launcher],
    ) -> None:
        """Start nothing yet.

        Args:
            settings: Whose agent it is.
            hub: The party's way to the hub.
            instance: Which agent it is.
            make_launcher: Makes what starts trainers. It gets a function to call when a job may have changed.
        """
        self._settings, self._hub = settings, hub
        self._wake = runtime.event()
        self._launcher = make_launcher(self._wake.set)
        self._inbox = Inbox(hub, settings.folder, self._wake.set)
        self.lease = Lease(hub, settings.party, self._launcher.name, instance)
        self._heartbeat = Heartbeat(self.lease, settings.policy_file)
        self._statuses = StatusWriter(hub, settings.party, self.lease)
        self._jobs = Jobs(hub, self._launcher, self._statuses, self.lease)
        self._queue: dict[str, RunIdentity] = {}
        """Which run.json was requested, by the id of a run that waits; the next run is first."""

    def serve(self) -> None:
        """Take requests and look after trainers, for ever; first, wait until no other agent of the party does.

        Raises:
            LeaseLostError: Another agent has taken over.
        """
        self._wait_for_lease()
        try:
            retry(self.recover)
            self._inbox.start_receiving()
            while True:
                health.touch(self._settings.folder, Probe.ALIVE)
                attempt(self.step)
                self._wake.wait(self._idle_seconds())
                self._wake.clear()
        except LeaseLostError:
            self._launcher.end_own()
            raise

    def _wait_for_lease(self) -> None:
        while True:
            health.touch(self._settings.folder, Probe.ALIVE)
            attempt(self.lease.take)
            if self.lease.held:
                return
            runtime.sleep(lease.POLL_SECONDS)

    def recover(self) -> None:
        """Take over what an earlier agent has accepted and not finished."""
        before = self.lease.before
        jobs = self._jobs.recover(before.run, before.aborting)
        for run_id in before.queued:
            if run_id not in jobs and (identity := self._statuses.resume_queued(run_id)):
                self._queue[run_id] = identity
        self._jobs.reconcile()
        if before.seen:
            log.info("continues with %s; queued: %s", self._jobs.current or "no run", ", ".join(self._queue) or "none")

    def step(self) -> None:
        """Do everything there is to do now."""
        self._inbox.handle_all(self._handle)
        try:
            self._look_after_runs()
        except Exception:
            self._beat()  # the agent runs, whatever else does not
            raise
        self._beat()

    def _look_after_runs(self) -> None:
        self._jobs.reconcile()
        if self._queue and not self._jobs.busy:
            self._start_next()
        for run_id in self._queue:
            if earlier := self._earlier_runs(run_id):
                self._statuses.write_if_changed(run_id, PartyState.QUEUED, earlier)
        self._jobs.tidy()

    def _beat(self) -> None:
        self._heartbeat.beat(self._jobs.current, self._queue, sorted(self._jobs.aborting))

    def _idle_seconds(self) -> float:
        """For how long there is nothing to do unless something happens."""
        if self._queue or self._jobs.busy:
            return self._launcher.interval_seconds
        if self._jobs.stale_mail.expected:
            return stale_mail.INTERVAL_SECONDS
        return max(1.0, self._heartbeat.due_in)

    # --- requests

    def _handle(self, delivery: Delivery) -> None:
        """Do what the message asks, and acknowledge it. After an error the message comes again."""
        try:
            request = Request.parse(delivery.text)
        except SpecError as error:
            log.warning("dropped a message: %s", error)
            self._hub.acknowledge(delivery)
            return
        about = {"run": request.run}
        try:
            log.info("%s requested", request.action, extra=about)
            if request.action == RequestAction.START:
                self._accept(request)
            else:
                self._abort(request)
            self._hub.acknowledge(delivery)
        except FedsiloError as error:
            log.error("%s failed and will be tried again: %s", request.action, error, extra=about)

    def _accept(self, request: Request) -> None:
        """Queue the run, or write why not. A run that is known stays as it is."""
        run_id = request.run
        if run_id in self._queue or run_id == self._jobs.current:
            return
        before = self._statuses.state(run_id)
        if before and before != PartyState.QUEUED:
            log.info("was requested before; its state is %s", before, extra={"run": run_id})
            return
        try:
            run, _ = self._admit(request.identity)
        except (SpecError, RefusedError) as error:
            self._statuses.write(run_id, PartyState.REFUSED, str(error))
            return
        self._queue[run_id] = request.identity
        known = {"rounds": run.rounds, "sha256": request.sha256, "object_version": request.version}
        self._statuses.write(run_id, PartyState.QUEUED, self._earlier_runs(run_id), **known)
        self._beat()

    def _admit(self, identity: RunIdentity) -> tuple[Run, Policy]:
        """Check a run against the party's policy as it is now.

        Returns:
            The run, and the policy that allows it.

        Raises:
            SpecError: There is no such run, or its run.json or the policy is not valid.
            RefusedError: The policy forbids the run.
        """
        run = self._hub.run(identity)
        rules = policy.load(self._settings.policy_file)
        if refusals := check(run, rules, runtime.now()):
            raise RefusedError("; ".join(refusals))
        return run, rules

    def _earlier_runs(self, run_id: str) -> str:
        """What a queued run waits for, in words; empty if it is next."""
        earlier = itertools.takewhile(lambda queued: queued != run_id, self._queue)
        runs = [run for run in (self._jobs.current, *earlier) if run]
        return f"waits for {', '.join(runs)}" if runs else ""

    def _abort(self, request: Request) -> None:
        """End the party's part in a run. A job takes a while to be removed, and ``Jobs.reconcile`` waits for that."""
        run_id = request.run
        if self._queue.pop(run_id, None):
            self._statuses.write(run_id, PartyState.ABORTED, f"{BY_OPERATOR}, before it started")
            self._beat()
            return
        if self._jobs.is_alive(run_id):
            self._jobs.aborting.add(run_id)
            self._beat()  # before the job is gone: the next agent must know why it is
            self._jobs.remove(run_id)
            return
        state = self._statuses.state(run_id)
        if state is None:
            try:
                self._hub.run(request.identity)
            except SpecError as error:
                log.warning("nothing to abort: %s", error, extra={"run": run_id})
                return
        if state not in TERMINAL:
            self._statuses.write(run_id, PartyState.ABORTED, BY_OPERATOR)

    def _start_next(self) -> None:
        """Start the run that has waited longest, if the policy still allows it: hours pass, and owners change rules."""
        run_id, identity = next(iter(self._queue.items()))
        try:
            _, rules = self._admit(identity)
            self._jobs.start(identity, rules.max_hours * 3600)
        except (SpecError, RefusedError) as error:
            self._statuses.write(run_id, PartyState.REFUSED, str(error))
            del self._queue[run_id]
            return
        except LauncherError as error:
            reason = f"could not be started, and will be tried again: {error}"
            self._statuses.write_if_changed(run_id, PartyState.QUEUED, reason)
            return
        del self._queue[run_id]
        self._statuses.write(run_id, PartyState.PENDING, "its trainer is starting")
        self._jobs.reconcile()
