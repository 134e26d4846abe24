"""What came of a run: ``result.json``, the report, the model, and the table of the silos' scores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fedsilo import names, terminal
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import Status
from fedsilo.report import page as report
from fedsilo.text import score

SCORES = ("AUC", "Accuracy", "Loss")


@dataclass(frozen=True)
class RunResult:
    """A run's record, when it was asked for in seconds since the epoch, and its experiments in SageMaker."""

    record: Record
    started: float
    experiments: Sequence[str]

    @classmethod
    def of(cls, record: Record) -> "RunResult":
        """As far as the ledger tells; the experiments are those that the parties name."""
        named = [record.statuses.get(party, Status()).experiment for party in record.run.parties]
        return cls(record, record.run.created.timestamp(), [name for name in named if name])

    @property
    def aggregator(self) -> Status:
        return self.record.statuses.get(names.AGGREGATOR, Status())

    def to_json(self) -> dict[str, Any]:
        """``result.json``."""
        opened, run = self.record.opened(), self.record.run
        return {
            "run_id": run.id,
            "workload": run.workload,
            "state": self.aggregator.state,
            "reason": self.aggregator.reason,
            "silos": run.silos,
            "rounds": run.rounds,
            "rounds_completed": self.record.rounds_completed,
            "test_auc": self.record.metric("Test:AUC"),
            "test_accuracy": self.record.metric("Test:Accuracy"),
            "test_loss": self.record.metric("Test:Loss"),
            "round_seconds_median": self.record.round_seconds_median,
            "start_to_first_round_seconds": opened[0] - self.started if opened else None,
            "experiments": list(self.experiments),
        }

    def table(self) -> Table:
        """The silos with their scores, and the whole federation below them."""
        statuses, rows = self.record.statuses, []
        for silo in (*self.record.run.silos, None):
            status = statuses.get(silo or names.AGGREGATOR, Status())
            scores = [score(self.record.metric(f"Test:{name}", silo)) for name in SCORES]
            rows.append((silo or "all, by the aggregator", status.state, status.samples, *scores))
        shown = terminal.table(
            ("", "state", "samples", "AUC", "accuracy", "loss"), rows, right=("samples", "AUC", "accuracy", "loss")
        )
        shown.title = f"{self.record.run.id}: {self.record.rounds_completed} of {self.record.run.rounds} rounds"
        shown.title_justify = "left"
        return shown

    def write(self, out: Path) -> None:
        """Write ``report.html`` and ``result.json`` into the folder, which is there."""
        record = self.record
        run = record.run.model_dump(mode="json")
        page = report.render(report.RunRecord(run, record.statuses, record.lines, record.left_out))
        (out / "report.html").write_text(page, encoding="utf-8")
        (out / "result.json").write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
