"""``fedsilo silo``: the parties' agents as the operator sees them."""

import pytest

from fedsilo import __version__
from fedsilo.keys import agent_key
from fedsilo.ledger import schema
from tests.support.operator_harness import SILOS, OperatorHarness


def test_silo_list_shows_the_agents(operator: OperatorHarness) -> None:
    operator.agent("aggregator", state="BUSY", run="run-1", queued=["run-2"], launcher="kubernetes")
    operator.agent("hungary", version="0.0.9")
    operator.put(agent_key("long-beach"), "not JSON \x1b[2J")
    printed = {agent["party"]: agent for agent in operator.json("silo", "list")}
    assert list(printed) == ["aggregator", *SILOS]
    assert printed["aggregator"]["silent_seconds"] <= 5
    assert (printed["aggregator"]["run"], printed["aggregator"]["queued"]) == ("run-1", ["run-2"])
    assert (printed["cleveland"]["seen"], printed["cleveland"]["silent"]) == (None, True)
    rows = {line.split()[0]: line.split() for line in operator.run("silo", "list").stdout.splitlines()}
    assert rows["aggregator"][1:6] == ["BUSY", "run-1", "1", __version__, "kubernetes"]
    assert rows["cleveland"][1:3] == ["away", "-"]
    assert "never" in rows["cleveland"]
    assert rows["hungary"][1:5] == ["IDLE", "-", "-", "0.0.9"]
    assert rows["long-beach"][1] == "UNKNOWN"


def test_a_silent_agent_is_away(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.agent("hungary")
    monkeypatch.setattr(schema, "AGENT_SILENT_SECONDS", -1.0)
    printed = operator.json("silo", "list")[2]
    assert (printed["party"], printed["state"], printed["silent"]) == ("hungary", "IDLE", True)
