"""What the benchmarks run: one workload, its silos, rounds and hyperparameters, the same for all that is compared."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedsilo import workload
from fedsilo.workload import Workload

HOSPITALS = ("cleveland", "hungary", "switzerland", "long-beach")


class NoTracker:
    """Takes the metrics that the trainers log, and keeps none."""

    def log_metric(self, name: str, value: float, step: int) -> None:
        pass


@dataclass(frozen=True)
class Task:
    """A federated training; ``chosen`` holds hyperparameters other than the defaults."""

    name: str
    silos: Sequence[str]
    rounds: int
    seed: int
    chosen: Mapping[str, str]

    @property
    def workload(self) -> Workload:
        return workload.load(self.name)

    def args(self, rank: int) -> Namespace:
        """What the workload's functions take at the aggregator (rank 0) or a silo (its place from 1)."""
        sections = workload.configuration(self.name)
        fields = {key: value for section in sections.values() for key, value in section.items()}
        fields |= workload.hyperparameters(self.name, self.chosen)
        fields |= {"random_seed": self.seed, "rank": rank, "comm_round": self.rounds, "tracker": NoTracker()}
        if rank:
            fields |= {"silo": self.silos[rank - 1], "data": "packaged"}
        return Namespace(**fields)
