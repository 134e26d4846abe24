"""Intervals of the agent's loop."""

from fedsilo.agent.timers import Timer
from tests.support.agent_harness import Clock


def test_a_timer_passes_after_its_interval(clock: Clock) -> None:
    timer = Timer(5.0)
    assert timer.passed, "a new one is due"
    timer.restart()
    assert (timer.passed, timer.remaining) == (False, 5.0)
    clock.pass_time(4.0)
    assert (timer.passed, timer.remaining) == (False, 1.0)
    clock.pass_time(1.0)
    assert (timer.passed, timer.remaining) == (True, 0.0)
    clock.pass_time(100.0)
    assert timer.remaining == 0.0


def test_a_timer_can_be_ended_before_its_interval_has_passed(clock: Clock) -> None:
    timer = Timer(5.0)
    timer.restart()
    timer.expire()
    assert timer.passed
