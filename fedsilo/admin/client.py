"""The hub as the operator meets it: who the operator is, where the hub is, and requests to the agents.

It needs what the federation's operator policy allows, and nothing else.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsilo import aws, names
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError, HubError
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.messaging.control import Request, send
from fedsilo.messaging.queues import QueueUrls
from fedsilo.states import RequestAction

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

WHO = "the operator"


@dataclass(frozen=True)
class Hub:
    """The hub of a federation, as it is reached with the operator's credentials."""

    federation: Federation
    reader: Reader
    sqs: "SQSClient"
    access: aws.HubAccess
    queue_urls: QueueUrls

    @classmethod
    def of(cls, federation: Federation) -> "Hub":
        """The hub that the file describes. Asks AWS for the account where the file does not name it."""
        region = federation.aggregator.region
        with aws.translate_errors(WHO, "reach AWS", "the credentials are valid"):
            access = aws.HubAccess(WHO, federation.name, account(federation), region)
            bucket = MailBucket(federation.name, access.account, region, who=WHO, attempts=aws.OPERATOR_ATTEMPTS)
            sqs = aws.sqs(region, aws.OPERATOR_ATTEMPTS)
            return cls(federation, Reader(bucket), sqs, access, QueueUrls(sqs, access))

    @property
    def parties(self) -> list[str]:
        """The federation's parties, the aggregator first."""
        return [party.name for party in self.federation.parties]

    def queues(self, parties: Sequence[str]) -> dict[str, str]:
        """The URL of each party's control queue. Raises ``HubError`` where one is missing."""
        queues = [names.control_queue(self.federation.name, party) for party in parties]
        with ThreadPoolExecutor(aws.POOL_CONNECTIONS) as pool:
            return dict(zip(parties, pool.map(self.queue_urls.find, queues), strict=True))

    def start(self, run: Run) -> Run:
        """Begin the run and ask its parties' agents to take part; asking again changes nothing.

        Returns the run as it is in the ledger. Raises ``SpecError`` where another run has its id, and ``HubError``
        where it is begun, and not all agents could be asked.
        """
        queues = self.queues(run.parties)
        there, run_json = self.reader.put_run(run)
        try:
            self.request(RequestAction.START, run.id, run_json, queues)
        except (FedsiloError, KeyboardInterrupt) as error:
            raise HubError(
                f"run {run.id} is begun, and perhaps not every agent was asked: {str(error) or 'interrupted'}; "
                f"the same command with --run-id {run.id} asks again, and `fedsilo run abort {run.id}` ends it"
            ) from error
        return there

    def request(self, action: RequestAction, run: str, run_json: bytes, queues: dict[str, str]) -> None:
        """Ask the agents of the parties to start or abort their part of the run."""
        request = Request(action=action, run=run, sha256=hashlib.sha256(run_json).hexdigest())

        def ask(party: str) -> None:
            with self.access.translate_errors(f"send to {names.control_queue(self.federation.name, party)}"):
                send(self.sqs, queues[party], request)

        with ThreadPoolExecutor(aws.POOL_CONNECTIONS) as pool:
            list(pool.map(ask, queues))

    def waiting(self, queues: dict[str, str]) -> dict[str, int]:
        """How many requests each party's agent has not taken yet, about."""
        with ThreadPoolExecutor(aws.POOL_CONNECTIONS) as pool:
            return dict(zip(queues, pool.map(self._waiting, queues.values()), strict=True))

    def undeliverable(self) -> dict[str, int]:
        """How many messages to each party could not be delivered, about."""

        def one(party: str) -> int:
            return self._waiting(self.queue_urls.find(names.dead_letter_queue(self.federation.name, party)))

        with ThreadPoolExecutor(aws.POOL_CONNECTIONS) as pool:
            return dict(zip(self.parties, pool.map(one, self.parties), strict=True))

    def _waiting(self, url: str) -> int:
        wanted: list[QueueAttributeNameType] = ["ApproximateNumberOfMessages"]
        with self.access.translate_errors(f"look at {url}"):
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
        return int(found["Attributes"]["ApproximateNumberOfMessages"])


def account(federation: Federation) -> str:
    """The hub's account: the aggregator's, or that of the operator's credentials."""
    if federation.aggregator.account:
        return federation.aggregator.account
    with aws.translate_errors(WHO, "ask AWS whose the credentials are", "they are valid"):
        return aws.sts(federation.aggregator.region, aws.OPERATOR_ATTEMPTS).get_caller_identity()["Account"]
