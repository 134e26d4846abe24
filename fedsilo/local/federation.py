"""The local federation: the local AWS emulator with the hub in it, and an agent process for every party.

Agents and trainers run the same code as in a pod; only the endpoint and the launcher differ. ``fedsilo demo`` starts a
local federation and ends it with itself; that of ``fedsilo up`` runs until ``fedsilo down``.
"""

import contextlib
import itertools
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fedsilo import aws, names, runtime
from fedsilo.agent.local import LocalLauncher
from fedsilo.agent.process import LocalProcess
from fedsilo.config import queue_settings
from fedsilo.config.environment import Settings
from fedsilo.config.federation import Federation
from fedsilo.errors import HubError
from fedsilo.files import keep_end
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.local import emulator

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

READY_SECONDS = 60.0
"""How long the agents may take to start, plus a second for each."""

QUICK_SECONDS, QUICK_ENDS = 10.0, 5
"""An agent that ends within ``QUICK_SECONDS`` of its start, ``QUICK_ENDS`` times in a row, is given up."""

LOG_BYTES = 4 * 2**20
"""How much of the end of a log is kept at least, and half of how much at most."""

LAST_BYTES = 2000
"""How much of a log an error message shows."""


def hub_account(federation: Federation) -> str:
    """The account in which the emulator has everything: the hub's if federation.yaml names it."""
    return federation.aggregator.account or emulator.ACCOUNT


def create_hub(federation: Federation) -> None:
    """Create the mail bucket and the queues, with the names and the relevant attributes of the hub's stack.

    This does not use the stack's template, because synthesis takes seconds and Node, and moto's CloudFormation does not
    know all of its resources. A test compares the two.
    """
    region = federation.aggregator.region
    sqs = aws.sqs(region)
    _create_bucket(names.mail_bucket(federation.name, hub_account(federation), region), region)
    with aws.translate_errors("fedsilo", "create the queues", "the local AWS emulator runs"):
        for party in federation.parties:
            dead = names.dead_letter_queue(federation.name, party.name)
            _create_queue(sqs, dead)
            arn = names.queue_arn(dead, hub_account(federation), region)
            redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": queue_settings.MAX_RECEIVE_COUNT})
            for queue in (names.data_queue, names.control_queue):
                _create_queue(sqs, queue(federation.name, party.name), RedrivePolicy=redrive)


def _create_bucket(bucket: str, region: str) -> None:
    with aws.translate_errors("fedsilo", f"create {bucket}", "the local AWS emulator runs"):
        if region == "us-east-1":
            aws.s3(region).create_bucket(Bucket=bucket)
        else:
            aws.s3(region).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]


def _create_queue(sqs: "SQSClient", name: str, **attributes: str) -> None:
    """Create a queue that behaves like one of the hub's stack."""
    behaviour = {
        "VisibilityTimeout": str(queue_settings.VISIBILITY_TIMEOUT_SECONDS),
        "MessageRetentionPeriod": str(queue_settings.RETENTION_SECONDS),
    }
    sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **behaviour, **attributes})  # type: ignore[dict-item]


def party_settings(federation: Federation, party: str) -> Settings:
    """The settings of a party of the local federation."""
    return Settings(
        federation=federation.name,
        party=party,
        rank=federation.party(party).rank,
        hub_account=hub_account(federation),
        hub_region=federation.aggregator.region,
        data=f"s3://{_data_bucket(federation, party)}/" if federation.party(party).data == "s3" else "packaged",
    )


def _data_bucket(federation: Federation, party: str) -> str:
    return names.data_bucket(federation.name, party, hub_account(federation), federation.party(party).region)


