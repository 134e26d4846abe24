"""Where moto is unlike AWS, and a federation would notice, the emulator behaves like AWS."""

import threading

import moto.sqs.models
from moto.sqs.models import Message

from fedsilo.local import moto_sqs


class Queue(moto.sqs.models.Queue):
    """moto's class, with the lock, and with a sender that comes just before the messages that are left are stored."""

    sender: threading.Thread | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_messages" and self.sender:
            self.sender.start()
            self.sender.join(0.2)
        super().__setattr__(name, value)


moto_sqs.lock_deletions(Queue)


def test_a_message_that_is_sent_during_a_deletion_is_not_lost() -> None:
    queue = Queue("mail", "us-east-1", "123456789012")
    deleted, other = Message("m1", "deleted"), Message("m2", "kept")
    queue.add_message(deleted)
    deleted.mark_received(visibility_timeout=60)
    queue.sender = threading.Thread(target=queue.add_message, args=(other,))
    queue.delete_message(deleted.receipt_handle)
    queue.sender.join()
    assert queue._messages == [other]
