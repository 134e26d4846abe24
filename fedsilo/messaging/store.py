"""Mails as objects of the mail bucket: upload, download, and search for what was mailed before."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from s3transfer.futures import TransferFuture
from s3transfer.manager import TransferManager
from s3transfer.subscribers import BaseSubscriber

from fedsilo import aws, names
from fedsilo.aws import Cause, HubAccess
from fedsilo.errors import HubError, MailError, NoticeError
from fedsilo.keys import MAIL_TAG, MailAddress, RunKeys
from fedsilo.messaging.notice import Notice
from fedsilo.names import EVERYONE
from fedsilo.text import plain

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MULTIPART_BYTES = 100 * 2**20
"""Objects of this size or more are transferred in parallel parts, as AWS recommends from 100 MB on."""

PART_BYTES = 16 * 2**20
"""The size of a part."""

PARALLEL_PARTS = 4

CHUNK_BYTES = 2**20
"""How much of an answer is read at a time."""

READ_ATTEMPTS = 5
"""How often the reading of one object is tried, as often as by boto3's own transfers."""

DIGEST = "sha256"
"""The metadata entry of an object that holds its SHA-256 in hexadecimal, for those who find it without a notice."""

_TAG = "=".join(MAIL_TAG)

_OF_THE_OBJECT = (Cause.DENIED, Cause.ENCRYPTION)
"""The causes that lie with the mail if this party can read another object: a KMS key of the sender's. S3 answers the
same if this party's role or the hub's own key is at fault."""


