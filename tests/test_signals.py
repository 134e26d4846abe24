"""Signals that ask a process to stop: the first one counts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fedsilo import signals

ASKED = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ASKED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_raises_and_later_ones_are_ignored() -> None:
    signals.raise_once(KeyboardInterrupt(), *ASKED)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
    for number in ASKED:
        os.kill(os.getpid(), number)


def test_the_first_signal_runs_the_action_once() -> None:
    calls: list[str] = []
    signals.handle_once(lambda: calls.append("stop"), *ASKED)
    for number in ASKED:
        os.kill(os.getpid(), number)
    assert calls == ["stop"]


TOGETHER = """
import os, signal
from fedsilo import signals
asked = (signal.SIGTERM, signal.SIGHUP)
signals.handle_once(lambda: print("stop"), *asked)
signal.pthread_sigmask(signal.SIG_BLOCK, asked)
for number in asked:
    os.kill(os.getpid(), number)
signal.pthread_sigmask(signal.SIG_UNBLOCK, asked)
"""


def test_signals_that_arrive_together_are_handled_once() -> None:
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("stop\n", "")


AT_THE_END = """
import os, signal
from fedsilo import signals

class Last:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

last = Last()  # goes when Python has taken its handlers away
signals.raise_once(SystemExit(130), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_second_signal_while_python_ends_does_not_change_the_exit_code() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_ignored_signals_do_nothing() -> None:
    signals.ignore(*ASKED)
    os.kill(os.getpid(), signal.SIGTERM)
