"""The objects of the mail bucket, as one role reads and writes them.

S3 answers "access denied" about a missing object to everybody who may not list the whole bucket. So a read that is
denied is followed by a list of the key: here, once for all rooms.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions"
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fedsilo import aws, names
from fedsilo.aws import Cause
from fedsilo.errors import UnreadableError
from fedsilo.files import replacing

JSON = "application/json"

CHUNK_BYTES = 2**20

READ_BYTES = 64 * 2**20
"""How much of an object is read where the reader names no limit: more than a party writes of any run."""

MODEL_BYTES = 2**36
"""The largest object that is downloaded to a file."""


@dataclass(frozen=True)
class Written:
    """What S3 says of an object that was written."""

    etag: str
    """What a conditional write names, in order to replace this object and no other."""
    version: str
    """The id of the object's version; empty in a bucket that keeps no versions."""


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read."""

    body: bytes
    etag: str
    """As in ``Written``."""
    version: str
    """As in ``Written``."""
    modified: datetime
    age_seconds: float
    """Seconds since the object was written. Both times are from the clock of S3."""


class MailBucket:
    """Reads and writes objects of a federation's mail bucket.

    Every method raises ``AccessError`` where AWS denies the call, and ``HubError`` where the bucket is missing or AWS
    does not answer. A method that reads also raises ``UnreadableError``.
    """

    def __init__(self, access: aws.HubAccess, attempts: int = aws.ATTEMPTS) -> None:
        """Make a client of S3; nothing is asked of S3 yet.

        Args:
            access: Who reads and writes in which hub.
            attempts: How often a call is tried.
        """
        self.federation = access.federation
        self.name = names.mail_bucket(access.federation, access.account, access.region)
        self.s3 = access.s3(attempts)
        self._access = access

    def get(self, key: str, limit: int = READ_BYTES, version: str = "") -> StoredObject | None:
        """Read an object from its beginning.

        Args:
            key: The object's key.
            limit: The most bytes to read.
            version: The id of the version to read; empty for the newest.

        Returns:
            The object, or None if it does not exist.
        """
        with self._access.translate_errors(f"read {self.name}/{key}"):
            return _stored(self._answer(key, **({"VersionId": version} if version else {})), limit)

    def get_end(self, key: str, limit: int) -> StoredObject | None:
        """Read the last ``limit`` bytes of an object; None if it does not exist."""
        with self._access.translate_errors(f"read {self.name}/{key}"):
            try:
                return _stored(self._answer(key, Range=f"bytes=-{limit}"), limit)
            except ClientError as error:
                if aws.cause(error) is not Cause.EMPTY:
                    raise
                return _stored(self._answer(key), limit)

    def download(self, key: str, to: Path) -> int | None:
        """Write an object to a file, a chunk at a time. The file appears only when it is complete.

        Returns:
            The object's size in bytes, or None if it does not exist.

        Raises:
            UnreadableError: The object is larger than ``MODEL_BYTES``, or can't be read as it is stored.
        """
        with self._access.translate_errors(f"read {self.name}/{key}"):
            answer = self._answer(key)
            if answer is None:
                return None
            if answer["ContentLength"] > MODEL_BYTES:
                size = answer["ContentLength"]
                raise UnreadableError(f"{self.name}/{key} is {size:,} bytes; at most {MODEL_BYTES:,} are downloaded")
            with replacing(to, int(answer["ContentLength"])) as part, part.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                    file.write(chunk)
        return int(answer["ContentLength"])

    def exists(self, key: str) -> bool:
        """Whether the object exists. Needs the right to list the key, and not the right to read it."""
        with self._access.translate_errors(f"list {self.name}/{key}"):
            return self._is_listed(key)

    def put(self, key: str, body: bytes, content_type: str = JSON) -> None:
        """Write an object, over an earlier one."""
        with self._access.translate_errors(f"write {self.name}/{key}"):
            self.s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def create(self, key: str, body: bytes) -> Written | None:
        """Write an object of JSON if its key is free.

        Returns:
            What was written; None if an object of that key exists, which stays as it is.
        """
        return self._put_if(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> Written | None:
        """Write an object of JSON over the one with this ETag.

        Returns:
            What was written; None if the object is another one by now, which stays as it is.
        """
        return self._put_if(key, body, IfMatch=etag)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, in their order; a page is fetched when it is needed."""
        with self._access.translate_errors(f"list {self.name}/{prefix}"):
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                yield from (found["Key"] for found in page.get("Contents", []))

    def _put_if(self, key: str, body: bytes, **condition: str) -> Written | None:
        with self._access.translate_errors(f"write {self.name}/{key}"):
            try:
                answer = self.s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=JSON, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if aws.cause(error) not in (Cause.CHANGED, Cause.NO_OBJECT):
                    raise
                return None
        return Written(answer["ETag"], answer.get("VersionId", ""))

    def _answer(self, key: str, **options: str) -> Any:
        """S3's answer to GetObject, or None if the object or its version does not exist."""
        try:
            return self.s3.get_object(Bucket=self.name, Key=key, **options)  # type: ignore[arg-type]
        except ClientError as error:
            cause = aws.cause(error)
            if cause is Cause.NO_OBJECT or (cause is Cause.DENIED and not self._is_listed(key)):
                return None
            if "VersionId" in options and cause is Cause.NO_VERSION:
                return None
            if cause in (Cause.ARCHIVED, Cause.ENCRYPTION):
                code = error.response["Error"]["Code"]
                raise UnreadableError(
                    f"{self.name}/{key} can't be read as its writer stored it ({code}): in a foreign storage class or "
                    "under a foreign key"
                ) from error
            raise

    def _is_listed(self, key: str) -> bool:
        answer = self.s3.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
        return any(found["Key"] == key for found in answer.get("Contents", []))


def _stored(answer: Any, limit: int) -> StoredObject | None:
    if answer is None:
        return None
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    modified = answer["LastModified"]
    age = max(0.0, (now - modified).total_seconds())
    with closing(answer["Body"]) as stream:
        return StoredObject(stream.read(limit), answer["ETag"], answer.get("VersionId", ""), modified, age)
