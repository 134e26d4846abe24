"""Which metrics leave a party: those that its workload declares, in the declared range, and not too many a round.

A metric is a number that a silo computed of its data, so it is a way out of the silo. What is held back is counted and
named once in the log, without its value.
"""

import logging
from collections import Counter
from collections.abc import Mapping

from fedsilo.workload.declaration import Metric, within

log = logging.getLogger(__name__)


class Disclosure:
    """Decides which metrics others may read."""

    def __init__(self, declared: Mapping[str, Metric], most_per_round: int | None) -> None:
        """Begin the first round.

        Args:
            declared: The metrics of the workload's declaration, by name.
            most_per_round: How many metrics may leave in a round; None for no bound.
        """
        self._declared, self._most = declared, most_per_round
        self._left = 0
        self.held_back: Counter[str] = Counter()
        """How many values of each metric were held back."""

    def begin_round(self) -> None:
        """From now on, as many metrics may leave as in a new round."""
        self._left = 0

    def declares(self, name: str) -> bool:
        """Whether the workload declares the metric. One that it does not declare is recorded nowhere."""
        if name in self._declared:
            return True
        self._hold_back(name, "the workload does not declare it in workload.yaml")
        return False

    def lets_out(self, name: str, value: float) -> bool:
        """Whether a metric that the workload declares may leave with this value. If it may, it counts."""
        if not within(value, self._declared[name].range):
            self._hold_back(name, "its value is not in the range that workload.yaml declares")
            return False
        if self._most is not None and self._left >= self._most:
            self._hold_back(name, f"policy.max_metrics_per_round is {self._most}")
            return False
        self._left += 1
        return True

    def allows(self, name: str, value: float) -> bool:
        """Whether the workload declares the metric, and it may leave with this value."""
        return self.declares(name) and self.lets_out(name, value)

    def _hold_back(self, name: str, why: str) -> None:
        if not self.held_back[name]:
            log.warning("metric %.64r is held back: %s; further values are only counted", name, why)
        self.held_back[name] += 1

    def close(self) -> None:
        """Log how much was held back."""
        for name, count in self.held_back.items():
            log.warning("held back %d values of metric %.64r", count, name)
