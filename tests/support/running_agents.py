"""A federation whose agents and trainers are real processes over the local AWS emulator; the test is the operator."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedsilo import aws, names
from fedsilo.admin.client import HubClient
from fedsilo.agent.local import LocalLauncher
from fedsilo.config.run import Run, RunIdentity
from fedsilo.keys import agent_key
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.messaging import control
from fedsilo.states import RequestAction
from tests.support import waiting
from tests.support.federations import HOSPITALS, described, written
from tests.support.fork_server import LauncherForks

AGGREGATOR = names.AGGREGATOR
SILOS = HOSPITALS[:2]
PARTIES = (AGGREGATOR, *SILOS)


class Agents:
    """A federation whose agents run; the test is the operator."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder
        self.forks = LauncherForks(folder)
        self.federation = described("agents", SILOS)
        self.region = self.federation.aggregator.region
        create_hub(self.federation)
        self.client = HubClient.of(self.federation)
        self.reader = self.client.reader
        self.bucket = names.mail_bucket(self.federation.name, emulator.ACCOUNT, self.region)
        self.s3, self.sqs = aws.s3(self.region), aws.sqs(self.region)
        for party in PARTIES:  # what a trainer held when it was killed comes back, and is swept, after this long
            self.sqs.set_queue_attributes(
                QueueUrl=self.queue(names.data_queue, party), Attributes={"VisibilityTimeout": "2"}
            )
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.identities: dict[str, RunIdentity] = {}
        for party in PARTIES:
            (folder / party).mkdir()
            policy = {"workloads": ["heart_disease"], "hyperparameters": {"lr": {"max": 0.1}}, "max_rounds": 10_000}
            (folder / party / "policy.json").write_text(json.dumps(policy))
            self.start_agent(party)
        self.until(lambda: all(self.heartbeat(party) for party in PARTIES), "the agents to come up")

    def start_agent(self, party: str, folder: str = "") -> None:
        """Start an agent of the party, whose folder is the party's or another one."""
        folder = folder or party
        settings = party_settings(self.federation, party)
        environment = emulator.environment(self.endpoint, os.environ["AWS_ACCESS_KEY_ID"], self.region)
        environment |= settings.to_environment()
        environment |= {
            "FEDSILO_LAUNCHER": "local",
            "FEDSILO_FOLDER": str(self.folder / folder),
            "FEDSILO_POLICY_FILE": str(self.folder / party / "policy.json"),
            "TRAINER_COMMAND": json.dumps(self.forks.command),
        }
        with (self.folder / f"{folder}.log").open("ab") as log:
            self.processes[folder] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.agent_process"],
                env=environment,
                stderr=log,
                start_new_session=True,
            )

    # --- the operator

    def run(self, **choices: Any) -> Run:
        """Write a new run.json."""
        values: dict[str, Any] = {
            "run": f"agents-{1 + len(self.identities)}",
            "federation": self.federation.name,
            "workload": "heart_disease",
            "silos": list(SILOS),
            "rounds": 3,
            "hyperparameters": {"lr": 0.01},
            "seed": 1,
            "quorum": 2,
            "deadline_seconds": 60.0,
            "join_seconds": 60.0,
            "created": datetime.now(UTC),
        }
        run = Run.checked(values | choices)
        _, self.identities[run.id] = self.client.put_run(run)
        return run

    def ask(self, action: RequestAction, run: Run, *parties: str, **changes: str) -> None:
        request = control.Request.about(action, replace(self.identities[run.id], **changes))
        for party in parties or PARTIES:
            control.send(self.sqs, self.queue(names.control_queue, party), request)

    def say(self, party: str, text: str, queue: Callable[[str, str], str] = names.control_queue) -> None:
        url = self.queue(queue, party)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.sqs.send_message(QueueUrl=url, MessageBody=text, MessageGroupId="x", MessageDeduplicationId=digest)

    # --- what there is to see

    def status(self, run: Run, party: str) -> dict[str, Any]:
        return written(self.reader, run, party)

    def states(self, run: Run) -> dict[str, str]:
        return {party: self.status(run, party).get("state", "") for party in PARTIES}

    def heartbeat(self, party: str) -> dict[str, Any]:
        key = agent_key(party)
        if not self.s3.list_objects_v2(Bucket=self.bucket, Prefix=key).get("Contents"):
            return {}
        found: dict[str, Any] = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return found

    def log(self, run: Run, party: str) -> str:
        return self.s3.get_object(Bucket=self.bucket, Key=run.keys.log(party))["Body"].read().decode()

    def said(self, party: str) -> list[dict[str, Any]]:
        """The agent's log."""
        return [json.loads(line) for line in (self.folder / f"{party}.log").read_text().splitlines()]

    def queue(self, name: Callable[[str, str], str], party: str) -> str:
        return self.sqs.get_queue_url(QueueName=name(self.federation.name, party))["QueueUrl"]

    def messages(self) -> int:
        """How many messages are in all queues, those in somebody's hands included."""
        asked = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(
            int(count)
            for name in (names.control_queue, names.data_queue)
            for party in PARTIES
            for count in self.sqs.get_queue_attributes(QueueUrl=self.queue(name, party), AttributeNames=asked)[
                "Attributes"
            ].values()
        )

    def trainer(self, run: Run, party: str) -> int:
        """The pid of the party's trainer: the fork itself."""
        path = self.folder / party / "runs" / run.id / "tmp" / "fork"
        self.until(path.exists, f"{party}'s trainer")
        return int(path.read_text())

    def hold(self, run: Run, party: str) -> int:
        """Stop the party's trainer where it is, until ``go_on``."""
        pid = self.trainer(run, party)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def go_on(self, run: Run, party: str) -> None:
        os.kill(self.trainer(run, party), signal.SIGCONT)

    # --- waiting

    def until(self, condition: Callable[[], Any], what: str, seconds: float = waiting.WAIT_SECONDS) -> None:
        waiting.until(condition, lambda: f"{what}\n{self.logs()}", seconds)

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in self.folder.rglob("*log*"))

    def until_states(self, run: Run, expected: str | dict[str, str], seconds: float = waiting.WAIT_SECONDS) -> None:
        wanted = dict.fromkeys(PARTIES, expected) if isinstance(expected, str) else expected
        self.until(lambda: wanted.items() <= self.states(run).items(), f"{wanted}, not {self.states(run)}", seconds)

    def until_round(self, run: Run, round_idx: int) -> None:
        self.until(lambda: self.status(run, AGGREGATOR).get("round", 0) >= round_idx, f"round {round_idx}")

    def until_idle(self) -> None:
        """Every agent says so, no trainer is left, and no message is left in any queue."""
        for party in PARTIES:
            self.until(lambda party=party: self.heartbeat(party).get("state") == "IDLE", f"{party} to be idle")
        self.until(lambda: not alive(self.folder), "trainers to be gone")
        self.until(lambda: self.messages() == 0, "the queues to be empty")

    def close(self) -> None:
        """End the agents, and what a test that failed has left."""
        for process in self.processes.values():
            process.terminate()
        for party in PARTIES:
            LocalLauncher(self.folder / party / "runs").end_own()
        assert [process.wait(timeout=10) for process in self.processes.values()] == [0] * len(self.processes)


def alive(folder: Path) -> list[int]:
    """The trainers below the folder that live."""
    pids = [int(path.read_text()) for path in folder.glob("*/runs/*/pid")]
    pids += [int(path.read_text()) for path in folder.glob("*/runs/*/tmp/fork")]
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and "Z" not in state_of(pid)]


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
