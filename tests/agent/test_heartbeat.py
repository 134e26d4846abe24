"""The agent's heartbeat."""

from fedsilo.agent.heartbeat import INTERVAL_SECONDS, Heartbeat
from fedsilo.states import AgentState
from tests.support.agent_harness import Clock, MemoryHub


def test_a_heartbeat_is_written_when_the_work_changes_and_once_a_minute(clock: Clock) -> None:
    hub = MemoryHub()
    heartbeat = Heartbeat(hub, "cleveland", "local")  # type: ignore[arg-type]
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
