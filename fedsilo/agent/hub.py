"""The agent's side of the hub: its control queue, its party's part of the ledger, its heartbeat, and stale mail."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError

from fedsilo import aws, names
from fedsilo.aws import Cause
from fedsilo.config import queue_settings
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run, RunIdentity
from fedsilo.errors import SpecError, UnreadableError
from fedsilo.keys import RunKeys, agent_key, waiting_agent_key
from fedsilo.ledger import objects, run_file
from fedsilo.ledger.lenient import json_object
from fedsilo.ledger.objects import MailBucket, StoredObject
from fedsilo.ledger.reader import STATUS_BYTES
from fedsilo.ledger.schema import AgentStatus, Status
from fedsilo.messaging.notice import Notice
from fedsilo.messaging.queues import QueueUrls

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A message of the control queue. It comes again until it is acknowledged."""

    text: str
    receipt: str
    """What SQS calls the receipt handle."""


class AgentHub:
    """What an agent reads and writes in the hub.

    Every method raises ``HubError`` if the hub does not answer, and ``AccessError`` if AWS denies the agent's role.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        role = names.agent_role(settings.federation, settings.party)
        self._bucket = MailBucket(settings.hub_access(role))
        self._control_queue = names.control_queue(settings.federation, settings.party)
        self._data_queue = names.data_queue(settings.federation, settings.party)
        self._access = settings.hub_access(role)
        self._sqs = self._access.sqs()
        self._queue_urls = QueueUrls(self._sqs, self._access)

    # --- the control queue

    def receive(self) -> list[Delivery]:
        """Wait up to ``queue_settings.LONG_POLL_SECONDS`` for requests."""
        url = self._queue_urls.find(self._control_queue)
        with self._access.translate_errors(f"receive from {self._control_queue}"):
            answer = self._sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=queue_settings.LONG_POLL_SECONDS
            )
        return [Delivery(message["Body"], message["ReceiptHandle"]) for message in answer.get("Messages", [])]

    def acknowledge(self, delivery: Delivery) -> None:
        """Delete a message: what it asks for is done, or is written where the next agent finds it.

        If that took longer than the message's visibility timeout, it stays, and comes again.
        """
        url = self._queue_urls.find(self._control_queue)
        with self._access.translate_errors(f"acknowledge a message of {self._control_queue}"):
            try:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=delivery.receipt)
            except ClientError as error:
                if aws.cause(error) is not Cause.RECEIPT:
                    raise
                log.info("a message of %s was acknowledged too late, and comes again", self._control_queue)

    # --- the ledger

    def run(self, identity: RunIdentity) -> Run:
        """Read ``run.json``. Raises ``SpecError`` if it is missing, not valid, or not the one that is meant."""
        if not self._bucket.exists(RunKeys(identity.run).run_json):
            raise SpecError(f"there is no run {identity.run} in this federation: its run.json is missing")
        return run_file.fetch(self._bucket, self._settings, identity)

    def status(self, run_id: str) -> Status | None:
        """Read the party's ``status.json`` of the run; None if there is none, or if it is not a JSON object."""
        found = self._get(RunKeys(run_id).status(self._settings.party))
        return None if found is None else Status.of(found.body)

    def put_status(self, run_id: str, status: Status) -> None:
        """Write the party's ``status.json`` of the run."""
        self._put(RunKeys(run_id).status(self._settings.party), status.dumps())

    def put_log(self, run_id: str, text: str) -> None:
        """Write the party's ``log.txt`` of the run."""
        self._put(RunKeys(run_id).log(self._settings.party), text, "text/plain; charset=utf-8")

    def heartbeat(self) -> tuple[AgentStatus, str]:
        """Read the last heartbeat of an agent of this party.

        Returns:
            The heartbeat, and the ETag of its object. The default heartbeat if there is none, or if it is not a JSON
            object; an empty ETag if there is no object.
        """
        found = self._bucket.get(agent_key(self._settings.party), STATUS_BYTES)
        if found is None:
            return AgentStatus(), ""
        return AgentStatus.of(self._settings.party, found.body, found.modified, found.age_seconds), found.etag

    def put_heartbeat(self, heartbeat: AgentStatus, etag: str) -> str | None:
        """Write a heartbeat over the one with this ETag; over none, if the ETag is empty.

        Returns:
            The ETag of the new object; None if somebody else has written one meanwhile. Then nothing is written.
        """
        key, body = agent_key(self._settings.party), heartbeat.dumps().encode()
        written = self._bucket.replace(key, body, etag) if etag else self._bucket.create(key, body)
        return written.etag if written else None

    def put_waiting(self, heartbeat: AgentStatus) -> None:
        """Report that this agent waits for another one of its party."""
        self._put(waiting_agent_key(self._settings.party), heartbeat.dumps())

    # --- the data queue

    def drain_mail(self, finished: Callable[[str], bool]) -> bool:
        """Delete notices of finished runs from the party's data queue: the trainer that would read them has ended.

        A notice of another run stays for its trainer, and ends the drain: received again and again, it would end up in
        the dead-letter queue.

        Args:
            finished: Whether the run of an id has finished here. It is asked about the empty id, too, for a message
                that is not a notice.

        Returns:
            Whether the queue is empty now; False if a notice of another run is in it.
        """
        url = self._queue_urls.find(self._data_queue)
        with self._access.translate_errors(f"receive from {self._data_queue}"):
            while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                others = [message for message in messages if not finished(_run_of(message["Body"]))]
                for message in messages:
                    if message not in others:
                        self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                for message in others:
                    self._sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                    )
                if others:
                    return False
        return True

    # --- objects

    def _get(self, key: str) -> StoredObject | None:
        try:
            stored = self._bucket.get(key, STATUS_BYTES)
        except UnreadableError as error:
            log.warning("%s; it counts as missing", error)
            return None
        if stored and not json_object(stored.body):
            log.warning("%s is not a JSON object, and counts as missing", key)
            return None
        return stored

    def _put(self, key: str, text: str, content_type: str = objects.JSON) -> None:
        self._bucket.put(key, text.encode(errors="replace"), content_type)


def _run_of(body: str) -> str:
    """The run to whose mail the message belongs; empty if it is not a notice."""
    notice = Notice.parse(body)
    return notice.address.run if notice else ""
