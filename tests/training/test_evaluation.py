"""Sums that do not fit the others' are found, the rest are added up, and metrics are recorded for the right round."""

from argparse import Namespace
from typing import Any

import pytest
import torch

from fedsilo.errors import MailError, RunError
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.evaluation import Evaluations, apply_statistics, find_incompatible, total
from fedsilo.workload.base import Aggregator, Estimate, Sums

USUAL: Sums = {"count": torch.tensor(4), "loss": torch.tensor(2.0).double()}


class MeanLoss(Aggregator):
    """Its only metric is the mean loss; a hold-out set is the sums that it gives."""

    def apply_statistics(self, totals: Sums) -> None:
        self.model.weight.data.fill_(1 / int(totals["count"]))

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        return dict(test_data)

    def metrics(self, totals: Sums) -> dict[str, float | Estimate]:
        loss = float(totals["loss"])
        return {"Test:Loss": loss / int(totals["count"]), "Test:AUC": Estimate(0.5, loss / 1000)}

    def next_bins(self, totals: Sums) -> torch.Tensor:
        return totals["loss"].double()[None]


def aggregator(holdout: Sums | None = None) -> StreamingAggregator:
    args = Namespace(federated_optimizer="FedAvg", round_idx=0, client_num_per_round=3, dataset="")
    return StreamingAggregator(args, torch.device("cpu"), MeanLoss(torch.nn.Linear(1, 1), args), 3, holdout)


