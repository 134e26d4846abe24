"""What the benchmarks run: one workload, its silos, rounds and hyperparameters, the same for all that is compared."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedsilo.workload import registry as workload
from fedsilo.workload.registry import Workload

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

    @classmethod
    def of(cls, options: Namespace) -> "Task":
        """The task of ``parser``'s options."""
        chosen = dict(pair.split("=", 1) for pair in options.chosen)
        return cls(options.workload, options.silos, options.rounds, options.seed, chosen)

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


def parser(doc: str | None) -> ArgumentParser:
    """The options of a benchmark that runs one task; ``doc`` is its module's."""
    options = ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--workload", default="heart_disease")
    options.add_argument("--silos", nargs="+", default=HOSPITALS)
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="chosen")
    return options
