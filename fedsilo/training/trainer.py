"""One party's part in one run, from start to end: what a Job, or a local process, runs.

It takes who it is from the environment (``Settings``) and the run from ``run.json`` in the mail bucket. When its
part does not end well, one line says why not, in the log and in its status; where it may be
started again, that status is no final one, and whoever starts trainers says so when it gives up.
"""

import logging
import signal

from fedsilo import logs, redaction, signals
from fedsilo.config.environment import Settings
from fedsilo.errors import FedsiloError, HubError, RefusedError, StoppedError
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.run_file import fetch
from fedsilo.ledger.writer import Ledger
from fedsilo.states import PartyState, TrainerExit

log = logging.getLogger(__name__)


def main(run_id: str) -> int:
    """Take part in the run. Returns the exit code (``launcher.DONE``, ``AGAIN`` or ``OVER``)."""
    ledger: Ledger | None = None
    reason = ""
    try:
        logs.set_up()
        settings = Settings.from_environment()
        run = fetch(MailBucket.of(settings, settings.role), settings, run_id)
        ledger = Ledger(settings, run)
        stopped = StoppedError("stopped by SIGTERM; it continues where it was when it is started again")
        signals.raise_once(stopped, signal.SIGTERM)
        with ledger.span("start", 0):
            from fedsilo.training import session  # FedML and torch: seconds, and no reader of run.json needs them
        log.info("%s takes part in run %s", settings.party, run.id)
        session.take_part(settings, run, ledger)
        state, code = PartyState.FINISHED, TrainerExit.DONE
    except StoppedError as error:
        log.error("%s", error)
        state, reason, code = PartyState.STOPPED, str(error), TrainerExit.RETRY
    except HubError as error:
        log.error("%s", error)
        state, reason, code = PartyState.RESTARTING, str(error), TrainerExit.RETRY
    except FedsiloError as error:
        log.error("%s", error)
        state, reason, code = (
            PartyState.REFUSED if isinstance(error, RefusedError) else PartyState.FAILED,
            str(error),
            TrainerExit.FATAL,
        )
    except Exception as error:
        log.exception("a defect of fedsilo or of the workload")
        state, reason, code = (
            PartyState.RESTARTING,
            redaction.line(f"defect: {type(error).__name__}: {error}"),
            TrainerExit.RETRY,
        )
    signals.ignore(signal.SIGTERM)  # nothing may interrupt the last status
    if ledger:
        ledger.close(state=state, reason=redaction.reason(reason))
    if code == TrainerExit.DONE:
        log.info("%s is done", settings.party)
    return code
