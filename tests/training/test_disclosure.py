"""Of a silo's metrics, only declared names with values in their range leave it, and not too many a round."""

from argparse import Namespace
from typing import Any

import pytest

from fedsilo.config.environment import Settings
from fedsilo.training.disclosure import Disclosure
from fedsilo.training.tracking import Tracker
from fedsilo.workload import registry


class Sink:
    """Keeps what leaves the party."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, int]] = []

    def status(self, **fields: Any) -> None:
        pass

    def metric(self, name: str, value: float, step: int, *, bound: float = 0.0) -> None:
        self.metrics.append((name, value, step))


def tracked(sink: Sink, most_per_round: int) -> tuple[Tracker, Disclosure]:
    who = Namespace(federation="heart", party="cleveland", rank=1, hub_account="1" * 12, hub_region="us-east-1")
    disclosure = Disclosure(registry.declaration("heart_disease").metrics, most_per_round)
    return Tracker(Settings(**vars(who), tracking="off"), "heart-1", sink, {}, disclosure), disclosure


def test_what_is_not_declared_or_out_of_range_stays_and_is_named_once_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Sink()
    tracker, disclosure = tracked(sink, 10)
    with tracker:
        for step in range(3):
            tracker.log_metric("Patient:Age", 63.125, step)
            tracker.log_metric("Validation:AUC", 1.5625, step)
            tracker.log_metric("Training:Loss", 0.5, step)
            tracker.log_metric("Training:Loss", float("nan"), step)
    assert sink.metrics == [("Training:Loss", 0.5, step) for step in range(3)]
    assert disclosure.held_back == {"Patient:Age": 3, "Validation:AUC": 3}
    assert caplog.text.count("metric 'Patient:Age' is held back: the workload does not declare it") == 1
    assert caplog.text.count("metric 'Validation:AUC' is held back: its value is not in the range") == 1
    assert "held back 3 values of metric 'Patient:Age'" in caplog.text
    assert "63.125" not in caplog.text
    assert "1.5625" not in caplog.text


def test_the_policy_bounds_how_many_metrics_leave_in_a_round(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    tracker, _ = tracked(sink, 2)
    with tracker:
        for round_idx in range(2):
            tracker.begin_round()
            for step in range(5):
                tracker.log_metric("Training:Loss", 0.5, 10 * round_idx + step)
    assert [step for _, _, step in sink.metrics] == [0, 1, 10, 11]
    assert "policy.max_metrics_per_round is 2" in caplog.text
