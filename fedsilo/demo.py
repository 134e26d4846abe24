"""``fedsilo demo``: a whole federation on one laptop, from an empty embedded AWS to a trained model and a report."""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedsilo import emulator, local, names, record, report
from fedsilo.errors import RunError
from fedsilo.run import Run
from fedsilo.spec import Federation

POLL_SECONDS = 0.5
LAST_LINES = 5
GRACE_SECONDS = 40.0
"""How long silos may take to end after the aggregator; the longest they need is for SageMaker to take the rest."""


@dataclass(frozen=True)
class Outcome:
    """What the demo leaves: the run's record and when things happened, in seconds since its start."""

    record: record.Record
    started: float
    experiments: list[str]

    def to_json(self) -> dict[str, Any]:
        """``result.json``."""
        opened = self.record.opened()
        aggregator = self.record.statuses.get(names.AGGREGATOR, {})
        return {
            "run_id": self.record.run.run,
            "workload": self.record.run.workload,
            "state": aggregator.get("state"),
            "reason": aggregator.get("reason"),
            "silos": self.record.run.silos,
            "rounds": self.record.run.rounds,
            "rounds_completed": self.record.rounds_completed,
            "test_auc": self.record.metric("Test:AUC"),
            "test_accuracy": self.record.metric("Test:Accuracy"),
            "test_loss": self.record.metric("Test:Loss"),
            "round_seconds_median": self.record.round_seconds_median,
            "start_to_first_round_seconds": opened[0] - self.started if opened else None,
            "experiments": self.experiments,
        }


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
    console.print(f"[bold]{run.run}[/]: {run.workload}, {run.rounds} rounds, {', '.join(run.silos)}")
    with (
        tempfile.TemporaryDirectory(prefix="fedsilo-demo-", ignore_cleanup_errors=True) as scratch,
        emulator.Emulator() as aws,
    ):
        os.environ.update(emulator.environment(aws.endpoint, federation.aggregator.region))
        local.create_hub(federation)
        reader = record.Reader(federation.name, emulator.ACCOUNT, federation.aggregator.region)
        reader.put_run(run)
        trainers = []
        try:
            for party in [names.AGGREGATOR, *run.silos]:
                settings = local.settings(federation, party)
                trainers.append(local.Trainer(settings, run.run, aws.endpoint, logs / f"{party}.log", Path(scratch)))
            _watch(reader, run, trainers, started, console)
        finally:
            local.stop(trainers)
        ledger = reader.record(run)
        outcome = Outcome(ledger, started, record.experiments(ledger, federation.aggregator.region))
        model = reader.model(run)
    _write(outcome, model, out)
    console.print(_silos_table(outcome))
    aggregator = outcome.record.statuses.get(names.AGGREGATOR, {})
    console.print(Text(f"report, model, result and logs: {out}"), soft_wrap=True)
    if aggregator.get("state") != "FINISHED":
        raise RunError(f"run {run.run} failed: {aggregator.get('reason') or 'the aggregator ended without a word'}")
    return outcome


def _watch(reader: record.Reader, run: Run, trainers: list[local.Trainer], started: float, console: Console) -> None:
    """Show the run until the aggregator and all silos have ended; say which party died, and its last words."""
    ended: set[str] = set()
    shown_round, since_end = -1, 0.0
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while len(ended) < len(trainers):
            time.sleep(POLL_SECONDS)
            statuses = reader.statuses(run)
            for trainer in trainers:
                if trainer.exit_code is not None and trainer.party not in ended:
                    ended.add(trainer.party)
                    if trainer.exit_code != 0:
                        _obituary(trainer, console)
            aggregator = statuses.get(names.AGGREGATOR, {})
            if console.is_terminal:
                live.update(_progress(run, statuses, started), refresh=True)
            elif aggregator.get("round", 0) > shown_round:
                shown_round = aggregator.get("round", 0)
                console.print(_line(run, aggregator, started))
            if names.AGGREGATOR in ended:
                since_end += POLL_SECONDS
                if since_end > GRACE_SECONDS:
                    return  # silos that still wait have nobody to wait for


def _obituary(trainer: local.Trainer, console: Console) -> None:
    code = trainer.exit_code or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    console.print(f"[red]{trainer.party} {how}[/]; its last lines:")
    for line in trainer.last_lines(LAST_LINES):
        console.print(Text(f"    {line}"), soft_wrap=True)


def _line(run: Run, aggregator: dict[str, Any], started: float) -> str:
    metrics = aggregator.get("metrics", {})
    scores = "  ".join(f"{name.removeprefix('Test:')} {value:.3f}" for name, value in metrics.items())
    state, round_idx = aggregator.get("state", "STARTING"), aggregator.get("round", 0)
    return f"{time.time() - started:5.1f} s  {state:<9} round {round_idx}/{run.rounds}  {scores}"


def _progress(run: Run, statuses: dict[str, dict[str, Any]], started: float) -> Group:
    aggregator = statuses.get(names.AGGREGATOR, {})
    answered, refused = aggregator.get("answered", []), aggregator.get("refused", {})
    table = Table(box=None, pad_edge=False)
    for column in ("party", "state", "round", "answered"):
        table.add_column(column)
    for party in [names.AGGREGATOR, *run.silos]:
        status = statuses.get(party, {})
        answer = (
            "" if party == names.AGGREGATOR else "refused" if party in refused else "yes" if party in answered else "…"
        )
        table.add_row(party, status.get("state", "STARTING"), str(status.get("round", "")), answer)
    return Group(Text(_line(run, aggregator, started)), table)


def _silos_table(outcome: Outcome) -> Table:
    result = outcome.to_json()
    table = Table(
        title=f"{result['run_id']}: {result['rounds_completed']} of {result['rounds']} rounds", title_justify="left"
    )
    for column in ("", "state", "samples", "AUC", "accuracy", "loss"):
        table.add_column(column, justify="left" if column in ("", "state") else "right")
    for party in [*outcome.record.run.silos, None]:
        status = outcome.record.statuses.get(party or names.AGGREGATOR, {})
        samples = status.get("parameters", {}).get("train data size", "")
        scores = [outcome.record.metric(f"Test:{name}", party) for name in ("AUC", "Accuracy", "Loss")]
        table.add_row(
            party or "all, by the aggregator",
            status.get("state", "no word"),
            str(samples),
            *("-" if score is None else f"{score:.3f}" for score in scores),
            end_section=party == outcome.record.run.silos[-1],
        )
    return table


def _write(outcome: Outcome, model: bytes | None, out: Path) -> None:
    run = outcome.record.run.model_dump(mode="json")
    page = report.render(report.RunRecord(run, outcome.record.statuses, outcome.record.lines))
    (out / "report.html").write_text(page)
    (out / "result.json").write_text(json.dumps(outcome.to_json(), indent=2) + "\n")
    (out / "model.safetensors").unlink(missing_ok=True)
    if model is not None:
        (out / "model.safetensors").write_bytes(model)
