"""A simulated run beside the real one: four hospitals, real trainers, the same seed."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from fedsilo.ledger.record import Record
from fedsilo.names import AGGREGATOR
from fedsilo.simulation.simulate import simulate
from fedsilo.states import LineKind
from tests.support.federations import HOSPITALS, RunningFederation

pytestmark = pytest.mark.e2e


@pytest.fixture
def real(endpoint: str, tmp_path: Path) -> Iterator[RunningFederation]:
    running = RunningFederation(endpoint, tmp_path, HOSPITALS, rounds=3)
    yield running
    running.close()


def curve(record: Record) -> dict[tuple[str, int | None, str | None], float]:
    """The metrics that the aggregator recorded, by name, round and silo."""
    lines = record.lines[AGGREGATOR]
    return {(line.name, line.round, line.silo): line.value for line in lines if line.kind == LineKind.METRIC}


def test_the_same_seed_gives_the_curve_and_the_model_of_the_real_federation(
    real: RunningFederation, tmp_path: Path
) -> None:
    real.start_all()
    assert set(real.wait(AGGREGATOR, *HOSPITALS).values()) == {0}
    out = tmp_path / "out"
    out.mkdir()
    result = simulate(real.federation, real.run, None, out, Console(file=io.StringIO()))
    expected = curve(real.record())
    assert len({round_idx for _, round_idx, _ in expected}) == 3
    assert curve(result.record) == pytest.approx(expected, abs=1e-6)
    simulated = load_file(out / "model.safetensors")
    for name, tensor in real.model().items():
        torch.testing.assert_close(simulated[name], tensor, rtol=0, atol=1e-6)
    written: dict[str, Any] = json.loads((out / "result.json").read_text())
    assert written["contributions"] == dict.fromkeys(HOSPITALS, 3)
