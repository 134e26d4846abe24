"""The simulator's scheduler: every process of every party in one thread, on a virtual clock.

A simulated thread is a greenlet. It runs until it waits for something: time, an event, or an answer of AWS. Then the
next one runs, in an order that the times and one random generator decide. So a run with the same seed takes the same
steps. A whole process can be killed at any wait; from then on nothing that it does reaches anybody, as after SIGKILL.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from fedsilo import aws, runtime

_P = ParamSpec("_P")
_R = TypeVar("_R")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall clock's time at which every simulation begins."""


class StuckError(Exception):
    """Nothing can happen any more, or the time is up. The text names what each process waits for."""


class World:
    """The virtual clock, and what happens next on it.

    Attributes:
        random: Decides everything that is random in the simulation.
        time: Virtual seconds since the beginning.
        running: The thread that runs, or was the last to run.
        steps: How often a greenlet was resumed so far. It numbers the steps of a run.
        on_step: Is called after each step, such as by those who check invariants.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  (a simulation)
        self.time = 0.0
        self.steps = 0
        self.on_step: Callable[[], None] = lambda: None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.running: Task | None = None
        self.scheduler = getcurrent()
        """The greenlet that all others return to: the one that made the world."""

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time. Actions of the same time happen in the order in which they were asked for."""
        self._order += 1
        heapq.heappush(self._due, (max(time, self.time), self._order, action))

    def run(self, until: Callable[[], bool], limit_seconds: float) -> None:
        """Let things happen until ``until()`` is true.

        Raises:
            StuckError: Nothing can happen any more, or ``limit_seconds`` of virtual time have passed.
        """
        while not until():
            if not self._due:
                raise StuckError("nothing can happen any more")
            self.time, _, action = heapq.heappop(self._due)
            if self.time > limit_seconds:
                raise StuckError(f"not done after {limit_seconds:g} s of virtual time")
            action()
            self.steps += 1
            self.on_step()

    def wall_time(self) -> datetime:
        """The true time, which is that of AWS."""
        return BEGIN + timedelta(seconds=self.time)

    def resume(self, task: "Task") -> None:
        """Let a greenlet run until it waits again; only the scheduler calls it."""
        self.running = task
        task.greenlet.switch()

    @property
    def current(self) -> "Task":
        """The thread that runs now; only its own code asks for it."""
        assert self.running is not None  # noqa: S101
        return self.running

    def pause(self) -> Any:
        """Give control back to the scheduler; only a greenlet that has arranged for its own return calls it."""
        return self.scheduler.switch()


class Task:
    """A simulated thread."""

    def __init__(self, process: "Process", name: str, target: Callable[[], object]) -> None:
        self.process, self.name = process, name
        self.waits_for = ""
        self._target = target
        self._resume_number = 0
        self._done = SimulatedEvent(process, f"the end of {name}")
        self.greenlet: greenlet = greenlet(self._run, parent=process.world.scheduler)
        self.greenlet.gr_context = copy_context()  # the thread that starts another one hands on its runtime

    def _run(self) -> None:
        try:
            self._target()
        except GreenletExit:
            pass
        finally:
            self.process.ended(self)
            self._done.set()

    def wake_at(self, time: float) -> None:
        """Resume the task at a time, unless it was resumed, or waits for something else, before then."""
        number = self._resume_number
        self.process.world.at(time, lambda: self._resume_if(number))

    def wait(self, what: str) -> None:
        """Wait until somebody wakes this task, which is the one that runs."""
        self.waits_for = what
        self.process.world.pause()
        self._resume_number += 1
        self.process.check_alive()

    def _resume_if(self, number: int) -> None:
        if number == self._resume_number and not self.greenlet.dead:
            self.process.world.resume(self)

    # --- runtime.Thread

    def join(self, timeout: float | None = None) -> None:
        """Wait until the task has ended."""
        self._done.wait(timeout)

    def is_alive(self) -> bool:
        """Whether the task has not ended."""
        return not self.greenlet.dead


