"""``fedsilo silo``: the parties' agents as the operator sees them."""

import json

import pytest

from fedsilo import __version__
from fedsilo.keys import agent_key, waiting_agent_key
from fedsilo.ledger import schema
from tests.support.operator_harness import SILOS, OperatorHarness


def test_silo_list_shows_the_agents(operator: OperatorHarness) -> None:
    operator.agent("aggregator", state="BUSY", run="run-1", queued=["run-2"], host="agent-x2x4z")
    operator.agent("hungary", version="0.0.9")
    operator.put(agent_key("long-beach"), "not JSON \x1b[2J")
    printed = {agent["party"]: agent for agent in operator.json("silo", "list")}
    assert list(printed) == ["aggregator", *SILOS]
    assert printed["aggregator"]["silent_seconds"] <= 5
    assert (printed["aggregator"]["run"], printed["aggregator"]["queued"]) == ("run-1", ["run-2"])
    assert (printed["cleveland"]["seen"], printed["cleveland"]["silent"]) == (None, True)
    rows = {line.split()[0]: line.split() for line in operator.run("silo", "list").stdout.splitlines()}
    assert rows["aggregator"][1:6] == ["BUSY", "run-1", "1", __version__, "agent-x2x4z"]
    assert rows["cleveland"][1:3] == ["away", "-"]
    assert "never" in rows["cleveland"]
    assert rows["hungary"][1:5] == ["IDLE", "-", "-", "0.0.9"]
    assert rows["long-beach"][1] == "UNKNOWN"


def test_a_second_agent_that_waits_is_shown(operator: OperatorHarness) -> None:
    operator.agent("hungary", instance="first", host="ward-1")
    waiting = {"instance": "second", "host": "ward-2", "state": "WAITING"}
    operator.put(waiting_agent_key("hungary"), json.dumps(waiting))
    printed = operator.json("silo", "list")[2]
    assert (printed["host"], printed["waiting"]["host"], printed["waiting"]["state"]) == ("ward-1", "ward-2", "WAITING")
    rows = [line.split() for line in operator.run("silo", "list").stdout.splitlines()]
    assert [(row[1], row[5]) for row in rows if row[0] == "hungary"] == [("IDLE", "ward-1"), ("WAITING", "ward-2")]
    operator.agent("hungary", instance="second", host="ward-2")
    assert operator.json("silo", "list")[2]["waiting"] is None, "the second has taken over"


def test_an_agent_that_was_stopped_is_away(operator: OperatorHarness) -> None:
    operator.agent("hungary", state="STOPPED")
    assert operator.json("silo", "list")[2]["silent"]


def test_a_silent_agent_is_away(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.agent("hungary")
    monkeypatch.setattr(schema, "AGENT_SILENT_SECONDS", -1.0)
    printed = operator.json("silo", "list")[2]
    assert (printed["party"], printed["state"], printed["silent"]) == ("hungary", "IDLE", True)
