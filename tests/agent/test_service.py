"""What an agent does when a hub, a launcher or the agent itself fails between two of its steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedsilo.agent import service as agents
from fedsilo.agent.hub import Delivery
from fedsilo.agent.launcher import Job
from fedsilo.agent.service import Agent
from fedsilo.agent.settings import AgentSettings
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import LauncherError
from fedsilo.messaging.control import Request
from tests.support.strategies import REQUEST, RUN

SETTINGS = Settings(federation="heart", party="cleveland", rank=1, hub_account="111111111111", hub_region="us-east-1")


class Hub:
    """The agent's hub, in memory; it outlives an agent."""

    def __init__(self) -> None:
        self.statuses: dict[str, dict[str, Any]] = {}
        self.said: dict[str, Any] | None = None
        self.acknowledged: list[Delivery] = []
        self.written: list[str] = []

    def run(self, run_id: str, sha256: str) -> Run:
        return Run.checked(RUN | {"run": run_id})

    def status(self, run_id: str) -> dict[str, Any] | None:
        found = self.statuses.get(run_id)
        return dict(found) if found else None

    def put_status(self, run_id: str, status: dict[str, Any]) -> None:
        self.statuses[run_id] = status
        self.written.append(run_id)

    def put_log(self, run_id: str, text: str) -> None:
        pass

    def presence(self) -> dict[str, Any] | None:
        return self.said

    def put_presence(self, presence: dict[str, Any]) -> None:
        self.said = presence

    def acknowledge(self, delivery: Delivery) -> None:
        self.acknowledged.append(delivery)

    def drop_mail(self, over: Any) -> bool:
        return True


class Launcher:
    """Jobs in memory; the calls that ``failing`` names fail."""

    name = "local"
    interval_seconds = 1.0

    def __init__(self) -> None:
        self.all: dict[str, Job] = {}
        self.failing: set[str] = set()
        self.deleted: list[str] = []

    def start(self, run: str, deadline_seconds: float) -> None:
        self._fail("start")
        self.all[run] = Job(run, "RUNNING")

    def jobs(self) -> list[Job]:
        self._fail("jobs")
        return list(self.all.values())

    def delete(self, run: str) -> None:
        self._fail("delete")
        self.deleted.append(run)
        if run in self.all:
            self.all[run] = Job(run, "ENDING")

    def log(self, run: str) -> str:
        return ""

    def _fail(self, call: str) -> None:
        if call in self.failing:
            raise LauncherError(f"{call} failed")


class World:
    """A hub, a launcher, and the agent of the moment."""

    def __init__(self, folder: Path) -> None:
        self.hub, self.launcher = Hub(), Launcher()
        (folder / "policy.json").write_text("{}")
        self._settings = AgentSettings(
            **SETTINGS.model_dump(), policy_file=folder / "policy.json", launcher="local", folder=folder
        )
        self.begin()

    def begin(self) -> None:
        """A new agent, as after the last one was killed."""
        self.agent = Agent(self._settings, self.hub, lambda changed: self.launcher)  # type: ignore[arg-type]
        self.agent._recover()

    def ask(self, action: str, run: str) -> Delivery:
        delivery = Delivery(Request.model_validate(REQUEST | {"action": action, "run": run}).model_dump_json(), run)
        self.agent._inbox.append(delivery)
        self.agent.step()
        return delivery

    def state(self, run: str) -> tuple[str, str]:
        status = self.hub.statuses[run]
        return status["state"], status["reason"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    return World(tmp_path)


def test_stuck_job_is_over_only_once_it_is_deleted(world: World) -> None:
    world.ask("start", "heart-1")
    world.launcher.all["heart-1"] = Job("heart-1", "STUCK", "no image")
    world.launcher.failing = {"delete"}
    with pytest.raises(LauncherError):
        world.agent.step()
    assert world.state("heart-1")[0] != "FAILED"
    world.launcher.failing = set()
    world.agent.step()
    assert world.launcher.deleted == ["heart-1"]
    assert world.state("heart-1") == ("FAILED", "no image")


@pytest.mark.parametrize("gone", [False, True])
def test_agent_that_is_killed_during_an_abort_leaves_it_to_the_next(world: World, gone: bool) -> None:
    world.ask("start", "heart-1")
    world.launcher.failing = set() if gone else {"delete"}
    world.ask("abort", "heart-1")
    assert world.hub.said is not None
    assert world.hub.said["aborting"] == ["heart-1"]
    if gone:
        del world.launcher.all["heart-1"]
    world.launcher.failing = set()
    world.begin()
    assert world.launcher.deleted[-1] == "heart-1"
    world.launcher.all.clear()
    world.agent.step()
    assert world.state("heart-1") == ("ABORTED", "by the operator")
    assert world.hub.said["aborting"] == []
    again = world.ask("abort", "heart-1")
    assert world.hub.acknowledged[-1] is again


def test_abort_whose_deletion_failed_is_tried_again(world: World) -> None:
    world.ask("start", "heart-1")
    world.launcher.failing = {"delete"}
    world.ask("abort", "heart-1")
    world.launcher.failing = set()
    world.ask("abort", "heart-1")
    assert world.launcher.deleted == ["heart-1"]
    world.launcher.all.clear()
    world.agent.step()
    assert world.state("heart-1") == ("ABORTED", "by the operator")
    assert len(world.hub.acknowledged) == 2, "the start, and the abort"


def test_queued_run_says_what_it_waits_for_now_and_that_it_still_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("heart-1", "heart-2", "heart-3"):
        world.ask("start", run)
    assert world.state("heart-2") == ("QUEUED", "waits for heart-1")
    assert world.state("heart-3") == ("QUEUED", "waits for heart-1, heart-2")
    world.launcher.all["heart-1"] = Job("heart-1", "DONE")
    world.agent.step()
    assert world.state("heart-2")[0] == "PENDING"
    assert world.state("heart-3") == ("QUEUED", "waits for heart-2")
    world.hub.written.clear()
    world.agent.step()
    assert world.hub.written == []
    monkeypatch.setattr(agents, "HEARTBEAT_SECONDS", 0.0)
    world.agent.step()
    assert world.hub.written == ["heart-3"]


def test_run_that_cannot_be_started_keeps_that_as_its_reason(world: World) -> None:
    world.launcher.failing = {"start"}
    world.ask("start", "heart-1")
    world.ask("start", "heart-2")
    for _ in range(2):
        world.agent.step()
        assert world.state("heart-1") == ("QUEUED", "can't be started, and will be tried again: start failed")
        assert world.state("heart-2") == ("QUEUED", "waits for heart-1")
    assert len(world.hub.written) == 3, "heart-1 twice, heart-2 once"


def test_agent_whose_launcher_is_away_still_says_that_it_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ask("start", "heart-1")
    world.hub.said = None
    monkeypatch.setattr(agents, "PRESENCE_SECONDS", 0.0)
    world.launcher.failing = {"jobs"}
    with pytest.raises(LauncherError):
        world.agent.step()
    assert world.hub.said is not None
    assert world.hub.said["run"] == "heart-1"
