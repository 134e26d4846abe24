"""Objects and queue messages that no mailbox of fedsilo would write, for tests of what a party does with them."""

import hashlib

from mypy_boto3_sqs import SQSClient

from fedsilo import aws, names
from fedsilo.keys import MailAddress
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.notice import Notice
from fedsilo.messaging.queues import QueueUrls
from fedsilo.messaging.store import DIGEST


def put(
    mailbox: Mailbox,
    body: bytes,
    receiver: str = names.AGGREGATOR,
    kind: str = "update",
    seq: int = 7,
    round_idx: int = 0,
    digest: str = "",
) -> Notice:
    """Put any bytes where a mail of the mailbox's party should be. The notice fits them, or has any ``digest``."""
    return put_at(mailbox, mailbox.keys.mail(mailbox.settings.party, receiver, seq, kind, round_idx), body, digest)


def put_at(mailbox: Mailbox, address: MailAddress, body: bytes, digest: str = "") -> Notice:
    """Put any bytes at an address. The notice fits them, or has any ``digest``."""
    notice = Notice(address, len(body), digest or hashlib.sha256(body).hexdigest())
    metadata = {DIGEST: notice.digest}
    aws.s3("us-east-1").put_object(Bucket=mailbox.settings.bucket, Key=notice.key, Body=body, Metadata=metadata)
    return notice


def data_queue(mailbox: Mailbox) -> tuple[SQSClient, str]:
    """A client of SQS, and the URL of the data queue of the mailbox's party."""
    sqs, settings = aws.sqs("us-east-1"), mailbox.settings
    queue = names.data_queue(settings.federation, settings.party)
    return sqs, QueueUrls(sqs, settings.hub_access("the test")).find(queue)


def put_notice(mailbox: Mailbox, body: str) -> None:
    """Put any text into the data queue of the mailbox's party."""
    sqs, url = data_queue(mailbox)
    unique = hashlib.sha256(body.encode()).hexdigest()
    sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=unique)
