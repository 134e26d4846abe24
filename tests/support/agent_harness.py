"""An agent whose hub and launcher are in memory, so that a test can make any of their calls fail."""

from collections.abc import Callable
from pathlib import Path

from fedsilo.agent.hub import Delivery
from fedsilo.agent.launcher import Job
from fedsilo.agent.service import Agent
from fedsilo.agent.settings import AgentSettings
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import HubError, LauncherError
from fedsilo.ledger.schema import AgentStatus, Status
from fedsilo.messaging.control import Request
from fedsilo.runtime import SystemRuntime
from fedsilo.states import JobState, PartyState
from tests.support.strategies import REQUEST, RUN


class MemoryHub:
    """The agent's hub. It outlives an agent. The calls that ``failing`` names fail."""

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {}
        self.beat: AgentStatus | None = None
        self.waiting: AgentStatus | None = None
        self.logs: dict[str, str] = {}
        self.acknowledged: list[Delivery] = []
        self.written: list[str] = []
        """The runs whose status was written, in order."""
        self.uploads = self.drains = self.beats = 0
        self.other_mail = False
        """Whether the data queue holds mail of a run that has not finished."""
        self.failing: set[str] = set()

    def receive(self) -> list[Delivery]:
        return []

    def run(self, identity: RunIdentity) -> Run:
        return Run.checked(RUN | {"run": identity.run})

    def status(self, run_id: str) -> Status | None:
        found = self.statuses.get(run_id)
        return found and Status.of(found.dumps().encode())

    def put_status(self, run_id: str, status: Status) -> None:
        self.statuses[run_id] = status
        self.written.append(run_id)

    def put_log(self, run_id: str, text: str) -> None:
        if "put_log" in self.failing:
            raise HubError("put_log failed")
        self.logs[run_id] = text
        self.uploads += 1

    def heartbeat(self) -> tuple[AgentStatus, str]:
        return self.beat or AgentStatus(), str(self.beats) if self.beat else ""

    def put_heartbeat(self, heartbeat: AgentStatus, etag: str) -> str | None:
        if etag != self.heartbeat()[1]:
            return None
        self.beat = heartbeat
        self.beats += 1
        return str(self.beats)

    def put_waiting(self, heartbeat: AgentStatus) -> None:
        self.waiting = heartbeat

    def acknowledge(self, delivery: Delivery) -> None:
        self.acknowledged.append(delivery)

    def drain_mail(self, finished: Callable[[str], bool]) -> bool:
        self.drains += 1
        return not self.other_mail


class MemoryLauncher:
    """Jobs in memory. The calls that ``failing`` names fail."""

    name = "local"
    interval_seconds = 1.0

    def __init__(self) -> None:
        self.all: dict[str, Job] = {}
        self.logs: dict[str, str] = {}
        self.failing: set[str] = set()
        self.deleted: list[str] = []
        self.deadlines: dict[str, float] = {}

    def start(self, identity: RunIdentity, deadline_seconds: float) -> None:
        self._fail("start")
        self.all[identity.run] = Job(identity.run, JobState.RUNNING)
        self.deadlines[identity.run] = deadline_seconds

    def jobs(self) -> list[Job]:
        self._fail("jobs")
        return list(self.all.values())

    def delete(self, run: str) -> None:
        self._fail("delete")
        self.deleted.append(run)
        if run in self.all:
            self.all[run] = Job(run, JobState.ENDING)

    def end_own(self) -> None:
        self.all.clear()

    def log(self, run: str) -> str:
        self._fail("log")
        return self.logs.get(run, "")

    def _fail(self, call: str) -> None:
        if call in self.failing:
            raise LauncherError(f"{call} failed")


class AgentHarness:
    """A hub, a launcher, and an agent; ``restart`` puts another one in its place."""

    def __init__(self, folder: Path) -> None:
        self.hub, self.launcher = MemoryHub(), MemoryLauncher()
        self.policy = folder / "policy.json"
        self.policy.write_text("{}")
        self._settings = AgentSettings(
            federation="heart",
            party="cleveland",
            rank=1,
            hub_account="111111111111",
            hub_region="us-east-1",
            policy_file=self.policy,
            launcher="local",
            folder=folder,
        )
        self.restart()

    def restart(self) -> None:
        """Start a new agent, as after the last one was killed."""
        self.agent = self.another("first")
        self.agent.lease.take()
        assert self.agent.lease.held
        self.agent.recover()

    def another(self, instance: str) -> Agent:
        """An agent of the same party that has done nothing yet."""
        return Agent(self._settings, self.hub, instance, lambda changed: self.launcher)  # type: ignore[arg-type]

    def ask(self, action: str, run: str) -> Delivery:
        """Put a request into the agent's inbox, and let it do what there is to do."""
        delivery = Delivery(Request.model_validate(REQUEST | {"action": action, "run": run}).to_json(), run)
        self.agent._inbox.put(delivery)
        self.agent.step()
        return delivery

    def state(self, run: str) -> tuple[PartyState, str]:
        """State and reason of the party's status of the run."""
        status = self.hub.statuses[run]
        return status.state, status.reason


class Clock(SystemRuntime):
    """A runtime whose monotonic clock stands still. ``pass_time`` moves it on."""

    def __init__(self) -> None:
        self._seconds = 1000.0

    def monotonic(self) -> float:
        return self._seconds

    def pass_time(self, seconds: float) -> None:
        self._seconds += seconds
