"""The trainer: one party's part in one run, from start to end. A Job or a local process runs it.

The environment says which party this is (``Settings``), ``run.json`` in the mail bucket what the run is, and the
party's policy what may leave the party. If the part does not end well, one line in the log and in the party's status
says why. If another try may help, the status is not a terminal one; the agent, which starts trainers, writes the
terminal one when it gives up.
"""

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

from fedsilo import aws, logs, redaction, signals
from fedsilo.config import policy
from fedsilo.config.environment import SelfHostedSettings, Settings
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import AuthenticationError, DiskFullError, FedsiloError, HubError, RefusedError, StoppedError
from fedsilo.files import disk_error
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.run_file import fetch
from fedsilo.ledger.writer import Ledger
from fedsilo.states import PartyState, Span, TrainerExit
from fedsilo.workload.disclosure import disclosed, is_public
from fedsilo.workload.registry import Workload

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How a party's part has ended."""

    state: PartyState
    code: TrainerExit
    reason: str = ""


def main(identity: RunIdentity) -> int:
    """Take part in a run, as the process of this party that the environment describes.

    Args:
        identity: The run.json that the party's policy has allowed.

    Returns:
        The exit code, one of ``TrainerExit``.
    """
    stopped = StoppedError("stopped by SIGTERM; it continues where it was when it is started again")
    try:
        logs.set_up()
        settings = SelfHostedSettings.from_environment()
        signals.raise_once(stopped, signal.SIGTERM)
        # Nothing may interrupt the last status.
        return take_part(settings, identity, ending=lambda: signals.ignore(signal.SIGTERM))
    except (Exception, StoppedError) as error:
        return _ending(error).code


def take_part(
    settings: SelfHostedSettings,
    identity: RunIdentity,
    ending: Callable[[], object] = lambda: None,
    workload: Workload | None = None,
) -> int:
    """Do a party's part in the run, and write how it ended into the ledger.

    Args:
        settings: The party.
        identity: The run.json that the party's policy has allowed.
        ending: Is called before the last status is written.
        workload: What the party runs in place of the run's workload, such as one with simulated silos.

    Returns:
        The exit code, one of ``TrainerExit``.
    """
    ledger: Ledger | None = None
    try:
        run, ledger = aws.when_authenticated(settings.authentication_seconds, lambda: _begin(settings, identity))
        rules = policy.load(settings.policy_file)
        with ledger.span(Span.START, 0):
            from fedsilo.training import session  # FedML and torch take seconds, and the checks above need neither
        log.info("%s takes part in run %s", settings.party, run.id)
        session.take_part(settings, run, ledger, rules, workload)
        end = Ending(PartyState.FINISHED, TrainerExit.DONE)
    except (Exception, StoppedError) as error:
        end = _ending(error)
    ending()
    if ledger:
        ledger.close(state=end.state, reason=end.reason)
    if end.code == TrainerExit.DONE:
        log.info("%s is done", settings.party)
    return end.code


def _begin(settings: Settings, identity: RunIdentity) -> tuple[Run, Ledger]:
    """Read what the run is, and begin the party's part of its ledger."""
    run = fetch(MailBucket(settings.hub_access(settings.role)), settings, identity)
    return run, Ledger(settings, run)


def _ending(error: BaseException) -> Ending:
    """Log an error, and decide whether another try may help. What must not leave the silo is in the raw log only."""
    if isinstance(error, OSError):
        error = disk_error(error) or error
    reason = redaction.without_secrets(disclosed(error))
    if not isinstance(error, FedsiloError | StoppedError):
        reason = f"a defect of fedsilo or of the workload: {reason}"
    log.error("%s", reason, exc_info=None if is_public(error) else error)
    match error:
        case StoppedError():
            return Ending(PartyState.STOPPED, TrainerExit.RETRY, reason)
        case AuthenticationError():
            return Ending(PartyState.RESTARTING, TrainerExit.AUTHENTICATION, reason)
        case HubError() | DiskFullError():
            return Ending(PartyState.RESTARTING, TrainerExit.RETRY, reason)
        case RefusedError():
            return Ending(PartyState.REFUSED, TrainerExit.FATAL, reason)
        case FedsiloError():
            return Ending(PartyState.FAILED, TrainerExit.FATAL, reason)
        case _:
            return Ending(PartyState.RESTARTING, TrainerExit.RETRY, reason)
