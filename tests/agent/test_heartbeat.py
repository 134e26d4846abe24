"""The agent's heartbeat."""

from pathlib import Path

import pytest

from fedsilo.agent.heartbeat import INTERVAL_SECONDS, Heartbeat
from fedsilo.agent.lease import Lease
from fedsilo.states import AgentState
from tests.support.agent_harness import Clock, MemoryHub


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text('{"min_silos": 3}')
    return path


def test_a_heartbeat_is_written_when_the_work_changes_and_now_and_then(clock: Clock, policy_file: Path) -> None:
    hub = MemoryHub()
    lease = Lease(hub, "cleveland", "local", "first")  # type: ignore[arg-type]
    heartbeat = Heartbeat(lease, policy_file)
    assert heartbeat.due_in == 0
    for _ in range(2):
        heartbeat.beat(None, [], [])
    assert hub.beats == 1
    assert hub.beat is not None
    assert (hub.beat.party, hub.beat.launcher, hub.beat.state) == ("cleveland", "local", AgentState.IDLE)
    for _ in range(2):
        heartbeat.beat("heart-1", ["heart-2"], [])
    assert hub.beats == 2
    assert (hub.beat.state, hub.beat.run, hub.beat.queued) == (AgentState.BUSY, "heart-1", ("heart-2",))
    started = hub.beat.started
    clock.pass_time(INTERVAL_SECONDS - 1)
    assert heartbeat.due_in == 1
    clock.pass_time(1)
    heartbeat.beat("heart-1", ["heart-2"], [])
    assert hub.beats == 3
    assert hub.beat.started == started


def test_a_heartbeat_tells_how_many_silos_the_policy_asks_for_now(clock: Clock, policy_file: Path) -> None:
    hub = MemoryHub()
    lease = Lease(hub, "cleveland", "local", "first")  # type: ignore[arg-type]
    heartbeat = Heartbeat(lease, policy_file)
    told = []
    for text in ('{"min_silos": 3}', "{}", "not a policy"):
        policy_file.write_text(text)
        clock.pass_time(INTERVAL_SECONDS)
        heartbeat.beat(None, [], [])
        assert hub.beat is not None
        told.append(hub.beat.min_silos)
    assert told == [3, 2, None]
