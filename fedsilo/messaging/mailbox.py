"""Mail: one message between two parties, or from the aggregator to all of them.

The payload is one safetensors file, an S3 object below the sender's own prefix; the notice in the receiver's SQS FIFO
queue carries its key, size and SHA-256. A notice is a hint, not a record: the receiver acknowledges it once it holds
the payload, and whatever is lost can be found again in the bucket (``last``, ``newest_broadcast``). The sender of a
mail is the prefix it lies in. Nothing that arrives is ever unpickled or executed.
"""

import hashlib
import json
import logging
import math
import shutil
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fedsilo import aws, names, queue_settings
from fedsilo.config.environment import Settings
from fedsilo.errors import MailError, NoticeError
from fedsilo.keys import MAIL_TAG, MailAddress, RunKeys
from fedsilo.messaging.messages import MODEL
from fedsilo.messaging.queues import QueueUrls

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef
    from mypy_boto3_sqs.type_defs import MessageTypeDef

MULTIPART_BYTES = 100 * 2**20
"""Mails from this size on travel in parallel parts, as AWS recommends from 100 MB on."""

PART_BYTES = 16 * 2**20
"""A part's size; four travel at a time."""

CHUNK_BYTES = 2**20
"""What is read of an answer at a time."""

TOO_MANY_REQUESTS = 429

READ_ATTEMPTS = 5
"""Tries of reading one answer of S3 to its end, as many as boto3's own transfers make."""

BATCH = 10
"""How many messages SQS takes or gives in one call."""

NOTIFIERS = 8
"""How many notices of a broadcast are sent at a time."""

DIGEST = "sha256"
"""The object metadata that keeps a mail's digest, for those who find it without its notice."""

TAG = "=".join(MAIL_TAG)
"""The tag by which the mail bucket's lifecycle rule knows what expires; ledgers and models have none."""

_TRANSFER = TransferConfig(multipart_threshold=MULTIPART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)

log = logging.getLogger(__name__)

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Notice:
    """Where a mail lies and what it must look like: ``size`` in bytes, ``digest`` the SHA-256 in hex."""

    address: MailAddress
    key: str
    size: int
    digest: str


@dataclass(frozen=True)
class Mail:
    """An opened mail. ``kind`` is the word for its FedML message type; ``groups`` holds its tensors.

    A group is ``MODEL``, whose tensors are views of a file (copy what is to be kept), or one of the sums.
    """

    sender: str
    seq: int
    kind: str
    round_idx: int
    fields: dict[str, Any]
    groups: dict[str, "OrderedDict[str, torch.Tensor]"] = field(default_factory=dict)


