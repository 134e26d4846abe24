"""Where moto is unlike AWS, and a federation would notice, the emulator behaves like AWS."""

import threading

import moto.sqs.models
import pytest
from botocore.exceptions import ClientError
from moto.sqs.models import Message

from fedsilo import aws
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


@pytest.mark.parametrize("kind", ["fifo", "standard"])
def test_a_message_of_a_fifo_queue_is_deleted_by_a_valid_receipt_only(endpoint: str, kind: str) -> None:
    """SQS refuses a receipt whose visibility timeout has passed; in a standard queue it would still delete."""
    fifo = kind == "fifo"
    sqs = aws.sqs("us-east-1")
    name = f"receipts{'.fifo' if fifo else ''}"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if fifo else {}
    sqs.send_message(QueueUrl=url, MessageBody="x", **ids)  # type: ignore[arg-type]
    [first] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
    if not fifo:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        assert "Messages" not in sqs.receive_message(QueueUrl=url)
        return
    [second] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=60)["Messages"]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*The receipt handle has expired"):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    entries = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate((first, second))]
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [("0", "ReceiptHandleIsInvalid")]
    assert [each["Id"] for each in answer["Successful"]] == ["1"]
