"""The URLs of the hub's queues, each of which SQS is asked for once."""

from typing import TYPE_CHECKING

from fedsilo.aws import HubAccess

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class QueueUrls:
    """Finds the URLs of a federation's queues by their names, and keeps them. Threads may share it."""

    def __init__(self, sqs: "SQSClient", access: HubAccess) -> None:
        self._sqs = sqs
        self._access = access
        self._urls: dict[str, str] = {}

    def find(self, queue: str) -> str:
        """The URL of the queue.

        Raises:
            HubError: The queue is missing, or the hub does not answer.
            AccessError: AWS denies the call, or the credentials are not valid.
        """
        if queue not in self._urls:
            with self._access.translate_errors(f"find queue {queue}"):
                answer = self._sqs.get_queue_url(QueueName=queue, QueueOwnerAWSAccountId=self._access.account)
            self._urls[queue] = answer["QueueUrl"]
        return self._urls[queue]
