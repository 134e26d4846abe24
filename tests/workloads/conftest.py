"""The arguments that a workload's functions take, with a tracker that keeps what is logged."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest

from fedsilo.workload import registry
from fedsilo.workload.checkpoint import Checkpoint


class Recorder:
    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, int]] = []

    def log_metric(self, name: str, value: float, step: int) -> None:
        self.metrics.append((name, value, step))


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test of the workloads."""


@pytest.fixture
def arguments() -> Callable[..., Namespace]:
    def make(name: str, **chosen: Any) -> Namespace:
        fields = {"silo": "cleveland", "data": "packaged", "random_seed": 0, "rank": 1, "comm_round": 1, "round_idx": 0}
        fields |= {"tracker": Recorder(), "checkpoint": Checkpoint()}
        given = {key: chosen.pop(key) for key in list(chosen) if key in fields}
        return Namespace(**registry.hyperparameters(name, chosen), **(fields | given))

    return make
