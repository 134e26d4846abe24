"""The operator in tests: a federation in the emulator, its file, the ``fedsilo`` command, and parties to play."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from fedsilo import __version__, aws, names
from fedsilo.admin.client import HubClient
from fedsilo.cli.main import app
from fedsilo.config.federation import Federation
from fedsilo.config.load import parse_federation
from fedsilo.config.run import Run, plan
from fedsilo.keys import RunKeys, agent_key
from fedsilo.ledger.reader import Reader
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub

SILOS = ("cleveland", "hungary", "long-beach")
REGION = "us-east-1"
_count = itertools.count()


class OperatorHarness:
    """An operator of a federation of its own. The parties have no agents: the test writes what they would write."""

    def __init__(self, folder: Path, *, deployed: bool = True, **aggregator: Any) -> None:
        self.folder = folder
        described = {
            "name": f"operator{next(_count)}",
            "aggregator": {"region": REGION, "vpc_cidr": "10.0.0.0/16", **aggregator},
            "silos": [{"name": silo, "vpc_cidr": f"10.{rank}.0.0/16"} for rank, silo in enumerate(SILOS, start=1)],
        }
        self.file = folder / "federation.yaml"
        self.file.write_text(yaml.safe_dump(described))
        self.federation: Federation = parse_federation(described)
        self.name = self.federation.name
        self.bucket = names.mail_bucket(self.name, emulator.ACCOUNT, REGION)
        self.s3, self.sqs = aws.s3(REGION), aws.sqs(REGION)
        self.client = HubClient.of(self.federation)
        self.reader = self.client.reader
        if deployed:
            create_hub(self.federation)

    def run(self, *arguments: str, environment: dict[str, str | None] | None = None) -> Result:
        """Run the command in this process. Any exception but an exit fails the test."""
        if environment is not None:
            boto3.DEFAULT_SESSION = None  # it keeps the credentials that it found first
        result = CliRunner().invoke(
            app, [*arguments, "--federation", str(self.file)], env=environment, prog_name="fedsilo"
        )
        if environment is not None:
            boto3.DEFAULT_SESSION = None
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        """What the command prints with ``--json``."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout, parse_constant=lambda name: 1 / 0)

    def start(self, *arguments: str, run_id: str = "") -> str:
        """Start a run by the command; its id."""
        result = self.run("run", "start", "heart_disease", *arguments, *(["--run-id", run_id] if run_id else []))
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()[0]

    def begin(self, run_id: str, created: datetime | None = None, **choices: Any) -> Run:
        """Create a run without asking any agent to take part."""
        run = plan(self.name, "heart_disease", SILOS, overrides={}, run_id=run_id, **choices)
        run = run.model_copy(update={"created": created or datetime.now(UTC)})
        self.client.put_run(run)
        return run

    def put(self, key: str, body: str | bytes) -> None:
        body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def say(self, run_id: str, party: str, **status: Any) -> None:
        """Write a party's status."""
        self.put(RunKeys(run_id).status(party), json.dumps(status))

    def agent(self, party: str, **fields: Any) -> None:
        """Write a heartbeat of a party's agent."""
        said = {"party": party, "version": __version__, "state": "IDLE", "run": None, "queued": [], "launcher": "local"}
        self.put(agent_key(party), json.dumps(said | fields))

    def agents(self) -> None:
        for party in self.federation.parties:
            self.agent(party.name)

    def requests(self, party: str) -> list[dict[str, Any]]:
        """Receive and delete the requests in a party's control queue."""
        url = self.sqs.get_queue_url(QueueName=names.control_queue(self.name, party))["QueueUrl"]
        found: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def finish(self, run_id: str, rounds: int = 2) -> None:
        """Write what all parties of a finished run have written: statuses, metrics, model and logs."""
        keys, lines = RunKeys(run_id), []
        for k in range(rounds + 1):
            lines.append({"kind": "event", "name": "opened", "round": k, "time": 1.8e9 + k, "text": ""})
        for silo in (None, *SILOS):
            told = {"silo": silo} if silo else {}
            for name, value in (("AUC", 0.875), ("Loss", 0.432), ("Accuracy", 0.812)):
                line = {
                    "kind": "metric",
                    "name": f"Test:{name}",
                    "value": value,
                    "step": rounds,
                    "time": 1.8e9 + rounds,
                }
                lines.append(line | told)
        self.put(keys.metrics(names.AGGREGATOR), "".join(json.dumps(line) + "\n" for line in lines))
        self.put(keys.model(names.AGGREGATOR), b"the model")
        for party in (names.AGGREGATOR, *SILOS):
            self.put(keys.log(party), f"{party} is done\n")
            self.say(
                run_id,
                party,
                state="FINISHED",
                round=rounds,
                rounds=rounds,
                experiment=f"{self.name}-{party}",
                metrics={"Test:AUC": 0.875},
                parameters={"train data size": 199},
                finished="2026-11-22T08:15:30.000Z",
            )


@pytest.fixture
def operator(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatorHarness:
    """An operator in a folder of its own, whose commands poll often."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedsilo.cli.run.POLL_SECONDS", 0.01)
    return OperatorHarness(tmp_path)


@contextmanager
def between_polls(*steps: Callable[[], object], read: str = "statuses") -> Iterator[None]:
    """Take one step each time before a command polls, so that the command sees the effect of each step.

    Args:
        steps: Write what parties would write meanwhile.
        read: The method of ``Reader`` with which the command polls.
    """
    remaining = iter(steps)
    original = getattr(Reader, read)

    def step_and_read(*arguments: Any) -> Any:
        next(remaining, lambda: None)()
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reader, read, step_and_read)
        yield
    assert next(remaining, None) is None, "the command ended before the last step"
