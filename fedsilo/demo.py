"""``fedsilo demo``: a whole federation on one laptop, from an empty embedded AWS to a trained model and a report."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fedsilo import emulator, local, names, record, watch
from fedsilo.errors import RunError
from fedsilo.outcome import Outcome
from fedsilo.run import Run
from fedsilo.spec import Federation

POLL_SECONDS = 0.5
LAST_LINES = 5


def run(federation: Federation, run: Run, out: Path, console: Console) -> Outcome:
    """Run it, show it, and leave report.html, model.safetensors, result.json and the parties' logs in ``out``.

    Raises ``RunError`` with the aggregator's reason where the run failed; ``out`` is complete then, too. However it
    ends, no process is left.
    """
    started = time.time()
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    console.print(f"{run.run}: {run.workload}, {run.rounds} rounds, {', '.join(run.silos)}")
    with _scratch() as scratch, emulator.Emulator() as aws:
        os.environ.update(emulator.environment(aws.endpoint, federation.aggregator.region))
        local.create_hub(federation)
        reader = record.Reader(federation.name, emulator.ACCOUNT, federation.aggregator.region)
        reader.put_run(run)
        trainers = []
        try:
            for party in [names.AGGREGATOR, *run.silos]:
                settings = local.settings(federation, party)
                trainers.append(local.Trainer(settings, run.run, aws.endpoint, logs / f"{party}.log", scratch))
            watch.follow(reader, run, console, _Ended(trainers, console), POLL_SECONDS)
        finally:
            local.stop(trainers)
        ledger = reader.record(run)
        outcome = Outcome(ledger, started, record.experiments(ledger, federation.aggregator.region))
        model = reader.model(run)
    outcome.write(out)
    (out / "model.safetensors").unlink(missing_ok=True)
    if model is not None:
        (out / "model.safetensors").write_bytes(model)
    console.print(outcome.table())
    console.print(Text(f"report, model, result and logs: {out}"), soft_wrap=True)
    if outcome.aggregator.state != "FINISHED":
        raise RunError(f"run {run.run} failed: {outcome.aggregator.reason or 'the aggregator ended without a word'}")
    return outcome


@contextmanager
def _scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fedsilo-demo-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Ended:
    """Notices which trainers have ended, and says which of them died, with its last words."""

    def __init__(self, trainers: list[local.Trainer], console: Console) -> None:
        self._trainers, self._console = trainers, console
        self._at: dict[str, float] = {}

    def __call__(self) -> bool:
        """Whether all have, or the aggregator so long ago that silos which still wait have nobody to wait for."""
        for trainer in self._trainers:
            if trainer.exit_code is not None and trainer.party not in self._at:
                self._at[trainer.party] = time.monotonic()
                if trainer.exit_code != 0:
                    _obituary(trainer, self._console)
        aggregator = self._at.get(names.AGGREGATOR, time.monotonic())
        return len(self._at) == len(self._trainers) or time.monotonic() - aggregator > watch.GRACE_SECONDS


def _obituary(trainer: local.Trainer, console: Console) -> None:
    code = trainer.exit_code or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    console.print(f"{trainer.party} {how}; its last lines:", style="red")
    for line in trainer.last_lines(LAST_LINES):
        console.print(Text(f"    {line}"), soft_wrap=True)
