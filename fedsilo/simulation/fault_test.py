"""The fault tester: runs a short federation through schedules of faults, and looks for one that breaks an invariant.

One seed decides a schedule and everything random in its run, so a failing seed fails again at the same step. A schedule
that fails is shrunk: faults are left out as long as the run still fails in the same way.
"""

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedsilo import runtime
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run, plan
from fedsilo.names import AGGREGATOR
from fedsilo.simulation.faults import Fault, FaultKind, FaultyNetwork, draw
from fedsilo.simulation.federation import SimulatedFederation
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.invariants import Invariants, ViolationError
from fedsilo.simulation.world import Process, StuckError, World

FEDERATION = "fault"

LIMIT_SECONDS = 6 * 3600.0
"""The virtual time after which a run that has not ended counts as stuck."""

_SILO_NAMES = ("cleveland", "hungary", "switzerland", "long-beach")


@dataclass(frozen=True)
class Schedule:
    """A run, and what goes wrong in it."""

    seed: int
    silos: int
    rounds: int
    quorum: int
    deadline_seconds: float
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed: int) -> "Schedule":
        """The schedule of a seed."""
        chance = random.Random(seed)  # noqa: S311  (a simulation)
        silos = chance.randint(2, 4)
        quorum = chance.randint(2, silos)
        names = (AGGREGATOR, *_SILO_NAMES[:silos])
        deadline = chance.choice((3.0, 10.0, 60.0))
        return cls(seed, silos, chance.randint(1, 4), quorum, deadline, tuple(draw(chance, names)))

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.silos} silos, {self.rounds} rounds, quorum {self.quorum}"
        return "\n  ".join([f"{head}, deadline {self.deadline_seconds:g} s", *map(str, self.faults)])


@dataclass(frozen=True)
class Outcome:
    """How a schedule's run went."""

    schedule: Schedule
    steps: int
    seconds: float
    """Virtual seconds."""
    violation: str = ""
    """What went wrong; empty if every invariant held."""


def try_schedule(schedule: Schedule) -> Outcome:
    """Run a schedule, and check every invariant at each step."""
    folder = Path(tempfile.mkdtemp(prefix="fedsilo-simulation-"))
    try:
        return _Trial(schedule, folder).run()
    finally:
        shutil.rmtree(folder)


def shrink(outcome: Outcome) -> Outcome:
    """Leave out faults of a failing schedule for as long as it fails. Returns the smallest that was found."""
    smaller = True
    while smaller:
        smaller = False
        for fault in outcome.schedule.faults:
            rest = tuple(other for other in outcome.schedule.faults if other is not fault)
            again = try_schedule(replace(outcome.schedule, faults=rest))
            if again.violation:
                outcome, smaller = again, True
                break
    return outcome


def try_seeds(seeds: Sequence[int]) -> Iterator[Outcome]:
    """Run the schedules of seeds. Yields the outcome of each."""
    for seed in seeds:
        yield try_schedule(Schedule.of(seed))


class _Trial:
    """One run of a schedule."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self._schedule = schedule
        self._world = World(schedule.seed)
        self._network = FaultyNetwork(schedule.faults)
        self._due = sorted(schedule.faults, key=lambda fault: fault.at)
        spec = _federation(schedule.silos)
        hub = SimulatedHub(self._world, spec, self._network)
        self._federation = SimulatedFederation(spec, self._world, hub, folder)
        with runtime.using(Process(self._world, "operator", "plan", hub.clients)):
            self._run = _run(schedule)
        self._invariants = Invariants(self._run)
        hub.buckets.on_put = self._invariants.written
        self._world.on_step = self._strike

    def run(self) -> Outcome:
        violation = ""
        try:
            self._federation.start(self._run)
            self._world.run(lambda: self._invariants.ended, LIMIT_SECONDS)
            hub = self._federation.hub
            models = hub.buckets.versions(hub.bucket, self._run.keys.model(AGGREGATOR))
            self._invariants.check_end(models[-1] if models else None, disturbed=bool(self._schedule.faults))
        except ViolationError as error:
            violation = str(error)
        except StuckError as error:
            violation = "\n  ".join([str(error), *self._invariants.describe(), *self._waits()])
        return Outcome(self._schedule, self._world.steps, self._world.time, violation)

    def _strike(self) -> None:
        """Let the faults of processes happen whose step has come."""
        while self._due and self._due[0].at <= self._world.steps:
            fault = self._due.pop(0)
            party = self._federation.parties[fault.party]
            processes = [process for process in (party.agent, party.trainer) if process]
            match fault.kind:
                case FaultKind.KILL_AGENT | FaultKind.KILL_TRAINER:
                    self._kill(party.agent if fault.kind == FaultKind.KILL_AGENT else party.trainer)
                case FaultKind.CLOCK:
                    for process in processes:
                        process.skew_seconds += fault.seconds
                case FaultKind.OUTAGE:
                    self._network.out_until[fault.party] = self._world.time + fault.seconds

    def _kill(self, process: Process | None) -> None:
        if process and process.alive:
            process.kill()

    def _waits(self) -> Iterator[str]:
        for party in self._federation.parties.values():
            for process in (party.agent, party.trainer):
                if process and process.alive:
                    yield from process.waits()


def _federation(silos: int) -> Federation:
    return Federation.model_validate(
        {
            "name": FEDERATION,
            "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16"},
            "silos": [
                {"region": "us-east-1", "name": name, "rank": rank, "vpc_cidr": f"10.{rank}.0.0/16"}
                for rank, name in enumerate(_SILO_NAMES[:silos], start=1)
            ],
        }
    )


def _run(schedule: Schedule) -> Run:
    """The run of a schedule: a model of a hundred parameters that a silo trains in one step."""
    return plan(
        FEDERATION,
        "mlp",
        _SILO_NAMES[: schedule.silos],
        overrides={"parameters": "100", "samples": "20", "epochs": "1", "batch_size": "20"},
        rounds=schedule.rounds,
        quorum=schedule.quorum,
        deadline_seconds=schedule.deadline_seconds,
        run_id=f"{FEDERATION}-20260101-000000-00",
    )
