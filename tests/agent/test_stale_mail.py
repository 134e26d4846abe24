"""Mail of runs that have ended."""

import pytest

from fedsilo.agent.stale_mail import EXPECTED_SECONDS, INTERVAL_SECONDS, StaleMail
from tests.support.agent_harness import Clock, MemoryHub


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def stale_mail(hub: MemoryHub, clock: Clock) -> StaleMail:
    return StaleMail(hub, {"heart-1"})  # type: ignore[arg-type]


def test_the_queue_is_drained_now_and_then_for_a_while_after_a_run(
    hub: MemoryHub, stale_mail: StaleMail, clock: Clock
) -> None:
    stale_mail.drain()
    assert (stale_mail.expected, hub.drains) == (False, 0)
    stale_mail.expect()
    for _ in range(2):
        stale_mail.drain()
    assert (stale_mail.expected, hub.drains) == (True, 1)
    clock.pass_time(INTERVAL_SECONDS)
    stale_mail.drain()
    assert hub.drains == 2
    clock.pass_time(EXPECTED_SECONDS)
    stale_mail.drain()
    assert (stale_mail.expected, hub.drains) == (False, 2)


def test_the_mail_of_another_run_ends_the_drain(hub: MemoryHub, stale_mail: StaleMail) -> None:
    hub.other_mail = True
    stale_mail.expect()
    stale_mail.drain()
    assert not stale_mail.expected