class LocalFederation:
    """A running local federation, as a context manager.

    It writes only below ``folder``, where each party has a folder of its own.

    Attributes:
        endpoint: The URL of the local AWS emulator.
        access_key: The access key id with which its clients sign.
    """

    def __init__(self, federation: Federation, folder: Path) -> None:
        self.endpoint = self.access_key = ""
        self._federation, self._folder = federation, folder
        self._agents = {party.name: LocalProcess(folder / party.name / "agent") for party in federation.parties}
        self._emulator: emulator.Emulator | None = None
        self._started: dict[str, float] = {}
        self._quick_ends: Counter[str] = Counter()

    def __enter__(self) -> "LocalFederation":
        """Start it. From then on, this process uses its emulator as AWS."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._emulator = emulator.Emulator(hub_account(self._federation), self._folder)
            self.endpoint, self.access_key = self._emulator.endpoint, self._emulator.access_key
            emulator.use(self.endpoint, self.access_key, self._federation.aggregator.region)
            create_hub(self._federation)
            for party in self._federation.parties:
                if party.data == "s3":
                    _create_bucket(_data_bucket(self._federation, party.name), party.region)
                (self._folder / party.name).mkdir(parents=True)
                self._policy_file(party.name).write_text(party.policy.model_dump_json(indent=2))
                self._start_agent(party.name)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def parties(self) -> list[str]:
        """The parties, the aggregator first."""
        return [*self._agents]

    def wait_until_ready(self) -> None:
        """Return when every agent has reported. Raises ``HubError`` if one does not."""
        region = self._federation.aggregator.region
        account = hub_account(self._federation)
        access = aws.HubAccess("the local federation", self._federation.name, account, region)
        reader = Reader(MailBucket(access))
        patience = READY_SECONDS + len(self._agents)
        deadline = runtime.monotonic() + patience
        while silent := [agent.party for agent in reader.agents(self.parties) if agent.silent]:
            if runtime.monotonic() > deadline:
                log = self._agents[silent[0]].log(LAST_BYTES)
                raise HubError(f"no report from the agent of {', '.join(silent)} in {patience:g} s; its log:\n{log}")
            self.restart_dead_agents()
            runtime.sleep(0.1)

    def restart_dead_agents(self) -> list[str]:
        """Start agents that have ended, as a cluster would.

        Returns:
            The parties whose agents were started.

        Raises:
            HubError: The emulator has ended, and all its data is lost; or an agent ends again and again.
        """
        if not (self._emulator and self._emulator.alive):
            raise HubError("the local AWS emulator has ended, and its data is lost; start the local federation again")
        ended = [party for party, process in self._agents.items() if not process.alive]
        for party in ended:
            quick = runtime.monotonic() - self._started[party] < QUICK_SECONDS
            self._quick_ends[party] = self._quick_ends[party] + 1 if quick else 0
            if self._quick_ends[party] == QUICK_ENDS:
                log = self._agents[party].log(LAST_BYTES)
                raise HubError(f"the agent of {party} ends as soon as it is started; its log:\n{log}")
            self._start_agent(party)
        return ended

    def trim_logs(self) -> None:
        """Remove the beginning of each log that has become large: of the supervisor, of agents and of trainers."""
        folders = (".supervisor", "*/agent", "*/runs/*")
        for log in itertools.chain.from_iterable(self._folder.glob(f"{folder}/log.txt") for folder in folders):
            with contextlib.suppress(FileNotFoundError):  # an agent removes the folders of old runs
                keep_end(log, LOG_BYTES)

    def _start_agent(self, party: str) -> None:
        environment = emulator.environment(self.endpoint, self.access_key, self._federation.aggregator.region)
        environment |= party_settings(self._federation, party).to_environment()
        environment |= {
            "FEDSILO_LAUNCHER": "local",
            "FEDSILO_FOLDER": str(self._folder / party),
            "FEDSILO_POLICY_FILE": str(self._policy_file(party)),
        }
        if party != names.AGGREGATOR:
            environment["FEDSILO_STORE"] = str((self._folder / party / "store").absolute())
        self._started[party] = runtime.monotonic()
        self._agents[party].start([sys.executable, "-P", "-m", "fedsilo", "agent"], environment)

    def _policy_file(self, party: str) -> Path:
        return self._folder / party / "policy.json"

    def _close(self) -> None:
        try:
            end_processes(self._folder)
        finally:
            if self._emulator:
                self._emulator.close()


def trainer_log(folder: Path, party: str, run: str) -> Path:
    """The file with the log of a party's trainer; it may not exist."""
    return folder / party / "runs" / run / "log.txt"


def end_processes(folder: Path) -> None:
    """End the agents and trainers of the local federation in ``folder``, whichever process started them."""

    def end(agent: Path) -> None:
        LocalProcess(agent).end()  # first, because an agent starts trainers
        LocalLauncher(agent.parent / "runs").end_own()

    with ThreadPoolExecutor() as pool:
        list(pool.map(end, folder.glob("*/agent")))
