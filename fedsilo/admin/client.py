"""The hub as the operator reaches it: runs are begun in the mail bucket, and requests are sent to the agents.

It needs what the federation's operator policy allows, and nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fedsilo import aws, names, runtime
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import AccessError, FedsiloError, HubError, SpecError
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.messaging.control import Request, send
from fedsilo.messaging.queues import QueueUrls
from fedsilo.states import RequestAction

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

WHO = "the operator"
"""Who acts, in messages about access."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class HubClient:
    """A federation's hub, with the operator's credentials.

    Every method raises ``AccessError`` where AWS denies a call, and ``HubError`` where a part of the hub is missing or
    AWS does not answer.
    """

    federation: Federation
    bucket: MailBucket
    reader: Reader
    """Reads what the parties wrote."""
    sqs: "SQSClient"
    access: aws.HubAccess
    queue_urls: QueueUrls

    @classmethod
    def of(cls, federation: Federation) -> "HubClient":
        """The hub of a federation. AWS is asked for the account if the federation's file does not name it."""
        region = federation.aggregator.region
        with aws.translate_errors(WHO, "reach AWS", "the credentials are valid"):
            access = aws.HubAccess(WHO, federation.name, account(federation), region)
            bucket = MailBucket(access, aws.OPERATOR_ATTEMPTS)
            sqs = aws.sqs(region, aws.OPERATOR_ATTEMPTS)
            return cls(federation, bucket, Reader(bucket), sqs, access, QueueUrls(sqs, access))

    @property
    def parties(self) -> list[str]:
        """The federation's parties, the aggregator first."""
        return [party.name for party in self.federation.parties]

    # --- runs

    def start(self, run: Run) -> Run:
        """Begin a run and ask the agents of its parties to take part. Asking again changes nothing.

        Returns:
            The run as it is in the ledger.

        Raises:
            SpecError: A run with the same id and other settings exists.
            HubError: The run has begun, and perhaps not all agents were asked.
        """
        queues = self.control_queues(run.parties)
        stored, identity = self.put_run(run)
        try:
            self.request(RequestAction.START, identity, queues)
        except (FedsiloError, KeyboardInterrupt) as error:
            raise HubError(
                f"run {run.id} has begun, and perhaps not every agent was asked: {str(error) or 'interrupted'}; "
                f"the same command with --run-id {run.id} asks again, and `fedsilo run abort {run.id}` ends it"
            ) from error
        return stored

    def put_run(self, run: Run) -> tuple[Run, RunIdentity]:
        """Begin a run: write its run.json, never over another one, and its entry in the index.

        Returns:
            The run as it is in the bucket, and the identity of its run.json. If the same run exists, these are its.

        Raises:
            SpecError: A run with the same id and other settings exists. The message names each difference.
        """
        body = run.model_dump_json().encode()
        if written := self.bucket.create(run.keys.run_json, body):
            identity = RunIdentity.of(run.id, body, written.version)
        else:
            stored, identity = self.reader.run(run.id)
            if differences := list(_differences(stored, run)):
                raise SpecError(f"run {run.id} exists already, with other settings:\n" + "\n".join(differences))
            run = stored
        self.bucket.put(RunIndexEntry.of(run).key, b"")
        return run, identity

    def may_write_runs(self, run_id: str) -> bool:
        """Whether the operator may write run.json: tries to create that of an existing run, which changes nothing."""
        run, _ = self.reader.run(run_id)
        try:
            self.bucket.create(run.keys.run_json, run.model_dump_json().encode())
        except AccessError:
            return False
        return True

    # --- queues

    def control_queues(self, parties: Sequence[str]) -> dict[str, str]:
        """The URL of each party's control queue. Raises ``HubError`` if one is missing."""
        return _each(parties, lambda party: self.queue_urls.find(names.control_queue(self.federation.name, party)))

    def request(self, action: RequestAction, identity: RunIdentity, queues: dict[str, str]) -> None:
        """Ask agents to start or abort their part of a run.

        Args:
            action: What is asked.
            identity: Which run.json the agents and their trainers must find.
            queues: The control queues, by party.
        """
        request = Request.about(action, identity)

        def ask(party: str) -> None:
            with self.access.translate_errors(f"send to {names.control_queue(self.federation.name, party)}"):
                send(self.sqs, queues[party], request)

        _each(queues, ask)

    def waiting(self, queues: dict[str, str]) -> dict[str, int]:
        """About how many requests each party's agent has not taken yet."""
        return _each(queues, lambda party: self._message_count(queues[party]))

    def undeliverable(self) -> dict[str, int]:
        """About how many messages to each party could not be delivered."""

        def count(party: str) -> int:
            return self._message_count(self.queue_urls.find(names.dead_letter_queue(self.federation.name, party)))

        return _each(self.parties, count)

    def _message_count(self, url: str) -> int:
        wanted: list[QueueAttributeNameType] = ["ApproximateNumberOfMessages"]
        with self.access.translate_errors(f"read the attributes of {url}"):
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
        return int(found["Attributes"]["ApproximateNumberOfMessages"])


def account(federation: Federation) -> str:
    """The AWS account of the hub: the aggregator's, or that of the operator's credentials."""
    if federation.aggregator.account:
        return federation.aggregator.account
    with aws.translate_errors(WHO, "ask AWS whose the credentials are", "they are valid"):
        return aws.sts(federation.aggregator.region, aws.OPERATOR_ATTEMPTS).get_caller_identity()["Account"]


def _each(parties: Iterable[str], do: Callable[[str], _T]) -> dict[str, _T]:
    """What ``do`` returns for each party, at the same time."""
    parties = list(parties)
    with runtime.pool("aws", aws.POOL_CONNECTIONS) as pool:
        return dict(zip(parties, pool.map(do, parties), strict=True))


def _differences(stored: Run, requested: Run) -> Iterator[str]:
    """The settings in which two runs differ, a line each. When they were created does not count."""
    before, after = _settings(stored), _settings(requested)
    for name in before | after:
        if before.get(name) != after.get(name):
            yield f"  {name}: {before.get(name)} in the ledger, {after.get(name)} requested"


def _settings(run: Run) -> dict[str, object]:
    values = run.model_dump(exclude={"created", "hyperparameters"})
    return values | {f"hyperparameters.{name}": value for name, value in run.hyperparameters.items()}
