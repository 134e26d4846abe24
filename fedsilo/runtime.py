"""Time, waiting, background work and random ids: the one place where all of fedsilo asks for them.

A process on a machine uses ``SystemRuntime``. The simulator gives each party it plays a runtime on a virtual clock
(``fedsilo.simulation``), so the code that decides something in a pod decides it there, too. Nothing else in fedsilo
calls ``time.sleep``, ``time.monotonic``, ``time.time`` or ``datetime.now``; a rule of the linter says so.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol


class Event(Protocol):
    """What ``threading.Event`` offers, as far as fedsilo uses it."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Thread(Protocol):
    """Work in the background that was started."""

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...


class Runtime(Protocol):
    """What a process gets its time, its background work and its random ids from."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def now(self) -> datetime:
        """The wall clock's time, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def event(self) -> Event:
        """A new event that is not set."""

    def start_thread(self, name: str, target: Callable[[], object]) -> Thread:
        """Run ``target`` in the background. The process does not wait for it when it ends."""

    def pool(self, name: str, threads: int) -> Executor:
        """A pool that does up to ``threads`` things at a time."""

    def token(self, num_bytes: int) -> str:
        """Random bytes that nobody can guess, in hexadecimal."""


class SystemRuntime:
    """The machine's own clocks, threads and randomness."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def event(self) -> Event:
        return threading.Event()

    def start_thread(self, name: str, target: Callable[[], object]) -> Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def pool(self, name: str, threads: int) -> Executor:
        return ThreadPoolExecutor(threads, thread_name_prefix=name)

    def token(self, num_bytes: int) -> str:
        return secrets.token_hex(num_bytes)


_current: ContextVar[Runtime] = ContextVar("runtime", default=SystemRuntime())  # noqa: B039  (it has no state)


@contextmanager
def using(runtime: Runtime) -> Iterator[None]:
    """Use a runtime in the block, in this thread or greenlet."""
    token = _current.set(runtime)
    try:
        yield
    finally:
        _current.reset(token)


def monotonic() -> float:
    """Seconds on a clock that never goes back."""
    return _current.get().monotonic()


def now() -> datetime:
    """The wall clock's time, in UTC."""
    return _current.get().now()


def sleep(seconds: float) -> None:
    """Wait."""
    _current.get().sleep(seconds)


def event() -> Event:
    """A new event that is not set."""
    return _current.get().event()


def start_thread(name: str, target: Callable[[], object]) -> Thread:
    """Run ``target`` in the background. The process does not wait for it when it ends."""
    return _current.get().start_thread(name, target)


def pool(name: str, threads: int) -> Executor:
    """A pool that does up to ``threads`` things at a time."""
    return _current.get().pool(name, threads)


def token(num_bytes: int) -> str:
    """Random bytes that nobody can guess, in hexadecimal."""
    return _current.get().token(num_bytes)
