"""A report believes a party's lines only as far as they can be true."""

import pytest

from fedsilo.report.history import RunHistory
from tests.support.ledgers import RUN, START, WrittenLedger, finished, metric, span


def test_a_silo_can_not_speak_for_the_global_model() -> None:
    forged = finished(3)
    forged.lines["hungary"] += [metric("Test:AUC", 0.999, 3, START + 8)]
    forged.lines["hungary"] += [metric("Test:AUC", 0.999, 3, START + 8, silo="cleveland")]
    assert "0.999" not in forged.page().html


def test_lines_that_can_not_be_true_are_left_out_and_counted() -> None:
    odd = finished(3)
    odd.lines["hungary"] += [
        span("train", START, START + 1e8, 0),
        span("train", START + 2, START + 1, 0),
        metric("Validation:AUC", float("nan"), 0, START),
        {"kind": "metric", "name": "Validation:AUC", "value": 10**400, "time": START},
        {"kind": "riddle", "time": START},
    ]
    text = odd.page().text
    assert "leaves out 5 lines" in text
    assert "3 of 3 rounds in 7.5 s" in text


@pytest.mark.parametrize("time", [1e11, 1e300, -5.0])
@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_times_that_can_not_be_true_leave_the_run_without_a_start(time: float, created: str) -> None:
    lines = {"aggregator": [metric("Test:AUC", 0.5, 0, time), span("train", time, time, 0)]}
    text = WrittenLedger(RUN | {"created": created}, {}, lines).page().text
    assert "leaves out 2 lines" in text
    assert "UTC" not in text


def test_a_silo_can_not_make_up_rounds() -> None:
    told = finished(3)
    told.lines["hungary"] += [span("train", START + 5, START + 5.1, 10**6)]
    told.lines["hungary"] += [metric("Validation:AUC", 0.1, 9, START + 5.2)]
    assert max(float(text) for tag, text in told.page().texts if tag == "text" and text.isdigit()) == 3


def test_the_last_value_of_a_repeated_round_counts() -> None:
    repeated = finished(3)
    repeated.lines["aggregator"] += [metric("Test:AUC", 0.25, 2, START + 7)]
    found = RunHistory(repeated.record()).metric("Test:AUC")
    assert {rounds_done: line.value for rounds_done, line in found.items()} == {1: 0.875, 2: 0.25, 3: 0.875}


def test_a_metric_that_the_newest_evaluation_did_not_give_has_no_last_value() -> None:
    told = finished(3)
    told.lines["aggregator"] += [metric("Test:Loss", 0.25, 4, START + 9)]
    history = RunHistory(told.record())
    assert history.last("Test:AUC") is None
    assert history.last("Test:Loss") == history.metric("Test:Loss")[4]
    assert 4 not in history.metric("Test:AUC")