class MailStore:
    """The mails of a federation in the mail bucket, as one party reads and writes them.

    Every method raises ``HubError`` if the bucket is missing or AWS does not answer, and ``AccessError`` if AWS denies
    the call.
    """

    def __init__(self, access: HubAccess, party: str, limit: int, multipart_bytes: int = MULTIPART_BYTES) -> None:
        """Make a client of S3; nothing is asked of S3 yet.

        Args:
            access: Who reads and writes in which hub.
            party: The party that reads and writes.
            limit: The size in bytes of the largest mail that is downloaded.
            multipart_bytes: The size in bytes from which on objects are transferred in parts.
        """
        self._s3 = access.s3()
        self._access = access
        self._party = party
        self._bucket = names.mail_bucket(access.federation, access.account, access.region)
        self._limit = limit
        self._multipart_bytes = multipart_bytes
        self._transfer = TransferConfig(
            multipart_threshold=multipart_bytes, multipart_chunksize=PART_BYTES, max_concurrency=PARALLEL_PARTS
        )

    def upload(self, path: Path, address: MailAddress) -> Notice:
        """Write a mail's file to its address. Returns the notice of the mail."""
        notice = Notice(address, path.stat().st_size, _sha256(path))
        options = {"Metadata": {DIGEST: notice.digest}, "Tagging": _TAG}
        with self._access.translate_errors(f"write {self._bucket}/{notice.key}"):
            if notice.size < self._multipart_bytes:
                with path.open("rb") as file:
                    self._s3.put_object(Bucket=self._bucket, Key=notice.key, Body=file, **options)  # type: ignore[arg-type]
            else:
                self._s3.upload_file(str(path), self._bucket, notice.key, ExtraArgs=options, Config=self._transfer)
        return notice

    def upload_model(self, path: Path, key: str) -> None:
        """Write a model's file to a key. A model is not a mail, and does not expire."""
        with self._access.translate_errors(f"write {self._bucket}/{key}"):
            self._s3.upload_file(str(path), self._bucket, key, Config=self._transfer)

    def download(self, notice: Notice, path: Path) -> None:
        """Read a mail into a file, and check size and digest.

        Raises:
            NoticeError: There is no such mail, or it is not as the notice says.
            MailError: The mail is too large, can't be read, or is not as its own metadata says. Only its sender can
                have caused that.
        """
        with self._access.translate_errors(f"read {self._bucket}/{notice.key}"):
            try:
                self._read(notice, path)
            except ClientError as error:
                if aws.cause(error) not in _OF_THE_OBJECT or not self._can_read_another(notice):
                    raise
                self._read_again(notice, path)
        if (digest := _sha256(path)) != notice.digest:
            said = plain(notice.digest, 12)
            raise MailError(f"{notice} has SHA-256 {plain(digest, 12)}, but says {said}: it was changed on the way")

    def verify(self, notice: Notice) -> None:
        """Check that there is a mail as its notice says. Whether it can be read is seen when it is downloaded.

        Raises:
            NoticeError: There is no such mail, or it is not as the notice says.
            MailError: The mail is too large.
        """
        with self._access.translate_errors(f"read {self._bucket}/{notice.key}"):
            try:
                self._check(notice, self._look(notice.key))
            except ClientError as error:
                cause = aws.cause(error)
                if cause is Cause.NO_OBJECT:
                    raise NoticeError(f"{notice} does not exist") from error
                if cause not in (Cause.ARCHIVED, *_OF_THE_OBJECT):
                    raise

    def newest(self, prefix: str, kind: str | None = None) -> Notice | None:
        """The mail of a kind with the highest number below ``prefix``; None if no mail of the kind is there."""
        mails = [address for address in self.addresses(prefix) if address.kind == kind]
        if not mails:
            return None
        address = max(mails, key=lambda each: each.seq)
        with self._access.translate_errors(f"read {self._bucket}/{address.key}"):
            found = self._look(address.key)
        return Notice(address, found.size, found.digest)

    def addresses(self, prefix: str) -> list[MailAddress]:
        """The addresses of all mails below ``prefix``."""
        with self._access.translate_errors(f"list {self._bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [address for address in map(MailAddress.parse, keys) if address is not None]

    def _read(self, notice: Notice, path: Path) -> None:
        """Download a mail whose object is as its notice says, in one stream or in parallel parts."""
        try:
            if notice.size < self._multipart_bytes:
                self._read_whole(notice, path)
            else:
                found = self._look(notice.key)
                self._check(notice, found)
                self._read_parts(notice, path, found.etag)
        except ClientError as error:
            match aws.cause(error):
                case Cause.NO_OBJECT:
                    raise NoticeError(f"{notice} does not exist") from error
                case Cause.ARCHIVED:
                    raise _unreadable(notice, error) from error
            raise

    def _read_again(self, notice: Notice, path: Path) -> None:
        """Download a mail once more; if it still can't be read, that is because of its object."""
        try:
            self._read(notice, path)
        except ClientError as error:
            if aws.cause(error) in _OF_THE_OBJECT:
                raise _unreadable(notice, error) from error
            raise

    def _can_read_another(self, notice: Notice) -> bool:
        """Whether this party can read an object that it may read by the same right as the mail, and that others wrote.

        Raises S3's error if it can't; returns False if there is no such object.
        """
        keys = RunKeys(notice.address.run)
        key = keys.run_json if notice.address.receiver == EVERYONE else keys.status(self._party)
        try:
            self._look(key)
        except ClientError as error:
            if aws.cause(error) is not Cause.NO_OBJECT:
                raise
            return False
        return True

    def _look(self, key: str) -> "_Found":
        """What S3 says about an object. HeadObject would not say why it failed."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")
        except ClientError as error:
            if aws.cause(error) is not Cause.EMPTY:
                raise
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        with closing(answer["Body"]):
            return _Found.of(answer)

    def _read_whole(self, notice: Notice, path: Path) -> None:
        """Download in one stream. The client tries a failed call again, but not the reading of its answer."""
        for attempts_left in reversed(range(READ_ATTEMPTS)):
            answer = self._s3.get_object(Bucket=self._bucket, Key=notice.key)
            try:
                with closing(answer["Body"]) as stream:
                    self._check(notice, _Found.of(answer))
                    with path.open("wb") as file:
                        while chunk := stream.read(CHUNK_BYTES):
                            file.write(chunk)
                return
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                if not attempts_left:
                    raise

    def _read_parts(self, notice: Notice, path: Path, etag: str) -> None:
        """Download the object that has the ETag in parts; each is of that object and no other."""
        try:
            with TransferManager(self._s3, self._transfer) as transfers:
                wanted = [_ETag(etag)]
                transfers.download(self._bucket, notice.key, str(path), subscribers=wanted).result()
        except S3DownloadFailedError as error:
            raise NoticeError(f"{notice} was replaced while it was read") from error
        except RetriesExceededError as error:
            raise HubError(f"{notice} could not be read, the connection broke: {error.last_exception}") from error

    def _check(self, notice: Notice, found: "_Found") -> None:
        """Compare the notice with what S3 says about the object, before the object is read."""
        if (found.size, found.digest) != (notice.size, notice.digest):
            raise NoticeError(
                f"{notice} is {found.size:,} bytes with SHA-256 {plain(found.digest, 12) or 'unsaid'}, its notice says "
                f"{notice.size:,} and {plain(notice.digest, 12) or 'nothing'}"
            )
        if found.size > self._limit:
            raise MailError(f"{notice} is {found.size:,} bytes; a mail of this run has at most {self._limit:,}")


@dataclass(frozen=True)
class _Found:
    """What S3 says about an object."""

    size: int
    """In bytes."""
    digest: str
    """The SHA-256 that the object's metadata name; empty if they name none."""
    etag: str
    """Differs from those of the objects that had the key before."""

    @classmethod
    def of(cls, answer: "GetObjectOutputTypeDef") -> "_Found":
        """Read the answer to GetObject. In the answer to a request for a part, the size follows a slash."""
        _, _, size = answer.get("ContentRange", "").rpartition("/")
        return cls(int(size or answer["ContentLength"]), answer["Metadata"].get(DIGEST, ""), answer["ETag"])


class _ETag(BaseSubscriber):
    """Binds a download to the object that has an ETag: S3 refuses to answer with another one (If-Match).

    No other right is needed for that, as it would be to read a version by its id.
    """

    def __init__(self, etag: str) -> None:
        self._etag = etag

    def on_queued(self, future: TransferFuture, **_: object) -> None:
        """Set the ETag before the first request."""
        future.meta.provide_object_etag(self._etag)


def _unreadable(notice: Notice, error: ClientError) -> MailError:
    return MailError(f"{notice} can't be read: {error.response['Error']['Code']}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
