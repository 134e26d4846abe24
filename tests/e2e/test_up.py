"""``fedsilo up`` and what one does with it in an afternoon: every command as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

WAIT_SECONDS = 60.0
SPEC = {
    "name": "play",
    "aggregator": {"account": "210987654321", "region": "eu-west-1", "vpc_cidr": "10.0.0.0/16"},
    "silos": [
        {"name": "cleveland", "account": "210987654321", "vpc_cidr": "10.1.0.0/16", "policy": {"max_rounds": 400}},
        {"name": "hungary", "account": "310987654321", "vpc_cidr": "10.2.0.0/16"},
    ],
}


class Player:
    """Somebody in a folder with a federation.yaml, whose shell has a profile for AWS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "federation.yaml").write_text(yaml.safe_dump(SPEC))
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        root = Path(__file__).parents[2]
        self.environment = others | {"AWS_PROFILE": "at-work", "PYTHONPATH": str(root), "TEST_OF_UP": str(folder)}

    def type(self, command: str, code: int = 0) -> str:
        """Run it, check its exit code, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "fedsilo", *command.split()],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr if code else done.stdout

    def json(self, command: str) -> Any:
        return json.loads(self.type(f"{command} --json"))

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """What was started from here, and runs."""
        mark = f"TEST_OF_UP={self.folder}".encode()
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environment(pid)]

    def folder_of(self, what: str) -> Path:
        return self.folder / ".fedsilo" / "federation.yaml" / what


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    player = Player(tmp_path)
    yield player
    player.type("down")
    assert player.processes() == []


def test_an_afternoon(player: Player) -> None:
    assert "play is up: aggregator, cleveland, hungary" in player.type("up")
    assert "play is up" in player.type("up"), "twice changes nothing"
    assert [each["state"] for each in player.json("silo list")] == ["IDLE"] * 3
    assert {each["verdict"] for each in player.json("doctor")} <= {"ok", "warn"}

    began = time.time()
    first = player.type("run start heart_disease --rounds 400").splitlines()[0]
    player.until(lambda: player.json("run show")["round"], "the first rounds")
    assert time.time() - began < 30
    assert f"{first}: asked to abort" in player.type("run abort")
    assert player.json("run show")["state"] == "ABORTED"

    watched = player.type("run start heart_disease --rounds 2 --set lr=0.01 --watch")
    assert "FINISHED  round 2/2" in watched
    assert [(each["state"], each["rounds"]) for each in player.json("run list")] == [("FINISHED", 2), ("ABORTED", 400)]
    player.type("model download --out model.safetensors")
    assert load_file(player.folder / "model.safetensors")["linear.weight"].shape == (1, 13)
    assert "is done" in player.type("run logs hungary")
    player.type("run report --out out")
    assert json.loads((player.folder / "out" / "result.json").read_text())["rounds_completed"] == 2

    refused = player.type("run start heart_disease --rounds 1001 --watch", code=3)
    assert "policy.max_rounds: 1001 rounds are more than 1000" in refused

    assert player.type("down") == "ended; nothing is left running\n"
    assert player.processes() == []
    assert not (player.folder / ".fedsilo").exists()
    assert player.type("down") == "nothing is up\n"


def test_what_ended_by_itself_is_said_and_cleared_away(player: Player) -> None:
    player.type("up")
    run = player.type("run start heart_disease --rounds 400").splitlines()[0]
    player.until(player.folder_of(f"hungary/runs/{run}/pid").exists, "hungary's trainer")
    os.killpg(int(player.folder_of(".supervisor/pid").read_text()), signal.SIGKILL)
    said = player.type("run list", code=1)
    assert "has ended" in said
    assert "`fedsilo down` removes what is left of it, and `fedsilo up` starts a new one" in said
    assert player.type("down") == "ended; nothing is left running\n"
    assert player.processes() == [], "the agents and trainers that the supervisor left behind"


def test_an_agent_that_dies_is_started_again(player: Player) -> None:
    player.type("up")
    before = int(player.folder_of("hungary/agent/pid").read_text())
    os.killpg(before, signal.SIGKILL)
    pid = player.folder_of("hungary/agent/pid")
    player.until(lambda: pid.exists() and pid.read_text() not in ("", f"{before}\n"), "another agent")
    assert "the agent of hungary ended and was started again" in player.folder_of(".supervisor/log.txt").read_text()


def test_two_at_once_and_one_that_was_given_up(player: Player) -> None:
    first = subprocess.Popen(
        [sys.executable, "-m", "fedsilo", "up"], cwd=player.folder, env=player.environment, stdout=subprocess.DEVNULL
    )
    player.until(player.folder_of(".supervisor/pid").exists, "the supervisor")
    assert "another `fedsilo up` or `fedsilo down` is running for federation.yaml" in player.type("up", code=1)
    assert "another" in player.type("down", code=1)
    first.kill()
    first.wait()
    assert "play is up" in player.type("up")
    assert len(player.json("silo list")) == 3


def test_a_file_that_has_changed_since_is_said(player: Player) -> None:
    player.type("up")
    (player.folder / "federation.yaml").write_text(yaml.safe_dump(SPEC | {"name": "other"}))
    for command in ("run list", "up"):
        assert "federation.yaml has changed since `fedsilo up`" in player.type(command, code=1)
    (player.folder / "second.yaml").write_text(yaml.safe_dump(SPEC | {"name": "second"}))
    assert player.type("down --federation second.yaml") == "nothing is up\n"


def test_a_federation_that_can_not_come_up_says_why_and_leaves_nothing(player: Player) -> None:
    (player.folder / ".fedsilo").write_text("in the way")
    assert ".fedsilo" in player.type("up", code=1)
    assert player.processes() == []
    (player.folder / ".fedsilo").unlink()
    (player.folder / "federation.yaml").write_text("name: 1")
    assert "name: 1 should be a valid string" in player.type("up", code=1)
    assert not (player.folder / ".fedsilo").exists()
    (player.folder / "federation.yaml").write_text(yaml.safe_dump(SPEC))
