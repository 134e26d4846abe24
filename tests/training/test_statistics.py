"""Statistics that can't be true are found silo by silo, and the others' make the first model."""

from argparse import Namespace

import pytest
import torch

from fedsilo.errors import RunError
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.roster import Silo
from fedsilo.training.statistics import apply_statistics, read_statistics
from fedsilo.training.sums import Expected
from fedsilo.workload import registry
from fedsilo.workload.base import Aggregator, Sums
from tests.support.played import LEAST, MOST, SOME_STATISTICS, statistics_of

ALL = "age, sex, trestbps, chol, fbs, and 8 more"
"""How a message names the 13 features."""

SQUARES = f"sum_of_squares of {ALL}"

EXPECTED = Expected(registry.declaration("heart_disease"), least_samples=10)


class OneOver(Aggregator):
    """Its model is one over the count, or the root of a sum."""

    def apply_statistics(self, totals: Sums) -> None:
        if "root" in totals:
            self.model.weight.data.fill_(float(totals["root"].double().sqrt()))
        else:
            self.model.weight.data.fill_(1 / int(totals["count"]))


def aggregator() -> StreamingAggregator:
    args = Namespace(federated_optimizer="FedAvg", round_idx=0, client_num_per_round=3, dataset="")
    return StreamingAggregator(args, torch.device("cpu"), OneOver(torch.nn.Linear(1, 1), args), 3, None)


def silo(name: str, statistics: Sums | None, samples: int = 50) -> Silo:
    return Silo(name, 1, samples=samples, statistics=statistics)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": torch.tensor(-50)}, "its statistic has an impossible count"),
        ({"count": torch.tensor(60)}, "its statistic is of 60 samples, and it declares 50"),
        ({"sum": MOST * 51}, f"its statistic has a sum of {ALL} outside the declared range"),
        ({"sum": -MOST * 51}, f"its statistic has a sum of {ALL} outside the declared range"),
        (
            {"sum_of_squares": MOST.square() * 51},
            f"its statistic has a {SQUARES} outside the declared range",
        ),
        (
            {"sum_of_squares": MOST * 0},
            f"its statistic has a {SQUARES.replace('8', '7')} that no samples with its sum have",
        ),
        ({"count": torch.tensor([50, 50])}, "its statistic has a count of shape [2], not []"),
    ],
)
def test_a_silo_is_found_whoever_comes_first(change: Sums, reason: str) -> None:
    """On a tie of forms the first one won, and a negative count ended everyone's run."""
    odd, good = silo("odd", SOME_STATISTICS | change), silo("good", SOME_STATISTICS)
    for silos in ([odd, good], [good, odd], [odd, silo("odd-too", odd.statistics), good]):
        statistics, reasons = read_statistics(silos, EXPECTED)
        assert statistics.keys() == {"good"}
        assert reasons["odd"] == reason
        assert "good" not in reasons


def test_the_statistics_of_a_few_patients_are_not_used() -> None:
    few = statistics_of(LEAST.repeat(9, 1))
    assert read_statistics([silo("few", few, samples=9)], EXPECTED) == (
        {},
        {"few": "its statistic is of 9 samples; the aggregator's policy.min_samples is 10"},
    )


def test_a_workload_without_statistics_gets_none() -> None:
    silos = [silo("west", {}), silo("absent", None), silo("odd", SOME_STATISTICS)]
    statistics, reasons = read_statistics(silos, Expected(registry.declaration("mlp"), 10))
    assert statistics == {"west": {}}
    assert reasons == {"odd": "its statistic holds count, which the workload does not declare"}


def test_statistics_of_all_silos_go_into_the_first_model() -> None:
    streaming = aggregator()
    apply_statistics({"west": {"count": torch.tensor(4)}, "east": {"count": torch.tensor(4)}}, streaming)
    assert float(streaming.get_global_model_params()["weight"]) == 1 / 8


def test_statistics_that_the_workload_can_not_use_end_the_run_with_what_happened() -> None:
    where = r"^the workload can't use the sum of the silos' statistics: {} at tests/training/test_statistics.py:\d+"
    with pytest.raises(RunError, match=where.format("ZeroDivisionError")):
        apply_statistics({"west": {"count": torch.tensor(0)}}, aggregator())
    with pytest.raises(RunError, match=where.format("KeyError")):
        apply_statistics({"west": {"sum": torch.tensor(0)}}, aggregator())
    with pytest.raises(RunError, match=r"made no usable model .*: weight has values that are not finite"):
        apply_statistics({"west": {"root": torch.tensor(-1)}}, aggregator())
