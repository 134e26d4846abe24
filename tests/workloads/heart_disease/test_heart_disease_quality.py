"""Federated averaging over the four hospitals learns well enough: 50 rounds, 5 seeds."""

import statistics

import pytest

from bench import fedavg
from bench.task import HOSPITALS, Task


@pytest.mark.e2e
def test_fifty_rounds_reach_the_quality_of_pooled_training() -> None:
    runs = [fedavg.run(Task("heart_disease", HOSPITALS, 50, seed, {})) for seed in range(5)]
    assert statistics.fmean(run["metrics"]["Test:AUC"] for run in runs) >= 0.87
    assert statistics.fmean(run["metrics"]["Test:Accuracy"] for run in runs) >= 0.79
    assert max(run["largest_bound"] for run in runs) < 0.005


@pytest.mark.parametrize("chosen", [{}, {"lr": "1"}])
def test_the_auc_is_known_to_0_005_after_every_round(chosen: dict[str, str]) -> None:
    assert fedavg.run(Task("heart_disease", HOSPITALS, 4, 1, chosen))["largest_bound"] < 0.005
