"""Notices: the SQS messages that tell a party of its mail."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from fedsilo import names, runtime
from fedsilo.aws import HubAccess
from fedsilo.config import queue_settings
from fedsilo.keys import MailAddress
from fedsilo.messaging.queues import QueueUrls
from fedsilo.text import QUOTE_LIMIT, plain

BATCH = 10
"""How many messages SQS returns or deletes in one call."""

THREADS = 8
"""How many calls to SQS a party makes at a time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notice:
    """Where a mail is, and what its object must look like. As text: the key and the sender, for messages."""

    address: MailAddress
    size: int
    """The size of the object in bytes."""
    digest: str
    """The SHA-256 of the object in hexadecimal."""

    def __str__(self) -> str:
        return f"{self.key} by {self.address.sender}"

    @property
    def key(self) -> str:
        """The key of the mail's object."""
        return self.address.key

    @classmethod
    def parse(cls, body: str) -> "Notice | None":
        """Read a message's body. Returns None if it is not a notice, whatever it holds."""
        try:
            values = json.loads(body)
            address, size = MailAddress.parse(str(values["key"])), int(values["size"])
            digest = str(values["sha256"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # OverflowError: int(Infinity)
            return None
        return None if address is None or size < 0 else cls(address, size, digest)

    def to_json(self) -> str:
        """The message's body."""
        return json.dumps({"key": self.key, "size": self.size, "sha256": self.digest})


class NoticeQueues:
    """The data queues of a federation, as one party uses them: it receives from its own and sends to the others'.

    Every method that waits for an answer raises ``HubError`` if a queue is missing or the hub does not answer, and
    ``AccessError`` if AWS denies the call.
    """

    def __init__(self, access: HubAccess, party: str) -> None:
        """Find the party's own queue."""
        self._access = access
        self._sqs = access.sqs()
        self._urls = QueueUrls(self._sqs, access)
        self._own_queue = names.data_queue(access.federation, party)
        self._own_url = self._urls.find(self._own_queue)
        self._pool = runtime.pool("mail", THREADS)

    def send(self, receiver: str, notice: Notice) -> None:
        """Put the notice into the receiver's queue."""
        queue = names.data_queue(self._access.federation, receiver)
        url = self._urls.find(queue)
        unique = runtime.token(16)
        with self._access.translate_errors(f"send to {queue}"):
            self._sqs.send_message(
                QueueUrl=url,
                MessageBody=notice.to_json(),
                # Each notice has a message group of its own: a receiver that dies with one notice in hand must not
                # delay the next. The order does not matter, because every mail says its round. The deduplication id
                # is what the queue is FIFO for: a call that is tried again sends once.
                MessageGroupId=unique,
                MessageDeduplicationId=unique,
            )

    def send_to_all(self, receivers: Iterable[str], notice: Notice) -> None:
        """Put the notice into the queue of each receiver."""
        list(self._pool.map(lambda receiver: self.send(receiver, notice), receivers))

    def receive(self, seconds: float) -> list[Notice]:
        """Wait for notices in the party's own queue.

        They are acknowledged at once, in the background, so no receipt expires while a mail is opened or a round is
        trained. What was received by a party that then died is in the bucket. A notice whose acknowledgement failed
        comes again.

        Args:
            seconds: How long to wait, at most ``queue_settings.LONG_POLL_SECONDS``.

        Returns:
            The notices, each once. What is malformed is dropped with a line in the log.
        """
        with self._access.translate_errors(f"receive from {self._own_queue}"):
            answer = self._sqs.receive_message(
                QueueUrl=self._own_url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=min(queue_settings.LONG_POLL_SECONDS, max(0, math.ceil(seconds))),
            )
        messages = answer.get("Messages", [])
        if messages:
            self._pool.submit(self._acknowledge, [message["ReceiptHandle"] for message in messages])
        notices: dict[Notice, None] = {}  # ordered, without duplicates
        for message in messages:
            if (notice := Notice.parse(message["Body"])) is None:
                log.warning("dropped a malformed notice: %s", plain(message["Body"], QUOTE_LIMIT))
            else:
                notices[notice] = None
        return list(notices)

    def close(self) -> None:
        """Wait until what was received is acknowledged. Safe to call twice."""
        self._pool.shutdown()

    def _acknowledge(self, receipts: list[str]) -> None:
        try:
            answer = self._sqs.delete_message_batch(
                QueueUrl=self._own_url,
                Entries=[{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)],
            )
            problems = [f"{failed['Code']}: {failed.get('Message', '')}" for failed in answer.get("Failed", [])]
        except (BotoCoreError, ClientError) as error:
            problems = [str(error)]
        for problem in problems:
            log.warning("a notice was not acknowledged; it will come again and be dropped: %s", plain(problem))
