"""A simulated federation: an agent and trainers for each party, and an operator, all in one process.

Agents and trainers are fedsilo's own. What differs from a machine is below them: AWS is in memory
(``hub.py``), time is virtual (``world.py``), and a trainer is a simulated process instead of one of the machine.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from fedsilo.admin.client import HubClient
from fedsilo.agent.hub import AgentHub
from fedsilo.agent.launcher import Launcher
from fedsilo.agent.local import LocalLauncher
from fedsilo.agent.retries import retry
from fedsilo.agent.service import Agent
from fedsilo.agent.settings import AgentSettings
from fedsilo.config.federation import Federation, Party
from fedsilo.config.run import Run, RunIdentity
from fedsilo.ledger.schema import Status
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.world import Process, World
from fedsilo.states import TERMINAL, PartyState, TrainerExit
from fedsilo.training import trainer
from fedsilo.workload.registry import Workload

_T = TypeVar("_T")

AGENT_RESTART_SECONDS = 5.0
"""How long it takes until an agent that was killed runs again."""

_SIGKILL = 137


class SimulatedTrainer:
    """What ``LocalProcess`` is on a machine: the trainer of one run, which the agent's launcher starts and ends."""

    def __init__(self, party: "SimulatedParty") -> None:
        self._party = party
        self._process: Process | None = None

    @property
    def alive(self) -> bool:
        """Whether the trainer runs."""
        return self._process is not None and self._process.alive

    @property
    def exit_code(self) -> int:
        """The exit code of the trainer that has ended."""
        code = self._process.code if self._process else None
        return _SIGKILL if code is None else code

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the trainer."""
        self._process = self._party.start_trainer(RunIdentity.from_environment(environment))

    def end(self) -> None:
        """End the trainer at once."""
        if self._process and self._process.alive:
            self._party.world.at(self._party.world.time, self._process.kill)

    def log(self, last_bytes: int) -> str:
        """A simulated trainer prints nothing."""
        return ""


class SimulatedParty:
    """One party: its agent, which is started again when it ends, and its trainer."""

    def __init__(
        self, world: World, hub: SimulatedHub, settings: AgentSettings, workload: Workload | None = None
    ) -> None:
        self.world, self.settings, self.clients = world, settings, hub.clients
        self.take_part: Callable[[AgentSettings, RunIdentity], int] = partial(trainer.take_part, workload=workload)
        """What a trainer of the party does; a test may put something else in its place."""
        self._trainers: dict[Path, SimulatedTrainer] = {}
        self._changed: Callable[[], None] = lambda: None
        self.agent: Process | None = None
        self.trainer: Process | None = None

    def start_agent(self) -> None:
        """Start the agent now, and again whenever it has ended."""
        self.agent = Process(self.world, self.settings.party, "agent", self.clients)
        self.agent.on_end = lambda: self.world.at(self.world.time + AGENT_RESTART_SECONDS, self.start_agent)
        self.agent.start(self._serve)

    def start_trainer(self, identity: RunIdentity) -> Process:
        """Start a trainer, as the launcher asks."""
        self.trainer = Process(self.world, self.settings.party, "trainer", self.clients)
        self.trainer.on_end = lambda: self._changed()
        self.trainer.start(lambda: self.take_part(self.settings, identity))
        return self.trainer

    def _serve(self) -> int:
        instance = self.settings.folder.name  # the folder outlives the process, so each one is the same agent
        Agent(self.settings, AgentHub(self.settings), instance, self._launcher).serve()
        return 0

    def _launcher(self, changed: Callable[[], None]) -> Launcher:
        self._changed = changed
        launcher = LocalLauncher(self.settings.folder / "runs", boot="simulated", process=self._trainer)
        launcher.interval_seconds = 5.0  # as in a cluster, where the agent is told of a change, too
        return launcher

    def _trainer(self, folder: Path) -> SimulatedTrainer:
        return self._trainers.setdefault(folder, SimulatedTrainer(self))


class SimulatedFederation:
    """A federation whose parties and operator run in one process.

    Args:
        federation: What it consists of.
        world: The clock and the randomness.
        hub: Its hub.
        folder: Where agents keep what they have on disk.
        workload: What trainers run in place of a run's workload.
        agents: Whether there are agents. Without them, ``launch`` starts a run, and nothing starts a trainer again.
    """

    def __init__(
        self,
        federation: Federation,
        world: World,
        hub: SimulatedHub,
        folder: Path,
        *,
        workload: Workload | None = None,
        agents: bool = True,
    ) -> None:
        self.world, self.hub, self._federation = world, hub, federation
        self.parties = {
            party.name: SimulatedParty(world, hub, self._settings(party, folder), workload)
            for party in federation.parties
        }
        for party in self.parties.values() if agents else ():
            party.start_agent()

    def start(self, run: Run) -> None:
        """Let the operator start a run, again after each error, and return when the agents have been asked."""
        self.operate(lambda: retry(lambda: HubClient.of(self._federation).start(run)))

    def launch(self, run: Run) -> None:
        """Begin a run, and start the trainer of each of its parties."""
        _, identity = self.operate(lambda: HubClient.of(self._federation).put_run(run))
        for party in run.parties:
            self.parties[party].start_trainer(identity)

    def operate(self, action: Callable[[], _T]) -> _T:
        """Let the operator do something, and return what it returns. Raises what it raises."""
        operator, answers = Process(self.world, "operator", "operator", self.hub.clients), list[_T]()

        def operate() -> int:
            answers.append(action())
            return 0

        operator.start(operate)
        self.world.run(lambda: not operator.alive, self.world.time + 600)
        if operator.error:
            raise operator.error
        return answers[0]

    @property
    def running(self) -> bool:
        """Whether a trainer runs."""
        return any(party.trainer is not None and party.trainer.alive for party in self.parties.values())

    def defects(self) -> list[str]:
        """The parties whose trainers have failed in a way that an agent would try again."""
        trainers = {name: party.trainer for name, party in self.parties.items()}
        return [name for name, trainer in trainers.items() if trainer and trainer.code == TrainerExit.RETRY]

    def statuses(self, run: Run) -> dict[str, Status]:
        """The status of each party of a run; the default one for a party that has written none."""
        return {party: self._status(run, party) or Status() for party in run.parties}

    def ended(self, run: Run) -> bool:
        """Whether the part of every party in the run has ended."""
        return all(self.state(run, party) in TERMINAL for party in run.parties)

    def state(self, run: Run, party: str) -> PartyState | None:
        """The state of a party's part in the run; None before it has written one."""
        status = self._status(run, party)
        return status.state if status else None

    def _status(self, run: Run, party: str) -> Status | None:
        versions = self.hub.buckets.versions(self.hub.bucket, run.keys.status(party))
        return Status.of(versions[-1].body, silent_seconds=0.0) if versions else None

    def _settings(self, party: Party, folder: Path) -> AgentSettings:
        own = folder / party.name
        own.mkdir(parents=True)
        policy = own / "policy.json"
        policy.write_text(party.policy.model_dump_json())
        return AgentSettings(
            federation=self._federation.name,
            party=party.name,
            rank=party.rank,
            hub_account=self.hub.account,
            hub_region=self._federation.aggregator.region,
            policy_file=policy,
            launcher="local",
            folder=own,
            tracking="off",
        )
