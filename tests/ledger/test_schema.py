"""The schemas: what is written is read back, writing is strict, and reading is lenient."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from fedsilo.ledger.schema import AgentStatus, LedgerLine, Status
from fedsilo.states import AgentState, LineKind, PartyState
from tests.support.hostile import BODIES, assert_harmless

NOW = datetime(2026, 11, 22, 8, 15, 0, 123000, tzinfo=UTC)


def test_a_status_is_stored_under_the_names_that_readers_know() -> None:
    status = Status(run="run-1", party="hungary", state=PartyState.TRAINING, round=3, started=NOW)
    assert json.loads(status.dumps()) == {
        "run": "run-1",
        "party": "hungary",
        "state": "TRAINING",
        "round": 3,
        "started": "2026-11-22T08:15:00.123Z",
    }
    assert Status.of(status.dumps().encode()) == status


def test_a_changed_status_keeps_what_was_set_before() -> None:
    before = Status(state=PartyState.TRAINING, parameters={"train data size": 199, "center": "hungary", "lr": 0.5})
    after = Status.of(before.dumps().encode(), 7.0).changed(state=PartyState.FAILED, reason="no quorum")
    assert (after.state, after.reason, after.samples) == (PartyState.FAILED, "no quorum", 199)
    assert json.loads(after.dumps())["parameters"] == {"train data size": 199, "center": "hungary", "lr": 0.5}
    assert "silent_seconds" not in after.dumps()


def test_what_is_written_quotes_another_party_in_one_short_line() -> None:
    """A tensor's name of 1.5 MB got into a reason, and no reader took the status any more."""
    hostile = "tensor\n2026-11-22 10:08:31,123 INFO forged\x1b[2J" * 50_000
    written = Status(reason="").changed(reason=hostile, refused={"hungary": hostile}).dumps()
    line = LedgerLine("aggregator", LineKind.EVENT, "refused", 1.0, 1.0, round=1, text=hostile).dumps()
    assert len(written) < 2000
    assert len(line) < 1000
    for value in (json.loads(written)["reason"], json.loads(written)["refused"]["hungary"], json.loads(line)["text"]):
        assert value.startswith("tensor 2026-11-22")
        assert value.isprintable()


def test_json_has_no_nan() -> None:
    status = Status(metrics={"Test:AUC": float("nan"), "Test:Loss": 0.5})
    assert json.loads(status.dumps(), parse_constant=lambda _: 1 / 0)["metrics"] == {"Test:AUC": None, "Test:Loss": 0.5}
    assert Status.of(status.dumps().encode()).metrics == {"Test:Loss": 0.5}


@pytest.mark.parametrize(
    "fields", [{"colour": "red"}, {"state": "DANCING"}, {"round": "third"}, {"metrics": {"Test:AUC": "good"}}]
)
def test_a_wrong_field_is_not_written(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Status(**fields)
    with pytest.raises(ValidationError):
        Status().changed(**fields)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("state", "DANCING", PartyState.UNKNOWN),
        ("state", "REQUESTED", PartyState.UNKNOWN),
        ("state", ["FAILED"], PartyState.UNKNOWN),
        ("round", 3.7, 3),
        ("round", -1, None),
        ("round", True, None),
        ("round", 10**400, None),
        ("reason", "a\x1b[2Jb\nc", "a�[2Jb c"),
        ("reason", 7, "7"),
        ("version", "x" * 41, "x" * 39 + "…"),
        ("started", "2026-11-22T08:15:00.123", NOW),
        ("started", "yesterday", None),
        ("answered", ["hungary", 1], ("hungary", "1")),
        ("answered", "hungary", ()),
        ("refused", {"hungary": None}, {"hungary": ""}),
        ("metrics", {"Test:AUC": "good", "Test:Loss": 1}, {"Test:Loss": 1.0}),
        ("metrics", [1], {}),
        ("parameters", {"epochs": 2, "center": ["a"]}, {"epochs": 2, "center": "['a']"}),
        ("tracking_failures", None, 0),
        ("silent_seconds", 5.0, None),
    ],
)
def test_a_field_that_can_not_be_used_counts_as_missing(field: str, value: object, read: object) -> None:
    assert getattr(Status.of(json.dumps({field: value}).encode()), field) == read