class Recorder:
    """Keeps what a ledger and a tracker are told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, str]] = []
        self.of_silos: list[tuple[str, float, int, str]] = []
        self.of_all: list[tuple[str, float, int]] = []
        self.last: dict[str, Any] = {}

    def event(self, name: str, round_idx: int, text: str) -> None:
        self.events.append((name, round_idx, text))

    def metric(self, name: str, value: float, step: int, silo: str, bound: float) -> None:
        self.of_silos.append((name, value, step, silo, bound))

    def log_metric(self, name: str, value: float, step: int, bound: float) -> None:
        self.of_all.append((name, value, step, bound))

    def status(self, **fields: Any) -> None:
        self.last = fields


def record(round_idx: int, evaluations: dict[str, Sums], holdout: Sums | None = None) -> Recorder:
    recorder = Recorder()
    Evaluations(aggregator(holdout), recorder, recorder).record(round_idx, evaluations)  # type: ignore[arg-type]
    return recorder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": torch.tensor(float("nan")).double()}, "not finite"),
        ({"loss": torch.tensor(float("inf")).double()}, "not finite"),
        ({"loss": torch.tensor([2.0]).double()}, "not like that of the others"),
        ({"loss": torch.tensor(2.0)}, "not like that of the others"),
        ({"count": torch.tensor(4).int()}, "not like that of the others"),
        ({"more": torch.tensor(4)}, "not like that of the others"),
    ],
)
def test_sums_that_can_not_be_added_to_most_others_are_found(change: Sums, reason: str) -> None:
    sums = {"other": USUAL | change, "west": USUAL, "east": dict(USUAL)}
    assert find_incompatible(sums) == {"other": reason}


def test_sums_of_one_form_are_added_up_and_no_sums_are_fine() -> None:
    assert find_incompatible({"west": USUAL, "east": USUAL}) == {}
    assert find_incompatible({"west": {}, "east": {}}) == find_incompatible({}) == {}
    assert total({"west": USUAL, "east": USUAL}) == {"count": torch.tensor(8), "loss": torch.tensor(4.0).double()}
    assert total({}) == total({"west": {}}) == {}


def test_sums_of_all_silos_in_a_wrong_dtype_are_found() -> None:
    sums = {"west": {"count": torch.tensor(4).int()}, "east": {"count": torch.tensor(4).int()}}
    assert find_incompatible(sums) == dict.fromkeys(sums, "neither float64 nor int64")


def test_metrics_are_recorded_for_each_silo_and_for_all() -> None:
    west, east = USUAL, USUAL | {"loss": torch.tensor(6.0).double()}
    found = record(2, {"west": west, "east": east})
    assert found.of_silos == [
        ("Test:Loss", 1.5, 2, "east", 0),
        ("Test:AUC", 0.5, 2, "east", 0.006),
        ("Test:Loss", 0.5, 2, "west", 0),
        ("Test:AUC", 0.5, 2, "west", 0.002),
    ]
    assert found.of_all == [("Test:Loss", 1.0, 2, 0), ("Test:AUC", 0.5, 2, 0.008)]
    assert found.last == {"metrics": {"Test:Loss": 1.0, "Test:AUC": 0.5}, "bounds": {"Test:AUC": 0.008}}
    assert found.events == []


def test_a_metric_whose_bound_is_too_large_is_left_out_with_the_reason() -> None:
    found = record(2, {"west": USUAL, "east": USUAL | {"loss": torch.tensor(200.0).double()}})
    assert [(name, silo) for name, *_, silo, _ in found.of_silos] == [
        ("Test:Loss", "east"),
        ("Test:Loss", "west"),
        ("Test:AUC", "west"),
    ]
    assert found.last == {"metrics": {"Test:Loss": 25.25}, "bounds": {}}
    assert found.events == [
        ("uncertain", 2, "Test:AUC of east is left out: it is known to ± 0.2 only; ± 0.01 is the most"),
        ("uncertain", 2, "Test:AUC of all silos is left out: it is known to ± 0.2 only; ± 0.01 is the most"),
    ]


def test_bins_follow_the_sums_of_the_round_before_and_are_resumed() -> None:
    recorder = Recorder()
    evaluations = Evaluations(aggregator(), recorder, recorder)  # type: ignore[arg-type]
    assert evaluations.bins is None
    evaluations.record(0, {"west": USUAL, "east": USUAL})
    assert evaluations.bins == [4.0]
    evaluations.record(1, {})
    assert evaluations.bins == [4.0], "without an evaluation the bins stay"
    resumed = Evaluations(aggregator(), recorder, recorder)  # type: ignore[arg-type]
    resumed.resume(evaluations.bins)
    assert resumed.bins == [4.0]
    for odd in ("text", [], [1.0, float("inf")], ["1"], [True], [0.0] * 10_001):
        with pytest.raises(MailError, match="not a list of finite numbers"):
            resumed.resume(odd)


def test_an_evaluation_that_does_not_fit_is_named_and_left_out() -> None:
    found = record(1, {"west": USUAL, "odd": {"count": torch.tensor([1])}, "east": USUAL})
    assert found.events == [("ignored", 1, "odd: its evaluation is not like that of the others")]
    assert found.of_all == [("Test:Loss", 0.5, 1, 0), ("Test:AUC", 0.5, 1, 0.004)]
    assert [silo for name, *_, silo, _ in found.of_silos if name == "Test:Loss"] == ["east", "west"]


def test_the_model_before_any_training_has_no_metrics() -> None:
    found = record(0, {"west": USUAL})
    assert not found.of_all
    assert not found.of_silos
    assert not found.last


def test_a_hold_out_set_of_the_aggregators_own_gives_the_metrics_of_all() -> None:
    found = record(1, {"west": USUAL}, holdout={"count": torch.tensor(1), "loss": torch.tensor(3.0).double()})
    assert found.of_all[0] == ("Test:Loss", 3.0, 1, 0)
    assert found.of_silos[0] == ("Test:Loss", 0.5, 1, "west", 0)


def test_statistics_of_all_silos_go_into_the_first_model() -> None:
    streaming = aggregator()
    apply_statistics({"west": USUAL, "east": USUAL}, streaming)
    assert float(streaming.get_global_model_params()["weight"]) == 1 / 8


def test_statistics_without_a_meaning_end_the_run_with_the_reason() -> None:
    with pytest.raises(RunError, match=r"^the silos' statistics make no model \(ZeroDivisionError: "):
        apply_statistics({"west": {"count": torch.tensor(0)}}, aggregator())
    with pytest.raises(RunError, match=r"^the silos' statistics make no model \(KeyError: "):
        apply_statistics({"west": {"sum": torch.tensor(0)}}, aggregator())
