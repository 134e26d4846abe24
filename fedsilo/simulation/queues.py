"""SQS FIFO queues in memory: the calls of boto3's client that fedsilo makes, with what SQS promises and no more.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedsilo.simulation.network import Network, client_error
from fedsilo.simulation.world import Process, SimulatedEvent, World

DEDUPLICATION_SECONDS = 300.0
"""How long SQS remembers a deduplication id."""

URL_PREFIX = "https://queues/"


@dataclass
class _Message:
    body: str
    group: str
    visible_at: float = 0.0
    receives: int = 0
    receipt: str = ""


class Queue:
    """One FIFO queue.

    Args:
        world: The clock.
        name: Its name.
        visibility_seconds: How long a received message is hidden.
        max_receives: How often a message is delivered before it moves to the dead-letter queue.
    """

    def __init__(self, world: World, name: str, visibility_seconds: float, max_receives: int) -> None:
        self._world, self._name = world, name
        self._visibility_seconds, self._max_receives = visibility_seconds, max_receives
        self._messages: list[_Message] = []
        self._sent: dict[str, float] = {}
        self._waiting: list[SimulatedEvent] = []
        self._receipts = 0
        self.dead_letters: list[str] = []
        """The bodies of the messages that were delivered too often."""

    def __len__(self) -> int:
        return len(self._messages)

    def send(self, body: str, group: str, deduplication_id: str) -> None:
        """Add a message, unless one with its deduplication id came in the last five minutes."""
        if self._world.time < self._sent.get(deduplication_id, float("-inf")) + DEDUPLICATION_SECONDS:
            return
        self._sent[deduplication_id] = self._world.time
        self._messages.append(_Message(body, group))
        self._wake()

    def take(self, most: int) -> list[_Message]:
        """The messages that can be received now. Of a group, none can while an earlier one is hidden."""
        taken: list[_Message] = []
        hidden = {message.group for message in self._messages if message.visible_at > self._world.time}
        for message in [*self._messages]:
            if message.group in hidden or len(taken) == most:
                continue
            if message.receives == self._max_receives:
                self._messages.remove(message)
                self.dead_letters.append(message.body)
                continue
            self._receipts += 1
            message.receives, message.receipt = message.receives + 1, f"{self._name}/{self._receipts}"
            self.hide(message, self._visibility_seconds)
            taken.append(message)
        return taken

    def held(self, receipt: str) -> _Message | None:
        """The message that the receipt is of, if it is still hidden from others."""
        for message in self._messages:
            if message.receipt == receipt and message.visible_at > self._world.time:
                return message
        return None

    def delete(self, message: _Message) -> None:
        """Remove a message."""
        self._messages.remove(message)
        self._wake()  # the next one of its group can be received now

    def hide(self, message: _Message, seconds: float) -> None:
        """Hide a message from now on for so many seconds."""
        message.visible_at = self._world.time + seconds
        self._world.at(message.visible_at, self._wake)

    def wait(self, process: Process, seconds: float) -> None:
        """Wait until there may be a message to receive, or for so many seconds."""
        arrived = SimulatedEvent(process, "a message")
        self._waiting.append(arrived)
        try:
            arrived.wait(seconds)
        finally:
            if arrived in self._waiting:
                self._waiting.remove(arrived)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for arrived in waiting:
            arrived.set()


class Sqs:
    """boto3's client of SQS, as one process uses it."""

    def __init__(self, queues: dict[str, Queue], process: Process, network: Network) -> None:
        self._queues, self._process, self._network = queues, process, network

    def get_queue_url(self, *, QueueName: str, **_: Any) -> dict[str, Any]:
        def find() -> dict[str, Any]:
            self._queue(QueueName)
            return {"QueueUrl": URL_PREFIX + QueueName}

        return self._network.call(self._process, "GetQueueUrl", QueueName, find)

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, MessageGroupId: str, MessageDeduplicationId: str
    ) -> dict[str, Any]:
        def send() -> dict[str, Any]:
            self._queue(QueueUrl).send(MessageBody, MessageGroupId, MessageDeduplicationId)
            return {}

        return self._network.call(self._process, "SendMessage", QueueUrl, send)

    def receive_message(
        self, *, QueueUrl: str, MaxNumberOfMessages: int = 1, WaitTimeSeconds: float = 0, **_: Any
    ) -> dict[str, Any]:
        world, queue = self._process.world, self._queue(QueueUrl)
        end = world.time + WaitTimeSeconds

        def receive() -> list[_Message]:
            return queue.take(MaxNumberOfMessages)

        while (
            not (messages := self._network.call(self._process, "ReceiveMessage", QueueUrl, receive))
            and world.time < end
        ):
            queue.wait(self._process, end - world.time)
        return {"Messages": [*map(_described, messages)]} if messages else {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        def delete() -> dict[str, Any]:
            self._delete(self._queue(QueueUrl), ReceiptHandle)
            return {}

        return self._network.call(self._process, "DeleteMessage", QueueUrl, delete)

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[dict[str, str]]) -> dict[str, Any]:
        def delete() -> dict[str, Any]:
            failed = [*self._delete_batch(self._queue(QueueUrl), Entries)]
            return {"Failed": failed} if failed else {}

        return self._network.call(self._process, "DeleteMessageBatch", QueueUrl, delete)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            queue = self._queue(QueueUrl)
            message = queue.held(ReceiptHandle)
            if message is None:
                raise client_error("ChangeMessageVisibility", "MessageNotInflight", 400)
            queue.hide(message, VisibilityTimeout)
            return {}

        return self._network.call(self._process, "ChangeMessageVisibility", QueueUrl, change)

    def get_queue_attributes(self, *, QueueUrl: str, **_: Any) -> dict[str, Any]:
        def count() -> dict[str, Any]:
            return {"Attributes": {"ApproximateNumberOfMessages": str(len(self._queue(QueueUrl)))}}

        return self._network.call(self._process, "GetQueueAttributes", QueueUrl, count)

    def _queue(self, name_or_url: str) -> Queue:
        queue = self._queues.get(name_or_url.removeprefix(URL_PREFIX))
        if queue is None:
            raise client_error("GetQueueUrl", "AWS.SimpleQueueService.NonExistentQueue", 400)
        return queue

    def _delete(self, queue: Queue, receipt: str) -> None:
        message = queue.held(receipt)
        if message is None:
            raise client_error("DeleteMessage", "InvalidParameterValue", 400, "The receipt handle has expired.")
        queue.delete(message)

    def _delete_batch(self, queue: Queue, entries: Sequence[dict[str, str]]) -> Iterator[dict[str, Any]]:
        for entry in entries:
            message = queue.held(entry["ReceiptHandle"])
            if message is None:
                yield {"Id": entry["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}
            else:
                queue.delete(message)


def _described(message: _Message) -> dict[str, Any]:
    return {
        "Body": message.body,
        "ReceiptHandle": message.receipt,
        "Attributes": {"ApproximateReceiveCount": str(message.receives)},
    }
