"""What an agent does when a hub, a launcher or the agent itself fails between two of its steps."""

import json

import pytest

from fedsilo.agent import heartbeat, status
from fedsilo.agent.launcher import Job
from fedsilo.config import policy
from fedsilo.errors import LauncherError
from fedsilo.states import JobState, PartyState
from tests.support.agent_harness import AgentHarness, Clock


@pytest.mark.parametrize("gone", [False, True])
def test_agent_that_is_killed_during_an_abort_leaves_it_to_the_next(harness: AgentHarness, gone: bool) -> None:
    harness.ask("start", "heart-1")
    harness.launcher.failing = set() if gone else {"delete"}
    harness.ask("abort", "heart-1")
    assert harness.hub.beat is not None
    assert harness.hub.beat.aborting == ("heart-1",)
    if gone:
        del harness.launcher.all["heart-1"]
    harness.launcher.failing = set()
    harness.restart()
    assert harness.launcher.deleted[-1] == "heart-1"
    harness.launcher.all.clear()
    harness.agent.step()
    assert harness.state("heart-1") == (PartyState.ABORTED, "by the operator")
    assert harness.hub.beat.aborting == ()
    again = harness.ask("abort", "heart-1")
    assert harness.hub.acknowledged[-1] is again


def test_abort_is_recorded_before_the_job_is_removed(harness: AgentHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is killed in between leaves a job that is gone, and the next one must know why."""
    harness.ask("start", "heart-1")
    recorded: list[tuple[str, ...]] = []
    monkeypatch.setattr(harness.launcher, "delete", lambda _: recorded.append(harness.hub.heartbeat()[0].aborting))
    harness.ask("abort", "heart-1")
    assert recorded == [("heart-1",)]


def test_abort_whose_deletion_failed_is_tried_again(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.launcher.failing = {"delete"}
    harness.ask("abort", "heart-1")
    assert len(harness.hub.acknowledged) == 1, "the start"
    harness.launcher.failing = set()
    again = harness.ask("abort", "heart-1")
    assert harness.launcher.deleted == ["heart-1"]
    assert harness.hub.acknowledged[-1] is again, "before the job is gone, which may take longer than its receipt lives"
    harness.launcher.all.clear()
    harness.agent.step()
    assert harness.state("heart-1") == (PartyState.ABORTED, "by the operator")
    assert len(harness.hub.acknowledged) == 2


def test_queued_run_is_aborted_before_it_starts(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.ask("start", "heart-2")
    harness.ask("abort", "heart-2")
    assert harness.state("heart-2") == (PartyState.ABORTED, "by the operator, before it started")
    assert harness.hub.beat is not None
    assert harness.hub.beat.queued == ()


def test_queued_run_names_the_runs_before_it_and_keeps_its_status_fresh(harness: AgentHarness, clock: Clock) -> None:
    for run in ("heart-1", "heart-2", "heart-3"):
        harness.ask("start", run)
    assert harness.state("heart-2") == (PartyState.QUEUED, "waits for heart-1")
    assert harness.state("heart-3") == (PartyState.QUEUED, "waits for heart-1, heart-2")
    harness.launcher.all["heart-1"] = Job("heart-1", JobState.DONE)
    harness.agent.step()
    assert harness.state("heart-2")[0] == PartyState.PENDING
    assert harness.state("heart-3") == (PartyState.QUEUED, "waits for heart-2")
    harness.hub.written.clear()
    harness.agent.step()
    assert harness.hub.written == []
    clock.pass_time(status.HEARTBEAT_SECONDS)
    harness.agent.step()
    assert harness.hub.written == ["heart-3"]


def test_queued_runs_survive_the_agent(harness: AgentHarness) -> None:
    for run in ("heart-1", "heart-2", "heart-3"):
        harness.ask("start", run)
    harness.hub.written.clear()
    harness.restart()
    harness.agent.step()
    assert harness.hub.beat is not None
    assert (harness.hub.beat.run, harness.hub.beat.queued) == ("heart-1", ("heart-2", "heart-3"))
    assert harness.hub.written == [], "the next agent knows what stands in the ledger"


def test_run_that_cannot_be_started_keeps_that_as_its_reason(harness: AgentHarness) -> None:
    harness.launcher.failing = {"start"}
    harness.ask("start", "heart-1")
    harness.ask("start", "heart-2")
    reason = "could not be started, and will be tried again: start failed"
    for _ in range(2):
        harness.agent.step()
        assert harness.state("heart-1") == (PartyState.QUEUED, reason)
        assert harness.state("heart-2") == (PartyState.QUEUED, "waits for heart-1")
    assert len(harness.hub.written) == 3, "heart-1 twice, heart-2 once"


def test_agent_whose_launcher_is_away_still_writes_its_heartbeat(harness: AgentHarness, clock: Clock) -> None:
    harness.ask("start", "heart-1")
    harness.hub.beat = None
    clock.pass_time(heartbeat.INTERVAL_SECONDS)
    harness.launcher.failing = {"jobs"}
    with pytest.raises(LauncherError):
        harness.agent.step()
    assert harness.hub.beat is not None
    assert harness.hub.beat.run == "heart-1"


def test_policy_is_read_once_for_each_decision(harness: AgentHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may change between two reads, and then a run would start with the deadline of another policy."""
    read: list[float] = []
    load = policy.load
    harness.agent.step()  # a heartbeat reads the policy once a minute, for what it tells operators

    def count(path: object) -> policy.Policy:
        hours = 2.0 + len(read)
        read.append(hours)
        harness.policy.write_text(json.dumps({"max_hours": hours}))
        return load(harness.policy)

    monkeypatch.setattr(policy, "load", count)
    harness.ask("start", "heart-1")
    assert read == [2.0, 3.0], "when the run is accepted, and when it is started"
    assert harness.launcher.deadlines == {"heart-1": 3 * 3600}


def test_policy_that_changes_while_a_run_waits_refuses_it(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.ask("start", "heart-2")
    harness.policy.write_text(json.dumps({"max_rounds": 3}))
    harness.launcher.all["heart-1"] = Job("heart-1", JobState.DONE)
    harness.agent.step()
    refused = (PartyState.REFUSED, "policy.max_rounds: 4 rounds are more than 3")
    assert harness.state("heart-2") == refused
    assert list(harness.launcher.all) == ["heart-1"]
