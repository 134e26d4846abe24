"""Whole runs that go well, on real processes over real mail."""

from pathlib import Path

from fedsilo import names
from tests.support.federations import RunningFederation


def test_another_workload_tested_on_a_hold_out_set_of_the_aggregators_own(endpoint: str, tmp_path: Path) -> None:
    silos = ("east", "west")
    federation = RunningFederation(
        endpoint,
        tmp_path,
        silos,
        workload="mlp",
        rounds=2,
        hyperparameters={"parameters": 2000, "holdout": 333, "samples": 100, "lr": 1.0},
    )
    try:
        federation.start_all()
        assert set(federation.wait(names.AGGREGATOR, *silos).values()) == {0}, federation.logs()
    finally:
        federation.close()
    record = federation.record()
    assert record.rounds_completed == 2
    auc = record.metric("Test:AUC")
    assert auc is not None
    assert auc > 0.7
    # Of 333 labels of the aggregator's; of the silos' 200 it would be a multiple of 1 / 200.
    correct = (record.metric("Test:Accuracy") or 0) * 333
    assert abs(correct - round(correct)) < 1e-6
    assert {silo: record.statuses[silo].state for silo in silos} == dict.fromkeys(silos, "FINISHED")
