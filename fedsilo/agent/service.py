"""A party's agent: takes run requests, holds them against the party's policy, and looks after one trainer at a time.

It may be killed at any moment. What it has accepted stands in the ledger before a message is acknowledged: a request
that waits is ``QUEUED`` in its ``status.json`` and named in ``agents/<party>.json``; one that runs has its job. A
message that was not acknowledged comes again, and asking twice changes nothing.

The data queue is the party's, not a run's, so runs come one after the other.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fedsilo
from fedsilo import queue_settings, redaction
from fedsilo.agent import health, policy
from fedsilo.agent.hub import AgentHub, Delivery
from fedsilo.agent.launcher import Job, Launcher
from fedsilo.agent.settings import AgentSettings
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError, LauncherError, RefusedError, SpecError
from fedsilo.ledger.writer import HEARTBEAT_SECONDS, now
from fedsilo.messaging.control import Request
from fedsilo.states import TERMINAL, PartyState, RequestAction

PRESENCE_SECONDS = 60.0
"""How often an agent says that it is there. A put a minute is 44,000 a month: about 0.22 USD a party in S3 requests."""

SHIP_SECONDS = 15.0
"""How often a running trainer's log is put into the ledger, where it has changed."""

SWEEP_SECONDS = queue_settings.VISIBILITY_TIMEOUT_SECONDS + 30.0
"""For how long after a run's end its late mail is taken out of the party's queue: longer than a notice that a killed
trainer held stays hidden. Others may still be ending, too."""

SWEEP_EVERY_SECONDS = 2.0

RETRY_SECONDS = 60.0
"""The longest wait between two tries to reach the hub."""

LONGEST_REASON = 2000

log = logging.getLogger(__name__)


