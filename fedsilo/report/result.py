"""What came of a run: ``result.json``, the report, and the table of the silos' scores."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fedsilo import names, terminal
from fedsilo.files import replacing_all
from fedsilo.ledger.contributions import contributions_in_words, contributions_of
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import Status
from fedsilo.report import page
from fedsilo.report.history import ACCURACY, AUC, LOSS
from fedsilo.text import score

REPORT, RESULT, MODEL = "report.html", "result.json", "model.safetensors"
"""The files of a run's result."""

ALL = "all, by the aggregator"
"""The name of the row of the whole federation."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run."""

    record: Record
    started: float
    """When the run was asked for, as a Unix time."""
    experiments: Sequence[str]
    """The run's experiments in SageMaker."""

    @classmethod
    def of(cls, record: Record) -> "RunResult":
        """The result as far as the ledger tells, with the experiments that the parties name."""
        named = [record.statuses.get(party, Status()).experiment for party in record.run.parties]
        return cls(record, record.run.created.timestamp(), [name for name in named if name])

    @property
    def aggregator(self) -> Status:
        """The aggregator's status."""
        return self.record.statuses.get(names.AGGREGATOR, Status())

    def to_json(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        opened, run = self.record.opened(), self.record.run
        auc = self.record.newest(AUC)
        return {
            "run_id": run.id,
            "workload": run.workload,
            "simulated": run.simulated,
            "state": self.aggregator.state,
            "reason": self.aggregator.reason,
            "silos": run.silos,
            "rounds": run.rounds,
            "rounds_completed": self.record.rounds_completed,
            "fraction": run.fraction,
            "contributions": contributions_of(run, self.aggregator),
            "asked_rounds": dict(self.aggregator.asked_rounds),
            "require_silos": run.require_silos,
            "test_auc": None if auc is None else auc.value,
            "test_auc_bound": None if auc is None else auc.bound,
            "test_accuracy": self.record.metric(ACCURACY),
            "test_loss": self.record.metric(LOSS),
            "round_seconds_median": self.record.round_seconds_median,
            "start_to_first_round_seconds": opened[0] - self.started if opened else None,
            "experiments": list(self.experiments),
        }

    @property
    def headline(self) -> str:
        """What came of the run, in a line."""
        run = self.record.run
        rounds = f"{self.record.rounds_completed} of {run.rounds} rounds"
        simulated = "simulated: " if run.simulated else ""
        return f"{simulated}{run.id}: {'; '.join(filter(None, (rounds, contributions_in_words(run, self.aggregator))))}"

    def table(self) -> Table:
        """The silos with their scores, and the whole federation below them."""
        run, rows = self.record.run, []
        for name, party, silo in [*((silo, silo, silo) for silo in run.silos), (ALL, names.AGGREGATOR, None)]:
            status = self.record.statuses.get(party, Status())
            lines = [self.record.newest(metric, silo) for metric in (AUC, ACCURACY, LOSS)]
            scores = [score(None) if line is None else score(line.value, line.bound) for line in lines]
            rows.append((name, status.state, status.samples, *scores))
        return terminal.table(
            ("", "state", "samples", "AUC", "accuracy", "loss"), rows, right=("samples", "AUC", "accuracy", "loss")
        )

    def write(self, out: Path, download_model: Callable[[Path], int | None]) -> int | None:
        """Write report, result and model into a folder, in place of those of an earlier run, all or none.

        Args:
            out: The folder. It must exist.
            download_model: Writes the model to a file, and returns its size; None if there is no model.

        Returns:
            The size of the model in bytes; None if there is none.

        Raises:
            DiskError: The disk is full, or can't be written.
        """
        with replacing_all(out, REPORT, RESULT, MODEL) as new:
            size = download_model(new / MODEL)
            (new / REPORT).write_text(page.render(self.record), encoding="utf-8")
            (new / RESULT).write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        return size
