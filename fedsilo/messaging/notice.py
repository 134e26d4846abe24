"""Notices: the SQS messages that tell a party of its mail."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fedsilo import names, runtime
from fedsilo.aws import HubAccess
from fedsilo.config import queue_settings
from fedsilo.keys import MailAddress
from fedsilo.messaging.queues import QueueUrls
from fedsilo.text import QUOTE_LIMIT, plain

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10
"""How many messages SQS returns or deletes in one call."""

HAND_BACK_SECONDS = 5
"""How long a notice of another run is hidden when it is handed back, so that its receiver does not get it again at
once."""

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

    def receive(self, run: str, seconds: float) -> list[Notice]:
        """Wait for notices of a run in the party's own queue.

        They are acknowledged at once, in the background, so no receipt expires while a mail is opened or a round is
        trained. What was received by a party that then died is in the bucket. A notice whose acknowledgement failed
        comes again. Notices of other runs are handed back.

        Args:
            run: The run's id.
            seconds: How long to wait, at most ``queue_settings.LONG_POLL_SECONDS``.

        Returns:
            The notices, each once. What is malformed is dropped with a line in the log.
        """
        with self._access.translate_errors(f"receive from {self._own_queue}"):
            answer = self._sqs.receive_message(
                QueueUrl=self._own_url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=min(queue_settings.LONG_POLL_SECONDS, max(0, math.ceil(seconds))),
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        notices: dict[Notice, None] = {}  # ordered, without duplicates
        done = []
        for message in answer.get("Messages", []):
            notice = Notice.parse(message["Body"])
            if notice and notice.address.run != run and self._hand_back(message, notice):
                continue
            done.append(message["ReceiptHandle"])
            if notice is None:
                log.warning("dropped a malformed notice: %s", plain(message["Body"], QUOTE_LIMIT))
            elif notice.address.run == run:
                notices[notice] = None
        if done:
            self._pool.submit(self._acknowledge, done)
        return list(notices)

    def close(self) -> None:
        """Wait until what was received is acknowledged. Safe to call twice."""
        self._pool.shutdown()

    def _hand_back(self, message: "MessageTypeDef", notice: Notice) -> bool:
        """Leave a notice of another run for whom it is for.

        Returns:
            Whether it was handed back. If nobody has taken it often enough, so that it would soon count as
            undeliverable, it is dropped: its mail is in the bucket.
        """
        if int(message["Attributes"]["ApproximateReceiveCount"]) >= queue_settings.MAX_RECEIVE_COUNT - 1:
            log.warning("dropped mail of run %s, which no trainer has taken", notice.address.run)
            return False
        self._pool.submit(self._hide, message["ReceiptHandle"])
        return True

    def _hide(self, receipt: str) -> None:
        try:
            self._sqs.change_message_visibility(
                QueueUrl=self._own_url, ReceiptHandle=receipt, VisibilityTimeout=HAND_BACK_SECONDS
            )
        except (BotoCoreError, ClientError) as error:
            log.info("a notice of another run comes again later: %s", plain(error))

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
