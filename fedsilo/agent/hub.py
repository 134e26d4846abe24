"""The agent's side of the hub: its control queue, its party's status and log in the ledger, and its sign of life."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedsilo import aws, names, queue_settings
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.keys import MailAddress, RunKeys, agent_key
from fedsilo.ledger import objects, run_file
from fedsilo.ledger.objects import MailBucket
from fedsilo.messaging.queues import QueueUrls

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A message of the control queue; it comes again until it is acknowledged with ``receipt``."""

    text: str
    receipt: str


class AgentHub:
    """Every method raises ``HubError`` where the hub does not answer, ``AccessError`` where the role may not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        role = names.agent_role(settings.federation, settings.party)
        self._bucket = MailBucket.of(settings, role)
        self._sqs = aws.sqs(settings.hub_region)
        self._access = settings.hub_access(role)
        self._queue_urls = QueueUrls(self._sqs, self._access)

    # --- the control queue

    def receive(self) -> list[Delivery]:
        """Wait up to ``queues.LONG_POLL_SECONDS`` for requests."""
        name = names.control_queue(self._settings.federation, self._settings.party)
        url = self._queue_urls.find(name)
        with self._access.translate_errors(f"receive from {name}"):
            answer = self._sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=queue_settings.LONG_POLL_SECONDS
            )
        return [Delivery(each["Body"], each["ReceiptHandle"]) for each in answer.get("Messages", [])]

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that what the message asked for is done, or written where it is found again."""
        name = names.control_queue(self._settings.federation, self._settings.party)
        url = self._queue_urls.find(name)
        with self._access.translate_errors(f"acknowledge a message of {name}"):
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=delivery.receipt)

    # --- the ledger

    def run(self, run_id: str, sha256: str) -> Run:
        """``run.json``. Raises ``SpecError`` where it is missing, not valid, or not what the digest says."""
        if not self._bucket.exists(RunKeys(run_id).run_json):
            raise SpecError(f"there is no run {run_id} in this federation: its run.json is missing")
        return run_file.fetch(self._bucket, self._settings, run_id, sha256)

    def status(self, run_id: str) -> dict[str, Any] | None:
        """What the party's ``status.json`` of the run says; None where there is none, or none that can be read."""
        return self._get(RunKeys(run_id).status(self._settings.party))

    def put_status(self, run_id: str, status: dict[str, Any]) -> None:
        """Write the party's ``status.json`` of the run, all of it."""
        self._put(RunKeys(run_id).status(self._settings.party), json.dumps(status))

    def put_log(self, run_id: str, text: str) -> None:
        """Write the party's ``log.txt`` of the run, all of it."""
        self._put(RunKeys(run_id).log(self._settings.party), text, "text/plain; charset=utf-8")

    # --- the sign of life

    def presence(self) -> dict[str, Any] | None:
        """What this party's agent said of itself last."""
        return self._get(agent_key(self._settings.party))

    def put_presence(self, presence: dict[str, Any]) -> None:
        """Say that this party's agent is there, and what it does."""
        self._put(agent_key(self._settings.party), json.dumps(presence))

    # --- mail that nobody will read

    def drop_mail(self, over: Callable[[str], bool]) -> bool:
        """Take notices of runs that are ``over`` out of the party's data queue: its trainer, who would, has ended.

        Returns False where there is another run's notice, which stays for its trainer; then this ends, so that a
        notice is not received often enough to count as undeliverable.
        """
        name = names.data_queue(self._settings.federation, self._settings.party)
        url = self._queue_urls.find(name)
        with self._access.translate_errors(f"receive from {name}"):
            while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                others = 0
                for message in messages:
                    if over(_run_of(message["Body"])):
                        self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    else:
                        others += 1
                        self._sqs.change_message_visibility(
                            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                        )
                if others:
                    return False
        return True

    # --- the wire

    def _get(self, key: str) -> dict[str, Any] | None:
        stored = self._bucket.get(key)
        if stored is None:
            return None
        try:
            found = json.loads(stored.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            log.warning("%s is not a JSON object; it counts as missing", key)
            return None
        return found

    def _put(self, key: str, text: str, content_type: str = objects.JSON) -> None:
        self._bucket.put(key, text.encode(errors="replace"), content_type)


def _run_of(notice: str) -> str:
    """The run whose mail the notice is of; empty where it is none."""
    try:
        address = MailAddress.parse(str(json.loads(notice)["key"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return address.run if address else ""
