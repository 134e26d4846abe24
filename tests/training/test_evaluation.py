"""Evaluations that can't be true are left out, and metrics are recorded with their bounds for the right round."""

from argparse import Namespace
from typing import Any

import pytest
import torch

from fedsilo.errors import MailError
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.evaluation import Evaluations
from fedsilo.training.roster import Silo
from fedsilo.training.sums import Expected
from fedsilo.workload.base import Aggregator, Estimate, Sums
from fedsilo.workload.declaration import Declaration

DECLARED = Declaration.model_validate(
    {
        "hyperparameters": {},
        "metrics": {
            "Test:Loss": {"better": "lower", "range": [0.0, 100.0]},
            "Test:AUC": {"better": "higher", "range": [0.0, 1.0]},
            "Test:Accuracy": {"better": "higher", "range": [0.0, 1.0]},
        },
        "evaluation": {"count": {"kind": "count"}, "loss": {"kind": "sum", "range": [0.0, 100.0]}},
    }
)


def evaluation(loss: float = 10.0, count: int = 20) -> Sums:
    return {"count": torch.tensor(count), "loss": torch.tensor(loss).double()}


class MeanLoss(Aggregator):
    """Its metrics are the mean loss, an AUC that is known the better, the smaller the loss is, and two that may not be
    shown: one that is not declared, and one out of its range."""

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        return dict(test_data)

    def metrics(self, totals: Sums) -> dict[str, float | Estimate]:
        loss = float(totals["loss"])
        held_back = {"Patient:Age": 63.0, "Test:Accuracy": 2.0}
        return {"Test:Loss": loss / int(totals["count"]), "Test:AUC": Estimate(0.5, loss / 10000), **held_back}

    def contradiction(self, sums: Sums) -> str | None:
        return "has a loss that is a riddle" if float(sums["loss"]) == 13 else None

    def next_bins(self, totals: Sums) -> torch.Tensor:
        return totals["loss"].double()[None]


