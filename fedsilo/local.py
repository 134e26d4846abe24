"""A federation on one machine: the hub in the embedded AWS, and a process for every party.

The processes run what a pod runs; only the endpoint and who starts them differ.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from fedsilo import aws, emulator, names, queues
from fedsilo.settings import Settings
from fedsilo.spec import Federation

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

STOP_SECONDS = 5.0
"""How long a process may take to end itself when asked."""


def create_hub(federation: Federation) -> None:
    """Make the mail bucket and the queues, by the names and with the attributes of the hub stack that matter here."""
    region = federation.aggregator.region
    s3, sqs = aws.s3(region), aws.sqs(region)
    bucket = names.mail_bucket(federation.name, emulator.ACCOUNT, region)
    with aws.explained("fedsilo", f"create {bucket}", "the embedded AWS runs"):
        if region == "us-east-1":
            s3.create_bucket(Bucket=bucket)
        else:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]
        for party in federation.parties:
            dead = _create_queue(sqs, names.dead_letter_queue(federation.name, party.name))
            for queue in (names.data_queue, names.control_queue):
                redrive = {"deadLetterTargetArn": dead, "maxReceiveCount": queues.RECEIVES}
                _create_queue(sqs, queue(federation.name, party.name), RedrivePolicy=json.dumps(redrive))


def _create_queue(sqs: "SQSClient", name: str, **attributes: str) -> str:
    """Make a queue that behaves like the hub stack's, and return its ARN."""
    behaviour = {"VisibilityTimeout": str(queues.VISIBLE_AFTER), "MessageRetentionPeriod": str(queues.KEPT)}
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **behaviour, **attributes})["QueueUrl"]  # type: ignore[dict-item]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def settings(federation: Federation, party: str) -> Settings:
    """Who a party of the embedded federation is."""
    return Settings(
        federation=federation.name,
        party=party,
        rank=federation.party(party).rank,
        hub_account=emulator.ACCOUNT,
        hub_region=federation.aggregator.region,
    )


def trainer_environment(party: Settings, endpoint: str, scratch: Path) -> dict[str, str]:
    """What a local trainer's environment holds: a pod's, and the endpoint; temporary files go to ``scratch``."""
    environment = emulator.environment(endpoint, party.hub_region) | party.to_environment()
    return environment | {
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",
    }


class Trainer:
    """One party's trainer as a local process, with its log in a file."""

    def __init__(self, party: Settings, run: str, endpoint: str, log: Path, scratch: Path) -> None:
        self.party = party.party
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "fedsilo", "trainer", run],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=trainer_environment(party, endpoint, scratch),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.poll()

    def last_lines(self, count: int = 5) -> list[str]:
        with self.log.open(errors="replace") as file:
            return [line.rstrip() for line in deque(file, count)]

    def kill(self) -> None:
        """End it and what it started at once, as a lost node would."""
        self._signal(signal.SIGKILL)
        self._reap()

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _reap(self) -> None:
        self._process.wait()


def stop(trainers: list[Trainer]) -> None:
    """End all of them: those that don't end themselves within ``STOP_SECONDS`` are killed."""
    for trainer in trainers:
        trainer.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(trainer.exit_code is None for trainer in trainers):
        time.sleep(0.05)
    for trainer in trainers:
        trainer.kill()
