"""Mails as objects of the mail bucket: upload, download, and search for what was mailed before."""

import hashlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from fedsilo import aws, names
from fedsilo.aws import HubAccess
from fedsilo.errors import MailError, NoticeError
from fedsilo.keys import MAIL_TAG, MailAddress
from fedsilo.messaging.notice import Notice
from fedsilo.text import plain

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

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

_TOO_MANY_REQUESTS = 429


class MailStore:
    """The mails of a federation in the mail bucket, as one party reads and writes them.

    Every method raises ``HubError`` if the bucket is missing or AWS does not answer, and ``AccessError`` if AWS denies
    the call.
    """

    def __init__(self, access: HubAccess, limit: int, multipart_bytes: int = MULTIPART_BYTES) -> None:
        """Make a client of S3; nothing is asked of AWS yet.

        Args:
            access: Who reads and writes in which hub.
            limit: The size in bytes of the largest mail that is downloaded.
            multipart_bytes: The size in bytes from which on objects are transferred in parts.
        """
        self._s3 = aws.s3(access.region)
        self._access = access
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
                if notice.size < self._multipart_bytes:
                    self._read_whole(notice, path)
                else:
                    self._check(notice, self._s3.head_object(Bucket=self._bucket, Key=notice.key))
                    self._s3.download_file(self._bucket, notice.key, str(path), Config=self._transfer)
            except ClientError as error:
                code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
                if code in ("NoSuchKey", "404"):
                    raise NoticeError(f"{notice} does not exist") from error
                # Such as an object that is encrypted with a key of the sender's.
                if 400 <= status < 500 and status != _TOO_MANY_REQUESTS:
                    raise MailError(f"{notice} can't be read: {code}") from error
                raise
        if (digest := _sha256(path)) != notice.digest:
            said = plain(notice.digest, 12)
            raise MailError(f"{notice} has SHA-256 {plain(digest, 12)}, but says {said}: it was changed on the way")

    def newest(self, prefix: str, kind: str | None = None) -> Notice | None:
        """The mail of a kind with the highest number below ``prefix``; None if no mail of the kind is there."""
        found = [address for address in self.addresses(prefix) if address.kind == kind]
        if not found:
            return None
        address = max(found, key=lambda each: each.seq)
        with self._access.translate_errors(f"read {self._bucket}/{address.key}"):
            head = self._s3.head_object(Bucket=self._bucket, Key=address.key)
        return Notice(address, head["ContentLength"], head["Metadata"].get(DIGEST, ""))

    def addresses(self, prefix: str) -> list[MailAddress]:
        """The addresses of all mails below ``prefix``."""
        with self._access.translate_errors(f"list {self._bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [address for address in map(MailAddress.parse, keys) if address is not None]

    def _read_whole(self, notice: Notice, path: Path) -> None:
        """Download in one stream. The client tries a failed call again, but not the reading of its answer."""
        for attempts_left in reversed(range(READ_ATTEMPTS)):
            answer = self._s3.get_object(Bucket=self._bucket, Key=notice.key)
            try:
                with closing(answer["Body"]) as stream:
                    self._check(notice, answer)
                    with path.open("wb") as file:
                        while chunk := stream.read(CHUNK_BYTES):
                            file.write(chunk)
                return
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                if not attempts_left:
                    raise

    def _check(self, notice: Notice, answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> None:
        """Compare the notice with what S3 says about the object, before the object is read."""
        size, digest = answer["ContentLength"], answer["Metadata"].get(DIGEST, "")
        if (size, digest) != (notice.size, notice.digest):
            raise NoticeError(
                f"{notice} is {size:,} bytes with SHA-256 {plain(digest, 12) or 'unsaid'}, its notice says "
                f"{notice.size:,} and {plain(notice.digest, 12) or 'nothing'}"
            )
        if size > self._limit:
            raise MailError(f"{notice} is {size:,} bytes; a mail of this run has at most {self._limit:,}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