class Recorder:
    """Keeps what a ledger and a tracker are told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, str]] = []
        self.of_silos: list[tuple[str, float, int, str, float]] = []
        self.of_all: list[tuple[str, float, int, float]] = []
        self.last: dict[str, Any] = {}

    def event(self, name: str, round_idx: int, text: str) -> None:
        self.events.append((name, round_idx, text))

    def metric(self, name: str, value: float, step: int, silo: str, bound: float) -> None:
        self.of_silos.append((name, value, step, silo, bound))

    def log_metric(self, name: str, value: float, step: int, bound: float) -> None:
        self.of_all.append((name, value, step, bound))

    def status(self, **fields: Any) -> None:
        self.last = fields


def evaluations(recorder: Recorder, holdout: Sums | None = None) -> Evaluations:
    args = Namespace(federated_optimizer="FedAvg", round_idx=0, client_num_per_round=3, dataset="")
    workload = MeanLoss(torch.nn.Linear(1, 1), args)
    streaming = StreamingAggregator(args, torch.device("cpu"), workload, 3, holdout)
    return Evaluations(streaming, Expected(DECLARED, 10), recorder, recorder)  # type: ignore[arg-type]


def silos(**sent: Sums | None) -> list[Silo]:
    return [Silo(name, rank, samples=40, evaluation=sums) for rank, (name, sums) in enumerate(sent.items(), start=1)]


def record(round_idx: int, holdout: Sums | None = None, **sent: Sums | None) -> Recorder:
    recorder = Recorder()
    evaluations(recorder, holdout).record(round_idx, silos(**sent))
    return recorder


def test_metrics_are_recorded_for_each_silo_and_for_all() -> None:
    found = record(2, west=evaluation(), late=None, east=evaluation(30))
    assert found.of_silos == [
        ("Test:Loss", 1.5, 2, "east", 0),
        ("Test:AUC", 0.5, 2, "east", 0.003),
        ("Test:Loss", 0.5, 2, "west", 0),
        ("Test:AUC", 0.5, 2, "west", 0.001),
    ]
    assert found.of_all == [("Test:Loss", 1.0, 2, 0), ("Test:AUC", 0.5, 2, 0.004)]
    assert found.last == {"metrics": {"Test:Loss": 1.0, "Test:AUC": 0.5}, "bounds": {"Test:AUC": 0.004}}
    assert found.events == []


def test_a_metric_whose_bound_is_too_large_is_left_out_with_the_reason() -> None:
    found = record(2, west=evaluation(), east=evaluation(390))
    assert [(name, silo) for name, *_, silo, _ in found.of_silos] == [
        ("Test:Loss", "east"),
        ("Test:Loss", "west"),
        ("Test:AUC", "west"),
    ]
    assert found.last == {"metrics": {"Test:Loss": 10.0}, "bounds": {}}
    assert found.events == [
        ("uncertain", 2, "Test:AUC of east is left out: it is known to ± 0.039 only; ± 0.01 is the most"),
        ("uncertain", 2, "Test:AUC of all silos is left out: it is known to ± 0.04 only; ± 0.01 is the most"),
    ]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({}, "has no count"),
        (evaluation(count=-20), "has an impossible count"),
        (evaluation(loss=-1), "has a loss outside the declared range"),
        (evaluation(loss=float("nan")), "has a loss that is not finite"),
        (evaluation(loss=13), "has a loss that is a riddle"),
        (evaluation(count=401), "is of 401 samples, more than 10 times those that it trains on"),
    ],
)
def test_an_evaluation_that_can_not_be_true_is_named_and_left_out(sent: Sums, reason: str) -> None:
    """It makes no difference whose evaluation comes first, or how many silos send the same."""
    for of_all in ({"odd": sent, "west": evaluation()}, {"a": sent, "odd": sent, "west": evaluation(), "z": sent}):
        found = record(1, **of_all)
        assert ("ignored", 1, f"odd: its evaluation {reason}") in found.events
        assert found.of_all == [("Test:Loss", 0.5, 1, 0), ("Test:AUC", 0.5, 1, 0.001)]
        assert {silo for *_, silo, _ in found.of_silos} == {"west"}


def test_a_silo_tests_the_same_samples_in_each_round() -> None:
    recorder, (west, east) = Recorder(), silos(west=evaluation(), east=evaluation())
    recorded = evaluations(recorder)
    recorded.record(0, [west, east])
    west.evaluation = evaluation(count=21)
    recorded.record(1, [west, east])
    assert recorder.events == [("ignored", 1, "west: its evaluation is of 21 samples, and its first one was of 20")]
    assert {silo for *_, silo, _ in recorder.of_silos} == {"east"}


def test_a_silo_with_few_test_samples_counts_and_is_not_shown_by_itself() -> None:
    found = record(1, west=evaluation(), few=evaluation(loss=0, count=5))
    assert {silo for *_, silo, _ in found.of_silos} == {"west"}
    assert found.of_all[0] == ("Test:Loss", 0.4, 1, 0)
    assert found.events == []


def test_a_model_that_nobody_could_evaluate_has_no_metrics() -> None:
    found = record(3, west=evaluation(loss=float("nan")))
    assert found.last == {"metrics": {}, "bounds": {}}, "those of the model before it would be wrong"


def test_the_model_before_any_training_has_no_metrics() -> None:
    found = record(0, west=evaluation())
    assert not found.of_all
    assert not found.of_silos
    assert not found.last


def test_a_hold_out_set_of_the_aggregators_own_gives_the_metrics_of_all() -> None:
    found = record(1, holdout=evaluation(3, count=1), west=evaluation())
    assert found.of_all[0] == ("Test:Loss", 3.0, 1, 0)
    assert found.of_silos[0] == ("Test:Loss", 0.5, 1, "west", 0)


def test_bins_follow_the_sums_of_the_round_before_and_are_resumed() -> None:
    first, resumed = evaluations(Recorder()), evaluations(Recorder())
    assert first.bins is None
    first.record(0, silos(west=evaluation(), east=evaluation()))
    assert first.bins == [20.0]
    first.record(1, [])
    assert first.bins == [20.0], "without an evaluation the bins stay"
    resumed.resume(first.bins)
    assert resumed.bins == [20.0]
    for odd in ("text", [], [1.0, float("inf")], ["1"], [True], [0.0] * 10_001):
        with pytest.raises(MailError, match="not a list of finite numbers"):
            resumed.resume(odd)
