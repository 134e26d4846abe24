"""One party's part in one run, from start to end: what a Job, or a local process, runs.

It takes who it is from the environment (``Settings``) and the run from ``run.json`` in the mail bucket. When its
part does not end well, one line says why not, in the log and in its status.
"""

import logging
import os
import signal
import sys
from types import FrameType

from fedsilo import aws, names
from fedsilo.errors import FedsiloError, HubError, RefusedError, SpecError, StoppedError
from fedsilo.ledger import Ledger
from fedsilo.run import Run
from fedsilo.settings import Settings

RUN_JSON_BYTES = 2**20

DONE, AGAIN, OVER = 0, 1, 3
"""Exit codes: the part is done; it failed, and another try may go on where it was (AWS was away, a defect, SIGTERM,
as any signal); it is over, and another try would end the same way."""

log = logging.getLogger(__name__)


def main(run_id: str) -> int:
    """Take part in the run. Returns the exit code: ``DONE``, ``AGAIN`` or ``OVER``."""
    _log_to_stderr()
    ledger: Ledger | None = None
    try:
        settings = Settings.from_environment()
        run = fetch_run(settings, run_id)
        ledger = Ledger(settings, run)
        signal.signal(signal.SIGTERM, _stop)
        with ledger.span("start", 0):
            from fedsilo import part  # FedML and torch: seconds, and no reader of run.json needs them
        log.info("%s takes part in run %s", settings.party, run.run)
        part.take(settings, run, ledger)
    except StoppedError as error:
        log.error("%s", error)
        if ledger:
            ledger.close(state="STOPPED", reason=str(error))
        return AGAIN
    except FedsiloError as error:
        log.error("%s", error)
        if ledger:
            ledger.close(state="REFUSED" if isinstance(error, RefusedError) else "FAILED", reason=str(error))
        return AGAIN if isinstance(error, HubError) else OVER
    except Exception as error:
        log.exception("a defect of fedsilo or of the workload")
        if ledger:
            ledger.close(state="FAILED", reason=f"defect: {type(error).__name__}: {error}")
        return AGAIN
    ledger.close(state="FINISHED")
    log.info("%s is done", settings.party)
    return DONE


def fetch_run(settings: Settings, run_id: str) -> Run:
    """The run as the operator wrote it. Raises ``SpecError`` where it is not valid or not for this party."""
    key = names.RunKeys(run_id).run_json
    with aws.explained(settings.role, f"read {settings.bucket}/{key}", f"run {run_id} was started in this federation"):
        body = aws.s3(settings.hub_region).get_object(Bucket=settings.bucket, Key=key)["Body"].read(RUN_JSON_BYTES + 1)
    if len(body) > RUN_JSON_BYTES:
        raise SpecError(f"run.json of {run_id} is larger than {RUN_JSON_BYTES:,} bytes")
    run = Run.parse(body)
    if (run.run, run.federation) != (run_id, settings.federation):
        raise SpecError(f"run.json of {run_id} is of run {run.run} in federation {run.federation}")
    if settings.party != names.AGGREGATOR:
        run.rank(settings.party)
    return run


def _stop(signum: int, frame: FrameType | None) -> None:
    raise StoppedError("stopped by SIGTERM; it goes on where it was when it is started again")


def _log_to_stderr() -> None:
    """fedsilo's log from INFO, everybody else's from WARNING: FedML logs several lines per message."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("fedsilo").setLevel(os.environ.get("FEDSILO_LOG_LEVEL", "INFO"))
