"""One run in a local federation of its own: what ``fedsilo demo`` does."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from fedsilo import names
from fedsilo.admin import watch
from fedsilo.admin.client import HubClient
from fedsilo.admin.experiments import experiments_of
from fedsilo.admin.progress import RunProgress
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run
from fedsilo.errors import RunError
from fedsilo.files import replacing_all
from fedsilo.local.federation import LocalFederation, trainer_log
from fedsilo.report.result import RESULT, RunResult
from fedsilo.states import PartyState
from fedsilo.text import plain

POLL_SECONDS = 0.5
LAST_LINES = 5
"""How many lines of the log of a failed trainer are shown."""


def run_demo(federation: Federation, run: Run, out: Path, console: Console) -> RunResult:
    """Start a local federation, run the run in it, show its progress, and end the federation.

    No process is left, however it ends, except after SIGKILL.

    Args:
        federation: The federation to start.
        run: The run, which takes all or some of its silos.
        out: The folder for report.html, model.safetensors, result.json and the parties' logs. It is complete also when
            the run has failed.
        console: Where the progress is shown.

    Raises:
        RunError: The run failed; the message has the aggregator's reason.
    """
    logs = out / "logs"
    logs.mkdir(exist_ok=True)
    if (out / RESULT).exists():
        console.print(f"{out} holds the result of an earlier run; this run replaces it at its end", style="yellow")
    console.print("starting the local AWS emulator and an agent for every party", style="dim")
    with (
        tempfile.TemporaryDirectory(prefix="fedsilo-demo-", ignore_cleanup_errors=True) as folder,
        _logs_kept(Path(folder), run, logs),
        LocalFederation(federation, Path(folder)) as local,
    ):
        result = _run(federation, run, out, console, _Failures(local, Path(folder), run, console))
    console.print(result.headline, soft_wrap=True)
    console.print(result.table())
    console.print(f"report, model, result and logs: {out}", soft_wrap=True)
    if result.aggregator.state != PartyState.FINISHED:
        raise RunError(f"run {run.id} failed: {result.aggregator.reason or 'the aggregator gave no reason'}")
    return result


def _run(federation: Federation, run: Run, out: Path, console: Console, failures: "_Failures") -> RunResult:
    """Start the run, watch it until it has ended, and write its result."""
    hub = HubClient.of(federation)
    hub.start(run)
    console.print(f"{run.id}: {run.workload}, {run.rounds} rounds, {', '.join(run.silos)}")
    watch.follow(hub.reader, run, console, failures.show, POLL_SECONDS)
    record = hub.reader.record(run)
    experiments = experiments_of(record, federation.aggregator.region)
    result = RunResult(record, run.created.timestamp(), experiments)
    result.write(out, lambda file: hub.reader.download_model(run, names.AGGREGATOR, file))
    return result


@contextmanager
def _logs_kept(folder: Path, run: Run, out: Path) -> Iterator[None]:
    """Copy the trainers' logs out of the federation's folder at the end, in place of those of an earlier run."""
    try:
        yield
    finally:
        logs = {f"{party}.log": trainer_log(folder, party, run.id) for party in run.parties}
        with replacing_all(out, *logs, *(old.name for old in out.glob("*.log"))) as new:
            for name, log in logs.items():
                if log.exists():
                    shutil.copyfile(log, new / name)


class _Failures:
    """Shows which trainers have failed, with their last lines of log, and restarts agents that have died."""

    def __init__(self, local: LocalFederation, folder: Path, run: Run, console: Console) -> None:
        self._local, self._folder, self._run, self._console = local, folder, run, console
        self._shown: dict[str, int] = {}
        """How many failed tries were shown, by party."""

    def show(self, progress: RunProgress) -> None:
        """Show what has failed since the last call."""
        for party in self._local.restart_dead_agents():
            self._console.print(f"the agent of {party} ended and was started again", style="red")
        self._local.trim_logs()
        for party, status in progress.statuses.items():
            if status.failed_tries > self._shown.get(party, 0):
                self._shown[party] = status.failed_tries
                self._show_log(party, status.reason)

    def _show_log(self, party: str, reason: str) -> None:
        self._console.print(f"{party}: {reason}; its last lines:", style="red", soft_wrap=True)
        log = trainer_log(self._folder, party, self._run.id)
        for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []:
            self._console.print(f"    {plain(line)}", soft_wrap=True)
