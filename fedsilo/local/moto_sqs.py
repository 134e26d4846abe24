"""Where moto's SQS is unlike AWS, and a federation would notice: the local AWS emulator changes it.

``fedsilo.local.moto_server`` says for which version of moto.
"""

import socket
from collections.abc import Iterable
from typing import Any

from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue
from werkzeug.exceptions import ClientDisconnected

KEPT_RECEIPTS = 10_000
"""How many receipts of deleted messages a queue remembers, so that a repeated deletion is no error."""


def patch_moto(caller: Any) -> None:
    """Apply all changes. The attribute ``socket`` of ``caller`` is the connection that the current thread answers."""
    end_abandoned_polls(Queue, caller)
    refuse_expired_receipts(Queue)
    lock_deletions(Queue)
    forget_old_receipts(Queue)


def end_abandoned_polls(queue_class: Any, caller: Any) -> None:
    """End the long poll of a client that has disconnected, as SQS does.

    moto would give the next message to the client that is gone, and hide it from all others.

    Args:
        queue_class: moto's class of queues.
        caller: Its attribute ``socket`` is the connection that the current thread answers.
    """
    wait = queue_class.wait_for_messages

    def wait_for_messages(queue: Any, timeout: float) -> None:
        wait(queue, timeout)
        try:
            gone = caller.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            raise ClientDisconnected

    queue_class.wait_for_messages = wait_for_messages


def lock_deletions(queue_class: Any) -> None:
    """Let nobody put a message into a queue while another one is deleted.

    moto would lose the new message: it replaces the list of messages by a copy without the deleted one.

    Args:
        queue_class: moto's class of queues.
    """
    delete = queue_class.delete_message

    def delete_message(queue: Any, receipt_handle: str) -> None:
        with queue._messages_lock:
            delete(queue, receipt_handle)

    queue_class.delete_message = delete_message


class ReceiptHandleHasExpired(ReceiptHandleIsInvalid):  # type: ignore[misc]
    """SQS's answer to DeleteMessage for a FIFO queue; in a batch it is moto's ``ReceiptHandleIsInvalid``."""

    def __init__(self, receipt_handle: str) -> None:
        what = f"Value {receipt_handle} for parameter ReceiptHandle is invalid."
        super(ReceiptHandleIsInvalid, self).__init__(
            "InvalidParameterValue", f"{what} Reason: The receipt handle has expired."
        )


def refuse_expired_receipts(queue_class: Any) -> None:
    """Delete no message of a FIFO queue by a receipt whose visibility timeout has passed, as SQS does.

    moto would delete it, although somebody else may have received it meanwhile.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html

    Args:
        queue_class: moto's class of queues.
    """
    delete = queue_class.delete_message

    def delete_message(queue: Any, receipt_handle: str) -> None:
        for message in queue._messages if queue.fifo_queue else ():
            current = receipt_handle == message.receipt_handle and not message.visible
            if message.had_receipt_handle(receipt_handle) and not current:
                raise ReceiptHandleHasExpired(receipt_handle)
        delete(queue, receipt_handle)

    queue_class.delete_message = delete_message


class _NewestReceipts(dict[str, None]):
    """Stands in for a set of receipts, which would grow with every message: it holds the newest ones."""

    def update(self, receipts: Iterable[str]) -> None:  # type: ignore[override]
        super().update(dict.fromkeys(receipts))
        while len(self) > KEPT_RECEIPTS:
            del self[next(iter(self))]


def forget_old_receipts(queue_class: Any) -> None:
    """Remember the newest receipts of deleted messages only.

    Args:
        queue_class: moto's class of queues.
    """
    make = queue_class.__init__

    def init(queue: Any, *arguments: Any, **attributes: Any) -> None:
        make(queue, *arguments, **attributes)
        queue.deleted_messages = _NewestReceipts()

    queue_class.__init__ = init
