"""Waiting in tests: for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

WAIT_SECONDS = 60.0
"""How long a test waits for what it expects; long, because a busy machine is slow and a passing test does not wait."""

POLL_SECONDS = 0.02

_T = TypeVar("_T")


def until(condition: Callable[[], _T], what: str | Callable[[], str], seconds: float = WAIT_SECONDS) -> _T:
    """Call the condition until it returns something true.

    Args:
        condition: Is called every ``POLL_SECONDS``.
        what: What the test waits for, for the message; a callable is called when the wait has failed.
        seconds: The longest wait.

    Returns:
        What the condition returned.

    Raises:
        AssertionError: The condition did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(POLL_SECONDS)
    return found
