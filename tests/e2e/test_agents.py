"""Agents and trainers as real processes over the local AWS emulator, driven by control messages alone.

One federation lives as long as the module; every test leaves its agents idle, and asserts that nothing is left.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fedsilo import aws, names
from fedsilo.admin.client import HubClient
from fedsilo.agent.local import LocalLauncher
from fedsilo.config.run import Run
from fedsilo.keys import agent_key
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.messaging import control
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
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.runs = 0
        for party in PARTIES:
            (folder / party).mkdir()
            policy = {"workloads": ["heart_disease"], "hyperparameters": {"lr": {"max": 0.1}}, "max_rounds": 10_000}
            (folder / party / "policy.json").write_text(json.dumps(policy))
            self.start_agent(party)
        self.until(lambda: all(self.heartbeat(party) for party in PARTIES), "the agents to come up")

    def start_agent(self, party: str) -> None:
        settings = party_settings(self.federation, party)
        environment = emulator.environment(self.endpoint, os.environ["AWS_ACCESS_KEY_ID"], self.region)
        environment |= settings.to_environment()
        environment |= {
            "FEDSILO_LAUNCHER": "local",
            "FEDSILO_FOLDER": str(self.folder / party),
            "FEDSILO_POLICY_FILE": str(self.folder / party / "policy.json"),
            "TRAINER_COMMAND": json.dumps(self.forks.command),
        }
        with (self.folder / f"{party}.log").open("ab") as log:
            self.processes[party] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.agent_process"],
                env=environment,
                stderr=log,
                start_new_session=True,
            )

    # --- the operator

    def run(self, **choices: Any) -> Run:
        """Write a new run.json."""
        self.runs += 1
        values: dict[str, Any] = {
            "run": f"agents-{self.runs}",
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
        self.client.put_run(run)
        return run

    def ask(self, action: str, run: Run, *parties: str, sha256: str | None = None) -> None:
        digest = hashlib.sha256(run.model_dump_json().encode()).hexdigest()
        values = {"action": action, "run": run.id, "sha256": sha256 or digest}
        for party in parties or PARTIES:
            control.send(self.sqs, self.queue(names.control_queue, party), control.Request.model_validate(values))

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

    def until(self, condition: Callable[[], Any], what: str) -> None:
        waiting.until(condition, lambda: f"{what}\n{self.logs()}")

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in self.folder.rglob("*log*"))

    def until_states(self, run: Run, expected: str | dict[str, str]) -> None:
        wanted = dict.fromkeys(PARTIES, expected) if isinstance(expected, str) else expected
        self.until(lambda: wanted.items() <= self.states(run).items(), f"{wanted}, not {self.states(run)}")

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
            LocalLauncher(self.folder / party / "runs").close()
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


@pytest.fixture(scope="module")
def agents(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    folder = tmp_path_factory.mktemp("agents")
    federation = Agents(endpoint, folder)
    yield federation
    federation.close()
    assert not [line for party in PARTIES for line in federation.said(party) if "traceback" in line]


def test_two_runs_are_taken_one_after_the_other(agents: Agents) -> None:
    first, second = agents.run(rounds=15), agents.run(rounds=2)
    agents.ask("start", first)
    agents.hold(first, SILOS[0])
    agents.ask("start", second)
    agents.until(lambda: agents.heartbeat(SILOS[0]).get("queued") == [second.id], "the second to be queued")
    assert agents.heartbeat(SILOS[0])["run"] == first.id
    assert agents.status(second, SILOS[0])["state"] == "QUEUED"
    assert agents.status(second, SILOS[0])["reason"] == f"waits for {first.id}"
    agents.go_on(first, SILOS[0])
    agents.until_states(first, "FINISHED")
    agents.until_states(second, "FINISHED")
    began = agents.status(second, SILOS[0])["started"]
    assert began > agents.status(first, SILOS[0])["finished"]
    heartbeat = agents.heartbeat(AGGREGATOR)
    assert heartbeat.keys() == {
        "party", "version", "state", "run", "queued", "aborting", "seen", "started", "launcher", "min_silos",
    }  # fmt: skip
    assert (heartbeat["launcher"], heartbeat["min_silos"]) == ("local", 2)
    agents.until_idle()
    assert f"takes part in run {second.id}" in agents.log(second, AGGREGATOR)


def test_policy_refuses_with_rule_value_and_bound(agents: Agents) -> None:
    run = agents.run(hyperparameters={"lr": 0.5}, rounds=20_000)
    agents.ask("start", run, SILOS[0])
    agents.until_states(run, {SILOS[0]: "REFUSED"})
    rounds, rate = agents.status(run, SILOS[0])["reason"].split("; ")
    assert rounds == "policy.max_rounds: 20000 rounds are more than 10000"
    assert rate == "policy.hyperparameters.lr: 0.5 is not between -inf and 0.1"
    agents.until_idle()
    assert not (agents.folder / SILOS[0] / "runs" / run.id).exists()


def test_a_run_ends_at_once_where_a_refusal_leaves_no_quorum(agents: Agents) -> None:
    policy = agents.folder / SILOS[1] / "policy.json"
    before = policy.read_text()
    policy.write_text(json.dumps({"max_rounds": 2}))
    run = agents.run()
    agents.ask("start", run)
    agents.until_states(run, {AGGREGATOR: "FAILED", SILOS[0]: "FAILED", SILOS[1]: "REFUSED"})
    policy.write_text(before)
    reason = agents.status(run, AGGREGATOR)["reason"]
    assert reason.startswith(f"lost {SILOS[1]} (REFUSED: policy.max_rounds: 3 rounds are more than 2); the quorum is 2")
    assert agents.status(run, SILOS[0])["reason"] == reason
    took = datetime.fromisoformat(agents.status(run, AGGREGATOR)["finished"]) - run.created
    assert took.total_seconds() < run.join_seconds / 2
    agents.until_idle()


def test_abort_in_mid_round_leaves_nothing(agents: Agents) -> None:
    run, waiting = agents.run(rounds=5000), agents.run()
    agents.ask("start", run)
    agents.ask("start", waiting)
    agents.until_round(run, 2)
    agents.ask("abort", waiting)
    agents.until_states(waiting, "ABORTED")
    agents.ask("abort", run)
    agents.until_states(run, "ABORTED")
    assert agents.status(run, AGGREGATOR)["reason"] == "by the operator"
    assert agents.status(run, AGGREGATOR)["round"] >= 2, "what the trainer wrote is kept"
    late = {"key": run.keys.broadcast(9).key, "size": 1, "sha256": "0" * 64}
    agents.say(SILOS[0], json.dumps(late), names.data_queue)  # from a party that was still ending
    agents.until_idle()


def test_agent_killed_in_mid_run_finds_its_trainer_again(agents: Agents) -> None:
    run, waiting = agents.run(rounds=15), agents.run(rounds=2)
    agents.ask("start", run)
    agents.ask("start", waiting)
    trainer = agents.hold(run, SILOS[0])
    agents.until(lambda: agents.heartbeat(SILOS[0])["queued"] == [waiting.id], "the second to be queued")
    agents.processes[SILOS[0]].send_signal(signal.SIGKILL)
    agents.processes[SILOS[0]].wait()
    agents.start_agent(SILOS[0])
    agents.until(lambda: agents.said(SILOS[0])[-1]["message"].startswith("continues with"), "the agent to be back")
    assert agents.said(SILOS[0])[-1]["message"] == f"continues with {run.id}; queued: {waiting.id}"
    assert agents.trainer(run, SILOS[0]) == trainer
    agents.go_on(run, SILOS[0])
    agents.until_states(run, "FINISHED")
    agents.until_states(waiting, "FINISHED")
    agents.until_idle()


def test_trainer_that_is_killed_is_started_again_and_the_run_completes(agents: Agents) -> None:
    run = agents.run(rounds=15)
    agents.ask("start", run)
    agents.until_round(run, 2)
    before = agents.trainer(run, SILOS[1])
    os.kill(before, signal.SIGKILL)
    killed = "the trainer was killed by signal 9"
    agents.until(lambda: any(killed in line["message"] for line in agents.said(SILOS[1])), "the agent to notice")
    agents.until_states(run, "FINISHED")
    lines = agents.reader.record(run).lines[AGGREGATOR]
    assert len([line for line in lines if line.name == "opened"]) == 16, "every round was completed"
    agents.until_idle()


def test_trainer_that_keeps_dying_is_given_up_with_the_reason(agents: Agents) -> None:
    run = agents.run(join_seconds=3.0)
    agents.ask("start", run, SILOS[0])
    killed: set[int] = set()

    def kill() -> bool:
        with contextlib.suppress(FileNotFoundError):  # its folder goes before the status tells
            pid = int(fork.read_text())
            if pid not in killed and state_of(pid) != "Z":
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        return agents.states(run)[SILOS[0]] == "FAILED"

    fork = agents.folder / SILOS[0] / "runs" / run.id / "tmp" / "fork"
    agents.until(fork.exists, "the trainer")
    agents.until(kill, "the agent to give up")
    assert len(killed) == 4
    assert agents.status(run, SILOS[0])["reason"] == "the trainer was killed by signal 9 on try 4"
    agents.until_idle()


def test_trainer_that_keeps_failing_says_why_and_has_not_failed_before_it_is_given_up(agents: Agents) -> None:
    run = agents.run()
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "2"}
    agents.sqs.delete_queue(QueueUrl=agents.queue(names.data_queue, SILOS[0]))
    agents.ask("start", run, SILOS[0])
    said: dict[tuple[str, bool], str] = {}

    def over() -> bool:
        status = agents.status(run, SILOS[0])
        said[status.get("state", ""), "finished" in status] = status.get("reason", "")
        return status.get("state") == "FAILED"

    agents.until(over, "the agent to give up")
    agents.sqs.create_queue(QueueName=names.data_queue(agents.federation.name, SILOS[0]), Attributes=attributes)
    role, queue = (name(agents.federation.name, SILOS[0]) for name in (names.trainer_role, names.data_queue))
    why = f"; the trainer reported: not found: {role} could not find queue {queue}"
    assert [state for state, finished in said if finished] == ["FAILED"]
    assert said["FAILED", True].startswith(f"the trainer ended with exit code 1 on try 4{why}")
    assert f"it will be started again{why}" in said["PENDING", False]
    agents.until_idle()


def test_trainer_whose_part_is_over_is_not_started_again(agents: Agents) -> None:
    run = agents.run(hyperparameters={"epochs": 0})
    agents.ask("start", run, SILOS[0])
    agents.until_states(run, {SILOS[0]: "FAILED"})
    assert "epochs: 0" in agents.status(run, SILOS[0])["reason"]
    agents.until_idle()
    assert agents.log(run, SILOS[0]).count("takes part in run") == 1


def test_requests_that_make_no_sense_are_answered_or_dropped(agents: Agents) -> None:
    silo = SILOS[0]
    missing, wrong, twice = agents.run(), agents.run(), agents.run()
    agents.s3.delete_object(Bucket=agents.bucket, Key=missing.keys.run_json)
    agents.ask("start", missing, silo)
    agents.ask("abort", missing, silo)
    agents.ask("start", wrong, silo, sha256="0" * 64)
    for text in ("{", "[]", "null", '{"action": "start"}', json.dumps({"action": "x", "run": "../../x"}), "\u0000" * 9):
        agents.say(silo, text)
    agents.until_states(wrong, {silo: "REFUSED"})
    assert "and the request says 0000000000000000" in agents.status(wrong, silo)["reason"]
    agents.until_states(missing, {silo: "REFUSED"})
    assert agents.status(missing, silo)["reason"].startswith(f"there is no run {missing.id} in this federation")
    agents.ask("start", twice)
    agents.until_states(twice, "FINISHED")
    agents.until_idle()
    body = agents.status(twice, silo)
    digest = hashlib.sha256(twice.model_dump_json().encode()).hexdigest()
    again = {"action": "start", "run": twice.id, "sha256": digest}
    agents.say(silo, json.dumps(again))
    agents.until(lambda: "was requested before" in agents.said(silo)[-1]["message"], "the agent to have read it")
    agents.until_idle()
    assert agents.status(twice, silo) == body
    assert sum("not a run request" in line["message"] for line in agents.said(silo)) == 6