class Agent:
    """``serve`` runs until the process is ended. ``make_launcher`` gets what to call when a job may have changed."""

    def __init__(
        self, settings: AgentSettings, hub: AgentHub, make_launcher: Callable[[Callable[[], None]], Launcher]
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._wake, self._handled = threading.Event(), threading.Event()
        self._launcher = make_launcher(self._wake.set)
        self._inbox: deque[Delivery] = deque()
        self._started = now()
        self._queue: dict[str, str] = {}  # run -> digest of its run.json, the next one first
        self._current: str | None = None
        self._aborting: dict[str, Delivery | None] = {}  # None: of an earlier agent's; its message comes again
        self._over: set[str] = set()
        self._reported: tuple[Any, ...] = ()
        self._said: dict[str, tuple[str, str, float]] = {}  # run -> state, reason, when they were written
        self._shipped: dict[str, int] = {}  # run -> hash of the log in the ledger
        self._times = dict.fromkeys(("presence", "ship", "sweep", "ended"), float("-inf"))

    def serve(self) -> None:
        """Take requests and look after trainers, for ever."""
        self._with_patience(self._recover)
        threading.Thread(target=self._receive, name="receive", daemon=True).start()
        while True:
            health.touch(self._settings.folder, health.Probe.ALIVE)
            try:
                self.step()
            except FedsiloError as error:
                log.error("%s", error)
            except Exception:
                log.exception("a defect of the agent")
            self._wake.wait(self._patience())
            self._wake.clear()

    def step(self) -> None:
        """Everything there is to do now."""
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._handled.set()
        try:
            self._look_after()
        except Exception:
            self._report()  # the agent is there, whatever else is not
            raise
        self._report()

    def _look_after(self) -> None:
        self._look()
        if self._current is None and self._queue and not self._aborting:
            self._start_next()
        for run_id in self._queue:
            if behind := self._behind(run_id):
                self._say_news(run_id, "QUEUED", behind)
        if self._current and self._due("ship", SHIP_SECONDS):
            self._ship(self._current)
        if self._current is None and self._recently_ended() and self._due("sweep", SWEEP_EVERY_SECONDS):
            self._sweep()

    # --- requests

    def _receive(self) -> None:
        while True:
            self._with_patience(self._receive_once)

    def _receive_once(self) -> None:
        """Wait for messages, and then until they are handled: what is asked for twice is seen once.

        moto also takes the groups that are in somebody's hands when a long poll begins to be so until it ends.
        """
        deliveries = self._hub.receive()
        health.touch(self._settings.folder, health.Probe.READY)
        if deliveries:
            self._handled.clear()
            self._inbox.extend(deliveries)
            self._wake.set()
            self._handled.wait()

    def _handle(self, delivery: Delivery) -> None:
        """Do what the message asks and acknowledge it; one that fails on the way comes again."""
        try:
            request = Request.parse(delivery.text)
        except SpecError as error:
            log.warning("dropped: %s", error)
            self._hub.acknowledge(delivery)
            return
        about = {"run": request.run}
        try:
            log.info("%s is requested", request.action, extra=about)
            if request.action == RequestAction.START:
                self._accept(request)
            elif not self._abort(request, delivery):
                return
            self._hub.acknowledge(delivery)
        except FedsiloError as error:
            log.error("%s failed and will be tried again: %s", request.action, error, extra=about)

    def _accept(self, request: Request) -> None:
        """Queue the run, or say why not; a run that is known stays as it is."""
        run_id = request.run
        if run_id in self._queue or run_id == self._current:
            return
        before = self._hub.status(run_id)
        if before and before.get("state") != "QUEUED":
            log.info("was asked for before and is %s", before.get("state"), extra={"run": run_id})
            return
        try:
            run = self._checked(run_id, request.sha256)
        except (SpecError, RefusedError) as error:
            self._say(run_id, "REFUSED", str(error))
            return
        self._queue[run_id] = request.sha256
        self._say(run_id, "QUEUED", self._behind(run_id), rounds=run.rounds, sha256=request.sha256)
        self._report()

    def _checked(self, run_id: str, sha256: str) -> Run:
        """The run. Raises ``SpecError`` where it is none, ``RefusedError`` where the policy, read anew, forbids it."""
        run = self._hub.run(run_id, sha256)
        refusals = policy.check(run, policy.load(self._settings.policy_file), datetime.now(UTC))
        if refusals:
            raise RefusedError("; ".join(refusals))
        return run

    def _behind(self, run_id: str) -> str:
        earlier = itertools.takewhile(lambda queued: queued != run_id, self._queue)
        before = [run for run in (self._current, *earlier) if run]
        return f"waits for {', '.join(before)}" if before else ""

    def _abort(self, request: Request, delivery: Delivery) -> bool:
        """End the run here, wherever it is. Returns whether it has ended: its job takes a while to go."""
        run_id = request.run
        if self._queue.pop(run_id, None):
            self._say(run_id, "ABORTED", "by the operator, before it started")
            self._report()
            return True
        if any(job.run == run_id and job.state not in ("DONE", "FAILED") for job in self._launcher.jobs()):
            self._aborting[run_id] = delivery
            self._report()  # before its job is gone: the next agent must know why it is
            self._ship(run_id)
            self._launcher.delete(run_id)
            return False
        status = self._hub.status(run_id)
        if status is None:
            try:
                self._hub.run(run_id, request.sha256)
            except SpecError as error:
                log.warning("nothing to abort: %s", error, extra={"run": run_id})
                return True
        if status is None or status.get("state") not in TERMINAL:
            self._say(run_id, "ABORTED", "by the operator")
        return True

    # --- the trainer

    def _recover(self) -> None:
        """What an earlier agent had accepted and not finished."""
        before = self._hub.presence() or {}
        jobs = {job.run for job in self._launcher.jobs()}
        self._current = before.get("run")
        for run_id in before.get("aborting", []):
            self._aborting[run_id] = None
            self._launcher.delete(run_id)
        for run_id in before.get("queued", []):
            status = self._hub.status(run_id) or {}
            if run_id not in jobs and status.get("state") == "QUEUED":
                self._queue[run_id] = str(status.get("sha256"))
                self._said[run_id] = "QUEUED", str(status.get("reason")), time.monotonic()
        self._look()
        if before:
            log.info("goes on with %s, queued %s", self._current or "no run", list(self._queue) or "none")

    def _start_next(self) -> None:
        """Make a job of the run that waits longest; the policy is asked again, because hours pass and owners decide."""
        run_id, sha256 = next(iter(self._queue.items()))
        try:
            self._checked(run_id, sha256)
            hours = policy.load(self._settings.policy_file).max_hours
            self._launcher.start(run_id, hours * 3600)
        except (SpecError, RefusedError) as error:
            self._say(run_id, "REFUSED", str(error))
            del self._queue[run_id]
            return
        except LauncherError as error:
            self._say_news(run_id, "QUEUED", f"can't be started, and will be tried again: {error}")
            return
        self._current = run_id
        del self._queue[run_id]
        self._say(run_id, "PENDING", "its trainer is starting")
        self._look()

    def _look(self) -> None:
        """Bring the ledger up to what has become of the jobs."""
        jobs = {job.run: job for job in self._launcher.jobs()}
        live = None
        for job in jobs.values():
            if job.run in self._over:
                continue
            if job.run in self._aborting or job.state == "ENDING":
                live = job.run
            elif job.state in ("DONE", "FAILED", "STUCK"):
                self._end(job)
            else:
                live = job.run
                self._show(job)
        for run_id in [run for run in self._aborting if run not in jobs]:
            self._close(run_id, "ABORTED", "by the operator")
            if delivery := self._aborting.pop(run_id):
                self._hub.acknowledge(delivery)
        if self._current and self._current not in jobs and self._current not in self._over:
            self._close(self._current, "FAILED", "its job is gone; somebody has deleted it")
        self._current = live

    def _show(self, job: Job) -> None:
        """Say of a trainer that does not run why; one that runs speaks for itself."""
        if job.state == "RUNNING":
            self._said.pop(job.run, None)
            return
        self._say_news(job.run, job.state, job.reason)

    def _end(self, job: Job) -> None:
        """Record how a trainer ended, unless it did so itself."""
        self._ship(job.run)
        if job.state == "STUCK":  # first: a run that is over is not looked at again, and its job might still start
            self._launcher.delete(job.run)
        self._close(job.run, "FINISHED" if job.state == "DONE" else "FAILED", job.reason)

    def _close(self, run_id: str, state: str, reason: str) -> None:
        written = (self._hub.status(run_id) or {}).get("state")
        if written not in TERMINAL:
            self._say(run_id, state, reason)
        log.info("is over: %s", written if written in TERMINAL else state, extra={"run": run_id})
        self._over.add(run_id)
        self._times["ended"] = time.monotonic()

    def _ship(self, run_id: str) -> None:
        """Put the end of the trainer's log into the ledger. One that can't be had is a warning."""
        try:
            text = redaction.text(self._launcher.log(run_id))
            if hash(text) != self._shipped.get(run_id):
                self._hub.put_log(run_id, text)
                self._shipped[run_id] = hash(text)
        except FedsiloError as error:
            log.warning("the log was not shipped: %s", error, extra={"run": run_id})

    def _sweep(self) -> None:
        """Take late mail of runs that are over out of the queue, until another run's mail is in it."""
        if not self._hub.drop_mail(self._over.__contains__):
            self._times["ended"] = float("-inf")

    # --- reports

    def _say(self, run_id: str, state: str, reason: str, **fields: Any) -> None:
        """Write the party's status of the run, on top of what stands there.

        What a trainer that is started again, or given up, had said of its failure is kept until the next one writes.
        """
        log.info("%s %s", state, reason, extra={"run": run_id})
        status = self._hub.status(run_id) or {
            "run": run_id,
            "party": self._settings.party,
            "round": 0,
            "started": now(),
        }
        if status.get("state") == PartyState.RESTARTING:
            status["failure"] = status.get("reason")
        failed = "failure" in status and state in ("PENDING", "FAILED")
        told = f"{reason}; it said: {status['failure']}" if failed else reason
        status |= {"version": fedsilo.__version__, "state": state, "reason": told[:LONGEST_REASON]}
        status |= {"heartbeat": now()} | fields | ({"finished": now()} if state in TERMINAL else {})
        self._hub.put_status(run_id, status)
        self._said[run_id] = state, reason, time.monotonic()

    def _say_news(self, run_id: str, state: str, reason: str) -> None:
        """As ``_say``; what was said before is said again only as a heartbeat."""
        *before, at = self._said.get(run_id, ("", "", 0.0))
        if before != [state, reason] or time.monotonic() - at > HEARTBEAT_SECONDS:
            self._say(run_id, state, reason)

    def _report(self) -> None:
        """Say that the agent is there, and what it does: on every change, and every ``PRESENCE_SECONDS``."""
        what = self._current, [*self._queue], [*self._aborting]
        if what == self._reported and time.monotonic() - self._times["presence"] < PRESENCE_SECONDS:
            return
        self._hub.put_presence(
            {
                "party": self._settings.party,
                "version": fedsilo.__version__,
                "state": "BUSY" if self._current else "IDLE",
                "run": self._current,
                "queued": [*self._queue],
                "aborting": [*self._aborting],
                "seen": now(),
                "started": self._started,
                "launcher": self._launcher.name,
            }
        )
        self._reported = what
        self._times["presence"] = time.monotonic()

    # --- time

    def _due(self, what: str, seconds: float) -> bool:
        if time.monotonic() - self._times[what] < seconds:
            return False
        self._times[what] = time.monotonic()
        return True

    def _recently_ended(self) -> bool:
        return time.monotonic() - self._times["ended"] < SWEEP_SECONDS

    def _patience(self) -> float:
        """For how long there is nothing to do, unless something happens."""
        if self._current or self._queue or self._aborting:
            return self._launcher.interval_seconds
        if self._recently_ended():
            return SWEEP_EVERY_SECONDS
        return max(1.0, PRESENCE_SECONDS - (time.monotonic() - self._times["presence"]))

    def _with_patience(self, do: Callable[[], None]) -> None:
        """Do it, again and again until the hub, or the launcher, is there for it."""
        wait = 1.0
        while True:
            try:
                return do()
            except FedsiloError as error:
                log.error("%s", error)
            except Exception:
                log.exception("a defect of the agent")
            time.sleep(wait)
            wait = min(RETRY_SECONDS, 2 * wait)
