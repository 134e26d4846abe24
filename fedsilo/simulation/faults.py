"""What goes wrong in a simulation: a schedule of faults that one seed decides, and a network that follows it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from fedsilo.simulation.network import Network, client_error, unreachable
from fedsilo.simulation.world import Process

_T = TypeVar("_T")

CALLS = 500
"""Faults of calls hit one of the first so many calls of a run. A short run without faults makes about 250."""

STEPS = 1000
"""Faults of processes come at one of the first so many steps. A short run without faults takes about 500."""


class FaultKind(StrEnum):
    """What can go wrong."""

    ERROR = "error"
    """A call fails, and has no effect."""
    LOST_ANSWER = "lost answer"
    """A call has its effect, and its caller hears of an error."""
    DELAY = "delay"
    """A call takes long."""
    LOST_NOTICE = "lost notice"
    """A notice that was sent never arrives."""
    OUTAGE = "outage"
    """A party can't reach AWS for a while."""
    KILL_TRAINER = "kill trainer"
    """A party's trainer is killed."""
    KILL_AGENT = "kill agent"
    """A party's agent is killed."""
    CLOCK = "clock"
    """The wall clock of a party jumps."""


_CALL_KINDS = (FaultKind.ERROR, FaultKind.LOST_ANSWER, FaultKind.DELAY, FaultKind.LOST_NOTICE)

_ERRORS = (
    ("SlowDown", 503),
    ("InternalError", 500),
    ("RequestTimeTooSkewed", 403),
    ("ExpiredToken", 400),
    ("unreachable", 0),
)
"""Answers of AWS that say nothing about what is stored."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    at: int
    """The number of the call, or that of the step."""
    party: str
    """Whose process it hits; faults of single calls hit whoever makes the call."""
    seconds: float
    """How long it lasts, or how far a clock jumps."""

    def __str__(self) -> str:
        where = f"call {self.at}" if self.kind in _CALL_KINDS else f"{self.party}, step {self.at}"
        lasts = f", {self.seconds:.3g} s" if self.kind in (FaultKind.DELAY, FaultKind.OUTAGE, FaultKind.CLOCK) else ""
        return f"{self.kind} at {where}{lasts}"


def draw(chance: random.Random, parties: Sequence[str]) -> list[Fault]:
    """Draw the faults of a schedule: none now and then, most often a few, rarely many."""
    return [_draw_one(chance, parties) for _ in range(min(20, int(chance.expovariate(1 / 4))))]


def _draw_one(chance: random.Random, parties: Sequence[str]) -> Fault:
    kind = chance.choice([*FaultKind])
    at = chance.randrange(CALLS if kind in _CALL_KINDS else STEPS)
    seconds = chance.expovariate(1 / 20) * (chance.choice((-30, 30)) if kind == FaultKind.CLOCK else 1)
    return Fault(kind, at, chance.choice(parties), seconds)


class FaultyNetwork(Network):
    """The network of a simulation with faults.

    Calls take ``MEAN_SECONDS`` on average, so that what different parties do interleaves in every order.
    """

    MEAN_SECONDS = 0.05

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = {fault.at: fault for fault in faults if fault.kind in _CALL_KINDS}
        self._calls = 0
        self.out_until: dict[str, float] = {}
        """Until when a party can't reach AWS, on the virtual clock."""

    def call(self, process: Process, operation: str, resource: str, effect: Callable[[], _T]) -> _T:
        """Do what a call asks for, unless a fault of the schedule hits it."""
        self._calls += 1
        fault = self._faults.get(self._calls)
        chance = process.world.random
        delay = fault.seconds if fault and fault.kind == FaultKind.DELAY else 0.0
        process.sleep(chance.expovariate(1 / self.MEAN_SECONDS) + delay)
        if process.world.time < self.out_until.get(process.party, 0.0):
            raise unreachable()
        if fault and fault.kind == FaultKind.ERROR:
            raise _error(chance, operation)
        if fault and fault.kind == FaultKind.LOST_NOTICE and operation == "SendMessage" and "-data" in resource:
            return {}  # type: ignore[return-value]
        answer = effect()
        process.sleep(chance.expovariate(1 / self.MEAN_SECONDS))
        if fault and fault.kind == FaultKind.LOST_ANSWER:
            raise unreachable()
        return answer


def _error(chance: random.Random, operation: str) -> Exception:
    code, status = chance.choice(_ERRORS)
    return client_error(operation, code, status) if status else unreachable()
