"""Signals that ask a process to stop: the first one counts, and later ones must not disturb the clean-up."""

import atexit
import signal
from collections.abc import Callable
from types import FrameType


def handle_once(action: Callable[[], object], *numbers: signal.Signals) -> None:
    """Call the action at the first of the signals, and ignore all of them from then on."""

    def handle(signum: int, frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, _do_nothing)  # SIG_IGN would make a second one that is already pending an error
        atexit.register(ignore, *numbers)  # Python gives the signals back their default action while it ends
        action()

    for number in numbers:
        signal.signal(number, handle)


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Handle a later signal."""


def raise_once(error: BaseException, *numbers: signal.Signals) -> None:
    """Raise the error in the main thread at the first of the signals, and ignore all of them from then on."""

    def stop() -> None:
        raise error

    handle_once(stop, *numbers)


def ignore(*numbers: signal.Signals) -> None:
    """Ignore the signals from now on."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
