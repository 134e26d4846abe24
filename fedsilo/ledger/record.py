"""What a reader knows of a run: its ``run.json``, and what its parties wrote into the ledger."""

import statistics
from dataclasses import dataclass, field
from itertools import pairwise

from fedsilo import names
from fedsilo.config.run import Run
from fedsilo.ledger.schema import LedgerLine, Status
from fedsilo.states import Event, LineKind


@dataclass(frozen=True)
class Record:
    """A run, and what its parties wrote. A party that has written nothing is missing from the mappings."""

    run: Run
    statuses: dict[str, Status]
    """Each party's status, by its name."""
    lines: dict[str, list[LedgerLine]]
    """The lines of each party's ``metrics.jsonl``, by its name, in the order in which they were written."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many lines of a party could not be read, by the party's name."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why the ``metrics.jsonl`` of a party can't be read, by the party's name."""

    def opened(self) -> list[float]:
        """When each round was opened: Unix times in seconds, round 0 first."""
        times: dict[int, float] = {}
        for line in self.lines.get(names.AGGREGATOR, []):
            if line.kind == LineKind.EVENT and line.name == Event.OPENED and line.round is not None:
                times.setdefault(line.round, line.time)
        return [times[round_idx] for round_idx in sorted(times)]

    @property
    def rounds_completed(self) -> int:
        """How many rounds the run has completed: each opening after the first one ends a round."""
        return max(0, len(self.opened()) - 1)

    @property
    def round_seconds_median(self) -> float | None:
        """The median time in seconds from a round's opening to the next one's; None before the second opening."""
        opened = self.opened()
        return statistics.median(after - before for before, after in pairwise(opened)) if opened[1:] else None

    def metric(self, name: str, silo: str | None = None) -> float | None:
        """The value of ``newest``; None if there is none."""
        line = self.newest(name, silo)
        return None if line is None else line.value

    def newest(self, name: str, silo: str | None = None) -> LedgerLine | None:
        """The line of a metric of the newest global model that was evaluated; None if the aggregator wrote none.

        Args:
            name: The metric's name, as ``Test:AUC``.
            silo: The silo whose data it was measured on; None for that of all silos.
        """
        lines = [
            line for line in self.lines.get(names.AGGREGATOR, []) if line.kind is LineKind.METRIC and line.silo == silo
        ]
        # A metric that the newest evaluation did not give has no value, whatever an earlier one gave.
        of_newest = [line for line in lines if line.round == lines[-1].round and line.name == name]
        return of_newest[-1] if of_newest else None
