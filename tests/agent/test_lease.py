"""Two agents of one party: one acts, the other waits, and none acts that has lost its lease."""

import pytest

from fedsilo.agent.heartbeat import INTERVAL_SECONDS
from fedsilo.agent.lease import LEASE_SECONDS
from fedsilo.config.run import RunIdentity
from fedsilo.errors import HubError, LeaseLostError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.states import AgentState, PartyState, RequestAction
from tests.support.agent_harness import AgentHarness, Clock

OTHER = "second"


def test_a_second_agent_waits_and_says_so(harness: AgentHarness, caplog: pytest.LogCaptureFixture) -> None:
    second = harness.another(OTHER)
    second.lease.take()
    assert not second.lease.held
    assert "another agent of cleveland is at work: first on " in caplog.text
    assert harness.hub.beat is not None
    assert harness.hub.beat.instance == "first"
    assert harness.hub.waiting is not None
    assert (harness.hub.waiting.instance, harness.hub.waiting.state) == (OTHER, AgentState.WAITING)


def test_a_holder_that_writes_its_heartbeats_keeps_its_lease(harness: AgentHarness, clock: Clock) -> None:
    second = harness.another(OTHER)
    for _ in range(10):
        second.lease.take()
        clock.pass_time(INTERVAL_SECONDS)
        harness.agent.step()
    assert not second.lease.held


def test_a_second_agent_takes_over_from_one_that_is_gone_with_its_queue(harness: AgentHarness, clock: Clock) -> None:
    for run in ("heart-1", "heart-2"):
        harness.ask(RequestAction.START, run)
    second = harness.another(OTHER)
    second.lease.take()
    clock.pass_time(LEASE_SECONDS - 1)
    second.lease.take()
    assert not second.lease.held
    clock.pass_time(1)
    second.lease.take()
    assert second.lease.held
    taken = harness.hub.heartbeat()[0]
    assert (taken.instance, taken.run, taken.queued) == (OTHER, "heart-1", ("heart-2",)), "it may be killed now"
    second.recover()
    second.step()
    beat = harness.hub.beat
    assert beat is not None
    assert (beat.instance, beat.run, beat.queued) == (OTHER, "heart-1", ("heart-2",))


def test_an_agent_that_was_paused_and_lost_its_lease_does_nothing_more(harness: AgentHarness, clock: Clock) -> None:
    second = harness.another(OTHER)
    second.lease.take()
    clock.pass_time(LEASE_SECONDS)
    second.lease.take()
    assert second.lease.held
    for action in RequestAction:
        with pytest.raises(LeaseLostError, match=r"the agent second on .* has taken over"):
            harness.ask(action, "heart-1")
    assert harness.launcher.all == {}
    assert harness.hub.statuses == {}
    assert harness.hub.acknowledged == []


def test_a_trainer_is_neither_started_nor_removed_without_the_lease(harness: AgentHarness) -> None:
    harness.ask(RequestAction.START, "heart-1")
    before = dict(harness.launcher.all)
    harness.hub.put_heartbeat(AgentStatus(instance=OTHER), harness.hub.heartbeat()[1])
    with pytest.raises(LeaseLostError):
        harness.agent._jobs.start(RunIdentity("heart-2", "0" * 64), 60.0)
    with pytest.raises(LeaseLostError):
        harness.agent._jobs.remove("heart-1")
    assert harness.launcher.all == before


def test_an_agent_that_stops_lets_the_next_one_take_over_at_once(harness: AgentHarness) -> None:
    harness.ask(RequestAction.START, "heart-1")
    harness.agent.lease.release()
    assert harness.hub.beat is not None
    assert harness.hub.beat.silent
    second = harness.another(OTHER)
    second.lease.take()
    assert second.lease.held
    second.recover()
    assert second._jobs.current == "heart-1"


def test_an_agent_that_was_killed_goes_on_at_once_in_the_same_folder(harness: AgentHarness) -> None:
    harness.ask(RequestAction.START, "heart-1")
    harness.restart()
    assert harness.agent._jobs.current == "heart-1"
    assert harness.state("heart-1")[0] == PartyState.PENDING


def test_a_write_whose_answer_was_lost_is_the_agents_own(
    harness: AgentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client tries such a write again, and S3 refuses it: the object has changed by the first try."""
    put = harness.hub.put_heartbeat
    answers = iter([False, True, True])

    def lose(heartbeat: AgentStatus, etag: str) -> str | None:
        written = put(heartbeat, etag)
        return written if next(answers) else None

    monkeypatch.setattr(harness.hub, "put_heartbeat", lose)
    harness.agent.lease.confirm()
    harness.agent.lease.confirm()


def test_a_heartbeat_that_is_never_written_is_an_error(harness: AgentHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.hub, "put_heartbeat", lambda *_: None)
    with pytest.raises(HubError, match="changes each time"):
        harness.agent.lease.confirm()
