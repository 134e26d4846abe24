"""``fedsilo up`` and ``down``, and the other commands against the local federation, as a user types them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from tests.support.waiting import WAIT_SECONDS, until

SPEC = {
    "name": "play",
    "aggregator": {"account": "210987654321", "region": "eu-west-1", "vpc_cidr": "10.0.0.0/16"},
    "silos": [
        {"name": "cleveland", "account": "210987654321", "vpc_cidr": "10.1.0.0/16", "policy": {"max_rounds": 400}},
        {"name": "hungary", "account": "310987654321", "vpc_cidr": "10.2.0.0/16"},
    ],
}


class User:
    """A user in a folder with a federation.yaml, whose shell has a profile for AWS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "federation.yaml").write_text(yaml.safe_dump(SPEC))
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        root = Path(__file__).parents[2]
        self.environment = others | {"AWS_PROFILE": "at-work", "PYTHONPATH": str(root), "TEST_OF_UP": str(folder)}

    def type(self, command: str, code: int = 0) -> str:
        """Run the command, check its exit code, and return what it printed."""
        done = self.run(command)
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr if code else done.stdout

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        done = subprocess.run(
            [sys.executable, "-m", "fedsilo", *command.split()],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=3 * WAIT_SECONDS,
        )
        assert "Traceback" not in done.stderr
        return done

    def json(self, command: str) -> Any:
        return json.loads(self.type(f"{command} --json"))

    def processes(self) -> list[int]:
        """The processes that were started from the folder and still run."""
        mark = f"TEST_OF_UP={self.folder}".encode()
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environment(pid)]

    def path(self, what: str) -> Path:
        return self.folder / ".fedsilo" / "federation.yaml" / what


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    yield user
    user.type("down")
    assert user.processes() == []


@pytest.mark.e2e
def test_every_command_works_with_a_local_federation(user: User) -> None:
    assert "play is up: aggregator, cleveland, hungary" in user.type("up")
    assert "play is up" in user.type("up"), "a second time changes nothing"
    assert [each["state"] for each in user.json("silo list")] == ["IDLE"] * 3
    assert {each["verdict"] for each in user.json("doctor")} <= {"ok", "warn"}

    first = user.type("run start heart_disease --rounds 400").splitlines()[0]
    until(lambda: user.json("run show")["round"], "the first rounds")
    assert f"{first}: asked to abort" in user.type("run abort")
    assert user.json("run show")["state"] == "ABORTED"

    watched = user.type("run start heart_disease --rounds 2 --set lr=0.01 --watch")
    assert "FINISHED  round 2/2" in watched
    assert [(each["state"], each["rounds"]) for each in user.json("run list")] == [("FINISHED", 2), ("ABORTED", 400)]
    user.type("model download --out model.safetensors")
    assert load_file(user.folder / "model.safetensors")["linear.weight"].shape == (1, 13)
    until(lambda: "is done" in user.run("run logs hungary").stdout, "the end of hungary's log")
    user.type("run report --out out")
    assert json.loads((user.folder / "out" / "result.json").read_text())["rounds_completed"] == 2

    refused = user.type("run start heart_disease --rounds 1001 --watch", code=3)
    assert "policy.max_rounds: 1001 rounds are more than 1000" in refused

    assert user.type("down") == "ended; nothing is left running\n"
    assert user.processes() == []
    assert not (user.folder / ".fedsilo").exists()
    assert user.type("down") == "nothing is up\n"


def test_a_supervisor_that_was_killed_is_reported_and_its_processes_are_ended(user: User) -> None:
    user.type("up")
    run = user.type("run start heart_disease --rounds 400").splitlines()[0]
    until(user.path(f"hungary/runs/{run}/pid").exists, "hungary's trainer")
    os.killpg(int(user.path(".supervisor/pid").read_text()), signal.SIGKILL)
    said = user.type("run list", code=1)
    assert "has ended" in said
    assert "`fedsilo down` removes what is left of it, and `fedsilo up` starts a new one" in said
    assert user.type("down") == "ended; nothing is left running\n"
    assert user.processes() == [], "the agents and trainers that the supervisor left behind"


def test_an_agent_that_dies_is_started_again(user: User) -> None:
    user.type("up")
    assert user.path(".").stat().st_mode & 0o777 == 0o700, "other users of the machine read neither logs nor keys"
    before = int(user.path("hungary/agent/pid").read_text())
    os.killpg(before, signal.SIGKILL)
    pid = user.path("hungary/agent/pid")
    until(lambda: pid.exists() and pid.read_text() not in ("", f"{before}\n"), "another agent")
    log, line = user.path(".supervisor/log.txt"), "the agent of hungary ended and was started again"
    until(lambda: line in log.read_text(), "the supervisor's log")


def test_a_second_up_is_refused_and_up_recovers_from_one_that_was_killed(user: User) -> None:
    first = subprocess.Popen(
        [sys.executable, "-m", "fedsilo", "up"], cwd=user.folder, env=user.environment, stdout=subprocess.DEVNULL
    )
    until(user.path(".supervisor/pid").exists, "the supervisor")
    first.send_signal(signal.SIGSTOP)  # it holds its lock while the others try
    assert first.poll() is None
    assert "another `fedsilo up` or `fedsilo down` is running for federation.yaml" in user.type("up", code=1)
    assert "another" in user.type("down", code=1)
    first.kill()
    first.wait()
    assert "play is up" in user.type("up")
    assert len(user.json("silo list")) == 3


def test_a_change_of_the_file_after_up_is_reported(user: User) -> None:
    user.type("up")
    (user.folder / "federation.yaml").write_text(yaml.safe_dump(SPEC | {"name": "other"}))
    for command in ("run list", "up"):
        assert "federation.yaml has changed since `fedsilo up`" in user.type(command, code=1)
    (user.folder / "second.yaml").write_text(yaml.safe_dump(SPEC | {"name": "second"}))
    assert user.type("down --federation second.yaml") == "nothing is up\n"


def test_a_failed_up_gives_the_reason_and_leaves_nothing(user: User) -> None:
    (user.folder / ".fedsilo").write_text("in the way")
    assert ".fedsilo" in user.type("up", code=1)
    assert user.processes() == []
    (user.folder / ".fedsilo").unlink()
    (user.folder / "federation.yaml").write_text("name: 1")
    assert "name: 1 should be a valid string" in user.type("up", code=1)
    assert not (user.folder / ".fedsilo").exists()
    (user.folder / "federation.yaml").write_text(yaml.safe_dump(SPEC))
