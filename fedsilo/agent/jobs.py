"""The jobs of a party's trainers, and what becomes of their runs in the ledger."""

from collections.abc import Iterable

from fedsilo.agent.hub import AgentHub
from fedsilo.agent.launcher import Job, Launcher
from fedsilo.agent.lease import Lease
from fedsilo.agent.log_shipping import LogShipper
from fedsilo.agent.stale_mail import StaleMail
from fedsilo.agent.status import StatusWriter
from fedsilo.config.run import RunIdentity
from fedsilo.states import JobState, PartyState

BY_OPERATOR = "by the operator"
"""Why a run was aborted."""


class Jobs:
    """Starts and removes jobs, and records how they end.

    Its methods raise what the hub, the launcher and the lease raise.
    """

    def __init__(self, hub: AgentHub, launcher: Launcher, statuses: StatusWriter, lease: Lease) -> None:
        self._hub, self._launcher, self._statuses, self._lease = hub, launcher, statuses, lease
        self.current: str | None = None
        """The run whose trainer runs, or is being removed."""
        self.aborting: set[str] = set()
        """The runs whose jobs are being removed, because the operator aborted them."""
        self._finished: set[str] = set()
        self._logs = LogShipper(hub, launcher)
        self.stale_mail = StaleMail(hub, self._finished)

    @property
    def busy(self) -> bool:
        """Whether there is a job whose changes matter."""
        return bool(self.current or self.aborting)

    def recover(self, current: str | None, aborting: Iterable[str]) -> set[str]:
        """Take over the jobs of an earlier agent.

        Args:
            current: The run whose trainer it looked after.
            aborting: The runs whose jobs it was removing.

        Returns:
            The runs that have a job.
        """
        runs = {job.run for job in self._launcher.jobs()}
        self.current = current
        for run_id in aborting:
            self.aborting.add(run_id)
            self._launcher.delete(run_id)
        return runs

    def start(self, identity: RunIdentity, deadline_seconds: float) -> None:
        """Make the run's job. Its trainer is ended after the deadline."""
        self._lease.confirm()
        self._launcher.start(identity, deadline_seconds)
        self.current = identity.run

    def is_alive(self, run_id: str) -> bool:
        """Whether the run has a job that has not ended."""
        return any(job.run == run_id and not job.ended for job in self._launcher.jobs())

    def remove(self, run_id: str) -> None:
        """Begin to remove the run's job, after a last look at its log."""
        self._lease.confirm()
        self._logs.upload(run_id)
        self._launcher.delete(run_id)

    def reconcile(self) -> None:
        """Bring the ledger, and what the agent knows, up to date with the jobs that there are."""
        jobs = {job.run: job for job in self._launcher.jobs()}
        current = None
        for job in jobs.values():
            if job.run in self._finished:
                continue
            if job.run in self.aborting or job.state == JobState.ENDING:
                current = job.run
            elif job.ended or job.state == JobState.STUCK:
                self._end(job)
            else:
                current = job.run
                self._statuses.publish(job)
        self._finish_gone(jobs)
        self.current = current

    def tidy(self) -> None:
        """Upload the log of the trainer that runs, or drain the mail of one that has ended, if it is time to."""
        if self.current:
            self._logs.upload_if_due(self.current)
        else:
            self.stale_mail.drain()

    def _finish_gone(self, jobs: Iterable[str]) -> None:
        """Finish the runs whose jobs are gone: on purpose where they are being aborted."""
        for run_id in [run for run in self.aborting if run not in jobs]:
            self._finish(run_id, PartyState.ABORTED, BY_OPERATOR)
            self.aborting.remove(run_id)
        if self.current and self.current not in jobs and self.current not in self._finished:
            self._finish(self.current, PartyState.FAILED, "the trainer's job is gone: somebody deleted it")

    def _end(self, job: Job) -> None:
        """Record how a trainer ended, unless the trainer did so itself."""
        self._lease.confirm()
        self._logs.upload(job.run)
        if job.state == JobState.STUCK:  # first: a finished run is not looked at again, and its job might still start
            self._launcher.delete(job.run)
        state = PartyState.FINISHED if job.state == JobState.DONE else PartyState.FAILED
        self._finish(job.run, state, job.reason, job.failed_tries)

    def _finish(self, run_id: str, state: PartyState, reason: str, failed_tries: int = 0) -> None:
        self._statuses.write_final(run_id, state, reason, failed_tries=failed_tries)
        self._finished.add(run_id)
        self.stale_mail.expect()
