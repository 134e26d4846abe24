"""What result.json and the table of a run say."""

import json
from pathlib import Path

from rich.console import Console

from fedsilo.report.result import RunResult
from tests.support.ledgers import WrittenLedger, finished


def test_a_result_holds_the_last_scores_and_the_times() -> None:
    result = RunResult.of(finished(3).record()).to_json()
    assert result == {
        "run_id": "heart-20261122-081500",
        "workload": "heart_disease",
        "simulated": False,
        "state": "FINISHED",
        "reason": "",
        "silos": ["cleveland", "hungary", "switzerland", "long-beach"],
        "rounds": 3,
        "rounds_completed": 3,
        "fraction": 1.0,
        "contributions": {"cleveland": 0, "hungary": 0, "switzerland": 0, "long-beach": 0},
        "asked_rounds": {},
        "require_silos": None,
        "test_auc": 0.875,
        "test_auc_bound": 0.0012,
        "test_accuracy": 0.8125,
        "test_loss": 0.4321,
        "round_seconds_median": 2.0,
        "start_to_first_round_seconds": 0.0,
        "experiments": [
            "heart-aggregator",
            "heart-cleveland",
            "heart-hungary",
            "heart-switzerland",
            "heart-long-beach",
        ],
    }


def test_a_run_of_which_nothing_is_known_has_a_result(tmp_path: Path) -> None:
    result = RunResult.of(WrittenLedger().record())
    (tmp_path / "model.safetensors").write_bytes(b"of an earlier run")
    assert result.write(tmp_path, lambda file: None) is None
    assert not (tmp_path / "model.safetensors").exists(), "it would pass for the model of this run"
    written = json.loads((tmp_path / "result.json").read_text())
    assert (written["state"], written["test_auc"], written["experiments"]) == ("REQUESTED", None, [])
    assert "No outcome" in (tmp_path / "report.html").read_text()


def test_the_first_line_says_who_contributed() -> None:
    ledger = finished(3, dead_from=1)
    ledger.statuses["aggregator"]["contributions"] = {"cleveland": 3, "hungary": 3, "switzerland": 10**9, "x": 3}
    words = "3 of 4 silos contributed to all 3 rounds; long-beach to none"
    assert RunResult.of(ledger.record()).headline == f"heart-20261122-081500: 3 of 3 rounds; {words}"
    counts = {"cleveland": 3, "hungary": 3, "switzerland": 3, "long-beach": 0}
    assert RunResult.of(ledger.record()).to_json()["contributions"] == counts
    assert f"Finished: {words}; 3 of 3 rounds in " in ledger.page().text
    assert RunResult.of(finished(3).record()).headline == "heart-20261122-081500: 3 of 3 rounds"


def test_the_table_ends_with_the_whole_federation() -> None:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(RunResult.of(finished(3, dead_from=1).record()).table())
    _, *silos, everything = [line for line in shown.get().splitlines() if line.strip()]
    assert silos[0].split() == ["cleveland", "FINISHED", "199", "0.865", "±", "0.002", "0.802", "0.422"]
    assert silos[3].split() == ["long-beach", "TRAINING", "-", "-", "-", "-"]
    assert everything.split()[-7:] == ["FINISHED", "-", "0.875", "±", "0.002", "0.812", "0.432"]
