"""``fedsilo demo``: a whole federation on one machine, from an empty AWS emulator to a model and a report."""

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
from fedsilo.admin.watch import RunProgress
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run
from fedsilo.errors import RunError
from fedsilo.local.federation import LocalFederation, trainer_log
from fedsilo.report.result import RunResult
from fedsilo.states import PartyState
from fedsilo.text import plain

POLL_SECONDS = 0.5
LAST_LINES = 5


def run(federation: Federation, run: Run, out: Path, console: Console) -> RunResult:
    """Run it, show it, and leave report.html, model.safetensors, result.json and the parties' logs in ``out``.

    Raises ``RunError`` with the aggregator's reason where the run failed; ``out`` is complete then, too. However it
    ends, but by SIGKILL, no process is left.
    """
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    console.print("starting the local AWS emulator and an agent for every party", style="dim")
    with (
        tempfile.TemporaryDirectory(prefix="fedsilo-demo-", ignore_cleanup_errors=True) as folder,
        _logs_kept(Path(folder), run, logs),
        LocalFederation(federation, Path(folder)) as local,
    ):
        hub = HubClient.of(federation)
        hub.start(run)
        console.print(f"{run.id}: {run.workload}, {run.rounds} rounds, {', '.join(run.silos)}")
        watch.follow(hub.reader, run, console, _Deaths(local, Path(folder), run, console), POLL_SECONDS)
        ledger = hub.reader.record(run)
        experiments = experiments_of(ledger, federation.aggregator.region)
        result = RunResult(ledger, run.created.timestamp(), experiments)
        (out / "model.safetensors").unlink(missing_ok=True)
        hub.reader.download_model(run, names.AGGREGATOR, out / "model.safetensors")
    result.write(out)
    console.print(result.table())
    console.print(f"report, model, result and logs: {out}", soft_wrap=True)
    if result.aggregator.state != PartyState.FINISHED:
        raise RunError(f"run {run.id} failed: {result.aggregator.reason or 'the aggregator ended without a word'}")
    return result


@contextmanager
def _logs_kept(folder: Path, run: Run, out: Path) -> Iterator[None]:
    """Copy the trainers' logs out of the federation's folder in the end."""
    try:
        yield
    finally:
        for party in run.parties:
            log = trainer_log(folder, party, run.id)
            if log.exists():
                shutil.copyfile(log, out / f"{party}.log")


class _Deaths:
    """Says which trainer has died, with its last lines; and starts agents that have died again."""

    def __init__(self, local: LocalFederation, folder: Path, run: Run, console: Console) -> None:
        self._local, self._folder, self._run, self._console = local, folder, run, console
        self._told: dict[str, str] = {}

    def __call__(self, story: RunProgress) -> None:
        for party in self._local.restart_dead_agents():
            self._console.print(f"the agent of {party} ended and was started again", style="red")
        for party, status in story.statuses.items():
            died = status.state in (PartyState.PENDING, PartyState.FAILED) and "the trainer " in status.reason
            if died and status.reason != self._told.get(party):
                self._told[party] = status.reason
                self._console.print(f"{party}: {status.reason}; its last lines:", style="red", soft_wrap=True)
                log = trainer_log(self._folder, party, self._run.id)
                for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []:
                    self._console.print(f"    {plain(line)}", soft_wrap=True)
