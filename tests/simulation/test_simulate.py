"""``fedsilo simulate``: whole runs of many silos in this process, and what they leave."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedsilo.config.run import Run, plan
from fedsilo.errors import FedsiloError, SpecError
from fedsilo.simulation.partition import Partition
from fedsilo.simulation.silos import partitioned
from fedsilo.simulation.simulate import LOG, simulate
from fedsilo.workload.registry import SiloData
from tests.support.federations import described

SMALL = {"parameters": "100", "samples": "20", "batch_size": "20"}


def run_of(silos: int, workload: str = "mlp", **choices: Any) -> Run:
    names = [f"silo-{number}" for number in range(1, silos + 1)]
    overrides = SMALL if workload == "mlp" else {}
    defaults = {"run_id": "many-run", "seed": 3, "simulated": True}
    return plan("many", workload, names, overrides=overrides, **(defaults | choices))


def simulated(run: Run, out: Path, how: str = "dirichlet:0.3") -> tuple[dict[str, Any], str]:
    """What result.json holds, and what was printed."""
    shown = io.StringIO()
    out.mkdir()
    workload = partitioned(run, Partition.parse(how), min_samples=10)
    federation = described("many", tuple(run.silos))
    simulate(federation, run, workload, out, Console(file=shown, width=200))
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result, shown.getvalue()


def test_thirty_silos_leave_a_record_a_report_and_a_model(tmp_path: Path) -> None:
    run = run_of(30, rounds=2, fraction=0.1)
    result, shown = simulated(run, tmp_path / "one")
    assert (result["state"], result["simulated"], result["rounds_completed"]) == ("FINISHED", True, 2)
    assert sum(result["asked_rounds"].values()) == sum(result["contributions"].values()) == 6
    assert "FINISHED  round 2/2" in shown
    assert "simulated: many-run: 2 of 2 rounds" in shown
    assert "Simulated. Finished" in (tmp_path / "one" / "report.html").read_text()
    assert (tmp_path / "one" / "model.safetensors").stat().st_size > 400


def test_the_same_seed_gives_the_same_result_and_model(tmp_path: Path) -> None:
    run = run_of(4, rounds=2, fraction=0.5)
    one, two = (simulated(run, tmp_path / out)[0] for out in ("one", "two"))
    assert one == two
    models = [(tmp_path / out / "model.safetensors").read_bytes() for out in ("one", "two")]
    assert models[0] == models[1]


def test_too_many_silos_for_the_pooled_data_are_an_error() -> None:
    with pytest.raises(SpecError, match=r"486 training samples are enough for 48 silos of 10 .*, and the run has 49"):
        partitioned(run_of(49, "heart_disease"), Partition.parse("iid"), min_samples=10)


def test_a_defect_of_a_workload_ends_the_simulation_and_its_traceback_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(3, rounds=1)
    workload = partitioned(run, Partition.parse("iid"), min_samples=10)
    load: Callable[..., SiloData] = workload.load_silo

    def fail(args: Any) -> SiloData:
        return load(args) if args.rank != 2 else SiloData(1 / 0, None, 0)

    monkeypatch.setattr(workload, "load_silo", fail)
    with pytest.raises(FedsiloError, match=r"the trainer of silo-2 failed; simulation.log has the traceback"):
        simulate(described("many", tuple(run.silos)), run, workload, tmp_path, Console(file=io.StringIO()))
    assert "ZeroDivisionError" in (tmp_path / LOG).read_text()
