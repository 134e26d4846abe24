"""Reading ledgers: up to limits, and only what was written."""

from pathlib import Path

import pytest

from fedsilo import names
from fedsilo.config.run import Run, RunIdentity, plan
from fedsilo.errors import NotFoundError, SpecError
from fedsilo.keys import RunKeys
from fedsilo.ledger import reader
from fedsilo.states import PartyState
from tests.support.hostile import HOSTILE, dumped
from tests.support.operator_harness import SILOS, OperatorHarness


def run_of(name: str) -> Run:
    return plan(name, "heart_disease", SILOS, overrides={}, run_id="run-1", rounds=2)


def test_a_run_is_read_with_the_identity_of_its_file(operator: OperatorHarness) -> None:
    begun = operator.begin("run-1")
    run, identity = operator.reader.run("run-1")
    assert run == begun
    assert identity == RunIdentity.of("run-1", begun.model_dump_json().encode(), "")
    with pytest.raises(NotFoundError, match=f"^no run run-2 in federation {operator.name}; `fedsilo run list`"):
        operator.reader.run("run-2")
    operator.put(RunKeys("run-1").run_json, HOSTILE)
    with pytest.raises(SpecError, match=f"^{operator.bucket}/runs/run-1/run.json: "):
        operator.reader.run("run-1")


def test_statuses_are_of_all_parties_or_of_some(operator: OperatorHarness) -> None:
    run = operator.begin("run-1")
    operator.say("run-1", "hungary", state="TRAINING")
    assert {party: status.state for party, status in operator.reader.statuses(run).items()} == {
        "aggregator": PartyState.REQUESTED,
        "cleveland": PartyState.REQUESTED,
        "hungary": PartyState.TRAINING,
        "long-beach": PartyState.REQUESTED,
    }
    assert list(operator.reader.statuses(run, ["hungary"])) == ["hungary"]
    [found] = operator.reader.aggregator_statuses(operator.reader.newest_runs())
    assert found.state == PartyState.REQUESTED


def test_an_empty_log_counts_as_none(operator: OperatorHarness) -> None:
    run = operator.begin("run-1")
    assert operator.reader.log(run, "hungary") is None
    operator.put(run.keys.log("hungary"), b"")
    assert operator.reader.log(run, "hungary") is None
    operator.put(run.keys.log("hungary"), b"up\n")
    assert operator.reader.log(run, "hungary") == b"up\n"


def test_a_model_is_downloaded_or_missing(operator: OperatorHarness, tmp_path: Path) -> None:
    run = operator.begin("run-1")
    assert operator.reader.download_model(run, names.AGGREGATOR, tmp_path / "model") is None
    operator.put(run.keys.model(names.AGGREGATOR), b"the model")
    assert operator.reader.download_model(run, names.AGGREGATOR, tmp_path / "model") == 9
    assert (tmp_path / "model").read_bytes() == b"the model"


def test_a_ledger_of_any_size_is_read_up_to_a_limit(operator: OperatorHarness) -> None:
    """A million lines, one line of megabytes, a nested one, and between them one that tells something."""
    metric = {"kind": "metric", "name": "Test:AUC", "value": 0.75, "step": 1, "time": 1.8e9}
    good = dumped(metric)
    keys = RunKeys("run-1")
    odd = [dumped(metric | {"text": "x" * 10**6}), b"[" * 60_000, b'{"a":' * 10_000, dumped(metric | {"value": 5.0})]
    operator.put(keys.metrics(names.AGGREGATOR), b"\n".join([*odd, good]))
    operator.put(keys.metrics("hungary"), good + b"\n{}" * 10**6)
    operator.put(keys.metrics("cleveland"), good + b"\n" + b" " * (reader.SILO_METRICS_BYTES + 2**20))
    found = operator.reader.record(run_of(operator.name))
    assert found.metric("Test:AUC") == 0.75
    assert {party: len(lines) for party, lines in found.lines.items()} == {
        "aggregator": 1,
        "cleveland": 1,
        "hungary": 1,
    }
    most = reader.SILO_METRICS_BYTES // reader.SHORTEST_LINE
    # Of hungary's, those beyond the limit count as one.
    assert found.left_out == {"aggregator": len(odd), "hungary": most - 1 + 1, "cleveland": 1}


def test_objects_of_any_size_are_read_up_to_a_limit(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "STATUS_BYTES", 100)
    monkeypatch.setattr(reader, "LOG_BYTES", 10)
    run = operator.begin("run-1")
    operator.put(run.keys.status("hungary"), dumped({"state": "TRAINING", "reason": "x" * 100}))
    operator.put(run.keys.log("hungary"), b"0123456789abcdef\n")
    assert operator.reader.status(run, "hungary").state == PartyState.UNKNOWN
    assert operator.reader.log(run, "hungary") == b"789abcdef\n"
