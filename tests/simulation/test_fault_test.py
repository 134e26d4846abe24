"""The fault tester: short federations under schedules of faults, every invariant checked at each step."""

import logging
from collections.abc import Iterator

import pytest

from fedsilo.simulation.fault_test import Schedule, try_schedule, try_seeds


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Agents log each fault that they meet with its traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_schedule_breaks_an_invariant() -> None:
    failed = [f"{outcome.schedule}\n{outcome.violation}" for outcome in try_seeds(range(20)) if outcome.violation]
    assert not failed, "\n\n".join(failed)


def test_a_seed_takes_the_same_steps_again() -> None:
    schedule = Schedule.of(32)
    assert schedule.faults
    assert try_schedule(schedule) == try_schedule(schedule)