class Mailbox:
    """A party's end of the mail of one run.

    ``limit`` is the largest mail in bytes that it opens. Raises ``HubError`` at once where the party's queue or the
    bucket is missing, and ``AccessError`` where its role may not use them.
    """

    def __init__(self, settings: Settings, run: str, limit: int) -> None:
        self.settings = settings
        self.keys = RunKeys(run)
        self.limit = limit
        self._s3 = aws.s3(settings.hub_region)
        self._sqs = aws.sqs(settings.hub_region)
        self._access = settings.hub_access(settings.role)
        self._queue_urls = QueueUrls(self._sqs, self._access)
        self._seen: set[Notice] = set()
        self._handles: list[str] = []  # of notices to acknowledge
        self._pool = ThreadPoolExecutor(NOTIFIERS, thread_name_prefix="mail")
        self._spool = Path(tempfile.mkdtemp(prefix="fedsilo-mail-"))
        self._queue(settings.party)
        self._seq = self._last_seq() + 1

    # --- sending

    def send(
        self, receiver: str, kind: str, round_idx: int, fields: Mapping[str, Any], groups: Mapping[str, Tensors]
    ) -> None:
        """Put the mail below the party's own prefix and its notice into the receiver's queue."""
        key = self.keys.mail(self.settings.party, receiver, self._seq, kind)
        self._seq += 1
        self._notify(receiver, self._put(key, kind, round_idx, fields, groups))

    def broadcast(
        self,
        receivers: Iterable[str],
        kind: str,
        round_idx: int,
        fields: Mapping[str, Any],
        groups: Mapping[str, Tensors],
    ) -> Notice:
        """Put one object for all receivers; it is the checkpoint of the round too. Returns its notice."""
        notice = self._put(self.keys.broadcast(round_idx), kind, round_idx, fields, groups)
        list(self._pool.map(lambda receiver: self._notify(receiver, notice), receivers))
        return notice

    def remind(self, receiver: str, notice: Notice) -> None:
        """Send the notice of a broadcast again, to a silo that comes late."""
        self._notify(receiver, notice)

    # --- receiving

    def receive(self, seconds: float) -> list[Notice]:
        """Wait up to ``seconds`` (at most ``queues.LONG_POLL_SECONDS``) for notices.

        They are acknowledged in the background, ``BATCH`` at a time or when nothing comes; one that is not comes again
        and is dropped.

        What is of another run, not for this party, malformed or seen before is dropped with a line in the log.
        """
        doing = f"receive from {names.data_queue(self.settings.federation, self.settings.party)}"
        queue = self._queue(self.settings.party)
        with self._access.translate_errors(doing):
            answer = self._sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=min(queue_settings.LONG_POLL_SECONDS, max(0, math.ceil(seconds))),
            )
        messages = answer.get("Messages", [])
        self._handles += [message["ReceiptHandle"] for message in messages]
        if len(self._handles) >= BATCH or not messages:
            self._acknowledge()
        notices = dict.fromkeys(map(self._read_notice, messages))  # without duplicates
        return [notice for notice in notices if notice is not None]

    def open(self, notice: Notice) -> Mail:
        """Fetch a mail and check it: size, digest, format.

        Raises ``NoticeError`` where the notice does not fit the object, and ``MailError`` where the object is no mail
        of this run: only the sender can have put it there.
        """
        path = self._spool / uuid.uuid4().hex
        try:
            self._fetch(notice, path)
            mail = _read(path, notice)
        finally:
            path.unlink(missing_ok=True)  # the tensors' map of it stays
        self._seen.add(notice)
        return mail

    def publish_model(self, model: Tensors) -> None:
        """Put ``model.safetensors`` below the party's prefix: the run's result, under the tensors' own names."""
        path = self._spool / uuid.uuid4().hex
        key = self.keys.model(self.settings.party)
        try:
            save_file({name: tensor.contiguous() for name, tensor in model.items()}, path)
            with self._access.translate_errors(f"write {self.settings.bucket}/{key}"):
                self._s3.upload_file(str(path), self.settings.bucket, key, Config=_TRANSFER)
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish what is acknowledged in the background and remove the spool; safe to call twice."""
        self._acknowledge()
        self._pool.shutdown()
        shutil.rmtree(self._spool, ignore_errors=True)

    # --- finding what was mailed before

    def newest_broadcast(self) -> Notice | None:
        """The newest global model: where a party that was started again goes on."""
        return self._find(names.AGGREGATOR, names.EVERYONE)

    def last(self, sender: str, kind: str) -> Notice | None:
        """The last mail of a kind that ``sender`` addressed to this party."""
        return self._find(sender, self.settings.party, kind)

    def _find(self, sender: str, receiver: str, kind: str = "") -> Notice | None:
        suffix = f"-{kind}.safetensors" if kind else ".safetensors"
        keys = [key for key in self._list(self.keys.outbox(sender, receiver)) if key.endswith(suffix)]
        address = MailAddress.parse(max(keys)) if keys else None
        if address is None:
            return None
        key = max(keys)
        with self._access.translate_errors(f"read {self.settings.bucket}/{key}"):
            head = self._s3.head_object(Bucket=self.settings.bucket, Key=key)
        return Notice(address, key, head["ContentLength"], head["Metadata"].get(DIGEST, ""))

    def _list(self, prefix: str) -> list[str]:
        with self._access.translate_errors(f"list {self.settings.bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.settings.bucket, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def _last_seq(self) -> int:
        own = self.keys.outbox(self.settings.party, "")[:-1]
        found = [MailAddress.parse(key) for key in self._list(own)]
        return max((each.seq for each in found if each and each.receiver != names.EVERYONE), default=-1)

    # --- the wire

    def _put(
        self, key: str, kind: str, round_idx: int, fields: Mapping[str, Any], groups: Mapping[str, Tensors]
    ) -> Notice:
        path = self._spool / uuid.uuid4().hex
        try:
            size, digest = _write(path, kind, round_idx, fields, groups)
            extra = {"Metadata": {DIGEST: digest}, "Tagging": TAG}
            with self._access.translate_errors(f"write {self.settings.bucket}/{key}"):
                if size < MULTIPART_BYTES:
                    with path.open("rb") as file:
                        self._s3.put_object(Bucket=self.settings.bucket, Key=key, Body=file, **extra)  # type: ignore[arg-type]
                else:
                    self._s3.upload_file(str(path), self.settings.bucket, key, ExtraArgs=extra, Config=_TRANSFER)
        finally:
            path.unlink(missing_ok=True)
        address = MailAddress.parse(key)
        assert address is not None, key  # noqa: S101  (made by RunKeys)
        return Notice(address, key, size, digest)

    def _notify(self, receiver: str, notice: Notice) -> None:
        unique = uuid.uuid4().hex
        with self._access.translate_errors(f"send to {names.data_queue(self.settings.federation, receiver)}"):
            self._sqs.send_message(
                QueueUrl=self._queue(receiver),
                MessageBody=json.dumps({"key": notice.key, "size": notice.size, "sha256": notice.digest}),
                # A group of its own: a receiver that dies with one notice in hand must not hold up the next. Order
                # is no matter, every mail says its round; what FIFO gives is that a retried call sends once.
                MessageGroupId=unique,
                MessageDeduplicationId=unique,
            )

    def _fetch(self, notice: Notice, path: Path) -> None:
        by = f"{notice.key} by {notice.address.sender}"
        with self._access.translate_errors(f"read {self.settings.bucket}/{notice.key}"):
            try:
                self._download(notice, path)
            except ClientError as error:
                code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
                if code in ("NoSuchKey", "404"):
                    raise NoticeError(f"{by} is not there") from error
                if 400 <= status < 500 and status != TOO_MANY_REQUESTS:  # such as encrypted with a key of the sender's
                    raise MailError(f"{by} can't be read: {code}") from error
                raise
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != notice.digest:
            raise MailError(
                f"{by} has SHA-256 {digest[:12]}…, but says {notice.digest[:12]}…: it was changed on the way"
            )

    def _download(self, notice: Notice, path: Path) -> None:
        if notice.size < MULTIPART_BYTES:
            self._copy_object(notice, path)
        else:
            self._check_notice(notice, self._s3.head_object(Bucket=self.settings.bucket, Key=notice.key))
            self._s3.download_file(self.settings.bucket, notice.key, str(path), Config=_TRANSFER)

    def _copy_object(self, notice: Notice, path: Path, attempts: int = READ_ATTEMPTS) -> None:
        """Download in one stream. The client tries a call again, but not the reading of its answer."""
        answer = self._s3.get_object(Bucket=self.settings.bucket, Key=notice.key)
        try:
            with closing(answer["Body"]) as stream:
                self._check_notice(notice, answer)
                with path.open("wb") as file:
                    while chunk := stream.read(CHUNK_BYTES):
                        file.write(chunk)
        except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
            if attempts == 1:
                raise
            self._copy_object(notice, path, attempts - 1)

    def _check_notice(self, notice: Notice, answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> None:
        """Compare it with what S3 says of the object, which only the sender can have put there, before reading it."""
        size, digest = answer["ContentLength"], answer["Metadata"].get(DIGEST, "")
        by = f"{notice.key} by {notice.address.sender}"
        if (size, digest) != (notice.size, notice.digest):
            raise NoticeError(
                f"{by} is {size:,} bytes with SHA-256 {digest[:12] or 'unsaid'}…, its notice says {notice.size:,} and "
                f"{notice.digest[:12] or 'nothing'}…"
            )
        if size > self.limit:
            raise MailError(f"{by} is {size:,} bytes; a mail of this run has at most {self.limit:,}")

    def _acknowledge(self) -> None:
        """Delete the notices received so far, in the background."""
        while self._handles:
            batch, self._handles = self._handles[:BATCH], self._handles[BATCH:]
            self._pool.submit(self._delete, batch)

    def _delete(self, handles: list[str]) -> None:
        try:
            self._sqs.delete_message_batch(
                QueueUrl=self._queue(self.settings.party),
                Entries=[{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(handles)],
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("notices were not acknowledged, they will come again and be dropped: %s", error)

    def _read_notice(self, message: "MessageTypeDef") -> Notice | None:
        try:
            body = json.loads(message["Body"])
            key, size, digest = str(body["key"]), int(body["size"]), str(body["sha256"])
            address = MailAddress.parse(key)
            if address is None or size < 0:
                raise ValueError(key)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # OverflowError: int(Infinity)
            log.warning("dropped a notice that is none: %.80s", message.get("Body", ""))
            return None
        if address.run != self.keys.run:
            log.warning("dropped mail of run %s", address.run)
            return None
        if address.receiver not in (self.settings.party, names.EVERYONE):
            log.warning("dropped mail for %s", address.receiver)
            return None
        notice = Notice(address, key, size, digest)
        if notice in self._seen and address.receiver != names.EVERYONE:  # reminders of a broadcast are sent on purpose
            log.info("dropped a second notice of %s", key)
            return None
        return notice

    def _queue(self, party: str) -> str:
        return self._queue_urls.find(names.data_queue(self.settings.federation, party))


def _write(
    path: Path, kind: str, round_idx: int, fields: Mapping[str, Any], groups: Mapping[str, Tensors]
) -> tuple[int, str]:
    """Write a mail's file. Returns its size in bytes and its SHA-256 in hex."""
    tensors = {
        f"{group}/{name}": tensor.contiguous() for group, named in groups.items() for name, tensor in named.items()
    }
    header = json.dumps({"kind": kind, "round": round_idx, "fields": dict(fields)})
    save_file(tensors, path, metadata={"fedsilo": header})
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, notice: Notice) -> Mail:
    """Read a mail's file without copying its tensors. Raises ``MailError`` where it is not a mail."""
    where = f"{notice.key} by {notice.address.sender}"
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("fedsilo", ""))
            kind, round_idx, fields = str(header["kind"]), int(header["round"]), dict(header["fields"])
            groups: dict[str, OrderedDict[str, torch.Tensor]] = {}
            for key in file.keys():  # noqa: SIM118  (no mapping)
                group, _, name = key.partition("/")
                tensor = file.get_tensor(key)
                # A view keeps the whole file in memory; only the model is worth that, and only while it is used.
                groups.setdefault(group, OrderedDict())[name] = tensor if group == MODEL else tensor.clone()
    except SafetensorError as error:
        raise MailError(f"{where} is not a safetensors file: {error}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, RuntimeError) as error:
        raise MailError(f"{where} has no readable header: {error}") from error
    if notice.address.receiver == names.EVERYONE and round_idx != notice.address.seq:
        raise MailError(f"{where} says that it is of round {round_idx}")
    return Mail(notice.address.sender, notice.address.seq, kind, round_idx, fields, groups)