def test_a_party_that_has_written_nothing_was_asked_and_one_that_wrote_nonsense_is_unknown() -> None:
    assert Status.of(None).state == PartyState.REQUESTED
    for body in (b"", b"[]", b"{}", b"\xff"):
        assert Status.of(body).state == PartyState.UNKNOWN


def test_a_heartbeat_is_read_by_the_clock_of_s3_under_the_name_of_its_key() -> None:
    written = AgentStatus(party="hungary", state=AgentState.BUSY, run="run-1", queued=("run-2",), seen=NOW)
    assert json.loads(written.dumps())["seen"] == "2026-11-22T08:15:00.123Z"
    later = NOW.replace(year=2027)
    read = AgentStatus.of("cleveland", written.dumps().encode(), later, 4.0)
    assert (read.party, read.seen, read.silent_seconds) == ("cleveland", later, 4.0)
    assert (read.state, read.run, read.queued, read.silent) == (AgentState.BUSY, "run-1", ("run-2",), False)
    assert AgentStatus.of("cleveland", b'{"run": null}', later, 4.0).run is None
    assert AgentStatus.of("cleveland", b"{}", later, 181.0).silent
    assert AgentStatus(party="cleveland").silent


@pytest.mark.parametrize(
    ("line", "stored"),
    [
        (
            LedgerLine("aggregator", LineKind.METRIC, "Test:AUC", 5.0, 5.0, 0.75, round=3),
            {"time": 5.0, "kind": "metric", "name": "Test:AUC", "value": 0.75, "step": 3},
        ),
        (
            LedgerLine("aggregator", LineKind.METRIC, "Test:AUC", 5.0, 5.0, 0.75, 0.002, 3, "hungary"),
            {
                "time": 5.0,
                "kind": "metric",
                "name": "Test:AUC",
                "value": 0.75,
                "bound": 0.002,
                "step": 3,
                "silo": "hungary",
            },
        ),
        (
            LedgerLine("aggregator", LineKind.EVENT, "opened", 5.0, 5.0, round=0, text="2 silos"),
            {"time": 5.0, "kind": "event", "name": "opened", "round": 0, "text": "2 silos"},
        ),
        (
            LedgerLine("aggregator", LineKind.SPAN, "train", 4.5, 5.0, round=1),
            {"time": 5.0, "kind": "span", "name": "train", "start": 4.5, "end": 5.0, "round": 1},
        ),
    ],
    ids=["metric", "metric of a silo", "event", "span"],
)
def test_a_line_is_stored_under_the_names_that_readers_know(line: LedgerLine, stored: dict[str, Any]) -> None:
    assert json.loads(line.dumps()) == stored
    assert LedgerLine.of("aggregator", line.dumps().encode()) == line


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "note"},
        {"kind": None},
        {"kind": "span", "start": 6.0, "end": 5.0},
        {"kind": "span", "end": 5.0},
        {"time": -1},
        {"time": 1e11},
        {"value": None},
        {"value": 1.5},
        {"bound": -0.1},
        {"bound": "small"},
    ],
)
def test_a_line_that_can_not_be_true_is_left_out(change: dict[str, Any]) -> None:
    metric = {"time": 5.0, "kind": "metric", "name": "Test:AUC", "value": 0.75, "step": 3}
    assert LedgerLine.of("aggregator", json.dumps(metric).encode()) is not None
    assert LedgerLine.of("aggregator", json.dumps(metric | change).encode()) is None


@settings(max_examples=100)
@given(BODIES)
def test_no_status_breaks_its_reader(body: bytes) -> None:
    told = json.dumps([Status.of(body, 1.0).to_json(), AgentStatus.of("x", body, NOW, 1.0).to_json()])
    assert_harmless(told)
    json.loads(told, parse_constant=lambda name: 1 / 0)