class SimulatedEvent:
    """``threading.Event`` on the virtual clock."""

    def __init__(self, process: "Process", name: str = "an event") -> None:
        self._process, self._name = process, name
        self._is_set = False
        self._waiting: list[Task] = []

    def set(self) -> None:
        """Let everybody go on who waits."""
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.wake_at(self._process.world.time)

    def clear(self) -> None:
        """Let everybody wait from now on."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, or for ``timeout`` seconds. Returns whether it is set."""
        self._process.check_alive()
        if not self._is_set and timeout != 0:
            task = self._process.world.current
            self._waiting.append(task)
            if timeout is not None:
                task.wake_at(self._process.world.time + timeout)
            task.wait(self._name)
            if task in self._waiting:
                self._waiting.remove(task)
        return self._is_set


class Process:
    """A simulated process of a party: what it runs, and its runtime (``fedsilo.runtime.Runtime``).

    Attributes:
        skew_seconds: How far the wall clock of the process is from the true time.
        code: What the first thread returned; None if it has not ended, or was killed.
        error: What ended the first thread, if it was an error.
    """

    def __init__(self, world: World, party: str, name: str, clients: Callable[["Process"], aws.Clients]) -> None:
        self.world, self.party, self.name = world, party, f"{party}/{name}"
        self._clients = clients(self)
        self.skew_seconds = 0.0
        self.code: int | None = None
        self.error: BaseException | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._killed = False
        self._tasks: list[Task] = []
        self._main: Task | None = None

    def start(self, main: Callable[[], int]) -> None:
        """Start the process. It ends when ``main`` returns, and its other threads end with it."""

        def run() -> None:
            try:
                with runtime.using(self), aws.using(self._clients):
                    self.code = main()
            except (GreenletExit, KeyboardInterrupt):  # Ctrl-C is for the whole simulation
                raise
            except BaseException as error:
                self.error = error

        self._main = self._start("main", run)

    def kill(self) -> None:
        """End the process at once: from now on, nothing that its code does has an effect outside of it.

        Only the scheduler may call this, such as in an action of ``World.at``.
        """
        self._killed = True
        for task in [*self._tasks]:
            task.greenlet.throw(GreenletExit)
        on_end, self.on_end = self.on_end, lambda: None
        on_end()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._killed and self._main is not None and self._main.is_alive()

    def check_alive(self) -> None:
        """Raise ``GreenletExit`` in a process that was killed: its code may still run ``finally`` blocks."""
        if self._killed:
            raise GreenletExit

    def waits(self) -> Iterator[str]:
        """What each thread waits for."""
        for task in self._tasks:
            yield f"{self.name}/{task.name}: {task.waits_for}"

    def ended(self, task: Task) -> None:
        """A thread has ended. With the first one, the process ends."""
        self._tasks.remove(task)
        if task is self._main and not self._killed:
            self._killed = True
            self.world.at(self.world.time, self.kill)

    def _start(self, name: str, target: Callable[[], object]) -> Task:
        task = Task(self, name, target)
        self._tasks.append(task)
        task.wake_at(self.world.time)
        return task

    # --- fedsilo.runtime.Runtime

    def monotonic(self) -> float:
        """The virtual clock's time."""
        return self.world.time

    def now(self) -> datetime:
        """The time on the wall clock of this process."""
        return self.world.wall_time() + timedelta(seconds=self.skew_seconds)

    def sleep(self, seconds: float) -> None:
        """Wait on the virtual clock."""
        self.check_alive()
        task = self.world.current
        task.wake_at(self.world.time + seconds)
        task.wait(f"{seconds:g} s")

    def event(self) -> SimulatedEvent:
        """A new event."""
        return SimulatedEvent(self)

    def start_thread(self, name: str, target: Callable[[], object]) -> Task:
        """Start another thread of this process."""
        self.check_alive()
        return self._start(name, target)

    def pool(self, name: str, threads: int) -> "InlinePool":
        """A pool that does everything at once, in the thread that asks."""
        return InlinePool()

    def token(self, num_bytes: int) -> str:
        """Bytes of the simulation's own generator, in hexadecimal."""
        return self.world.random.randbytes(num_bytes).hex()


class InlinePool(Executor):
    """A pool without threads of its own: it does everything at once, in the thread that asks."""

    def submit(self, action: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_R]":
        """Do it now."""
        done: Future[_R] = Future()
        try:
            done.set_result(action(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done
