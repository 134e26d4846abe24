"""What the benchmarks run: one workload with its silos, rounds and hyperparameters."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedsilo.workload import registry
from fedsilo.workload.checkpoint import Checkpoint
from fedsilo.workload.registry import Workload

HOSPITALS = ("cleveland", "hungary", "switzerland", "long-beach")


class NoTracker:
    """Drops the metrics that trainers log."""

    def log_metric(self, name: str, value: float, step: int) -> None:
        """Drop a metric."""


@dataclass(frozen=True)
class Task:
    """A federated training."""

    name: str
    silos: Sequence[str]
    rounds: int
    seed: int
    overrides: Mapping[str, str]
    """Hyperparameters other than the defaults."""

    @classmethod
    def of(cls, options: Namespace) -> "Task":
        """The task that the options of ``parser`` describe."""
        overrides = dict(pair.split("=", 1) for pair in options.overrides)
        return cls(options.workload, options.silos, options.rounds, options.seed, overrides)

    @property
    def workload(self) -> Workload:
        """The workload's package."""
        return registry.load(self.name)

    def args(self, rank: int) -> Namespace:
        """The arguments of the workload's functions at the aggregator, whose rank is 0, or at a silo."""
        sections = registry.configuration(self.name)
        fields = {key: value for section in sections.values() for key, value in section.items()}
        fields |= registry.hyperparameters(self.name, self.overrides)
        fields |= {"random_seed": self.seed, "rank": rank, "comm_round": self.rounds, "tracker": NoTracker()}
        fields |= {"checkpoint": Checkpoint()}
        if rank:
            fields |= {"silo": self.silos[rank - 1], "data": "packaged"}
        return Namespace(**fields)


def parser(doc: str | None) -> ArgumentParser:
    """The options of a benchmark that runs one task; ``doc`` is the docstring of its module."""
    options = ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--workload", default="heart_disease")
    options.add_argument("--silos", nargs="+", default=HOSPITALS)
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="overrides")
    return options
