"""S3 in memory: the calls of boto3's client that fedsilo makes, with what S3 promises about them and no more.

Reads see the last write at once, every write makes a version, and conditional writes have one winner.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import IO, Any

from fedsilo.simulation.network import Network, client_error
from fedsilo.simulation.world import Process

PAGE_KEYS = 1000
"""The most keys of one page of a list."""


@dataclass(frozen=True)
class Version:
    """One version of an object."""

    id: str
    body: bytes
    modified: datetime
    writer: str
    """The process that wrote it."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """The entity tag, in quotes as S3 gives it."""
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Buckets:
    """What is stored in S3, for all processes of a simulation.

    Attributes:
        on_put: Is called with bucket, key and version after each write.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, list[Version]]] = {}
        self._next_version = 0
        self.on_put: Callable[[str, str, Version], None] = lambda bucket, key, version: None

    def create(self, bucket: str) -> None:
        """Make an empty bucket."""
        self._objects[bucket] = {}

    def versions(self, bucket: str, key: str) -> list[Version]:
        """The versions of an object, the newest last."""
        if bucket not in self._objects:
            raise client_error("GetObject", "NoSuchBucket", 404)
        return self._objects[bucket].get(key, [])

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix``, in their order."""
        return sorted(key for key, versions in self._objects[bucket].items() if versions and key.startswith(prefix))

    def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str], writer: Process) -> Version:
        """Write a version of an object."""
        self._next_version += 1
        now = writer.world.wall_time().replace(microsecond=0)  # S3 tells whole seconds
        version = Version(f"{self._next_version:032x}", body, now, writer.name, dict(metadata))
        self._objects[bucket].setdefault(key, []).append(version)
        self.on_put(bucket, key, version)
        return version

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object with all its versions."""
        self._objects[bucket].pop(key, None)


class S3:
    """boto3's client of S3, as one process uses it."""

    def __init__(self, buckets: Buckets, process: Process, network: Network) -> None:
        self._buckets, self._process, self._network = buckets, process, network

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes | IO[bytes],
        IfNoneMatch: str = "",
        IfMatch: str = "",
        Metadata: Mapping[str, str] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        body = Body if isinstance(Body, bytes) else Body.read()

        def put() -> dict[str, Any]:
            now = self._newest(Bucket, Key)
            if (IfNoneMatch and now) or (IfMatch and now and now.etag != IfMatch):
                raise client_error("PutObject", "PreconditionFailed", 412)
            if IfMatch and not now:
                raise client_error("PutObject", "NoSuchKey", 404)
            version = self._buckets.put(Bucket, Key, body, Metadata or {}, self._process)
            return {"ETag": version.etag, "VersionId": version.id, **self._response()}

        return self._network.call(self._process, "PutObject", Key, put)

    def upload_file(
        self, Filename: str, Bucket: str, Key: str, ExtraArgs: Mapping[str, Any] | None = None, Config: object = None
    ) -> None:
        self.put_object(Bucket=Bucket, Key=Key, Body=Path(Filename).read_bytes(), **(ExtraArgs or {}))

    def get_object(
        self, *, Bucket: str, Key: str, Range: str = "", VersionId: str = "", IfMatch: str = "", **_: Any
    ) -> dict[str, Any]:
        def get() -> dict[str, Any]:
            version = self._found("GetObject", Bucket, Key, VersionId, IfMatch)
            start, body = _part(version.body, Range)
            answer = {**self._head(version), "Body": _Body(body), "ContentLength": len(body)}
            where = f"bytes {start}-{start + len(body) - 1}/{len(version.body)}"
            return answer | ({"ContentRange": where} if Range else {})

        return self._network.call(self._process, "GetObject", Key, get)

    def head_object(self, *, Bucket: str, Key: str, VersionId: str = "", **_: Any) -> dict[str, Any]:
        def head() -> dict[str, Any]:
            return self._head(self._found("HeadObject", Bucket, Key, VersionId, ""))

        return self._network.call(self._process, "HeadObject", Key, head)

    def download_file(
        self, Bucket: str, Key: str, Filename: str, ExtraArgs: Mapping[str, Any] | None = None, Config: object = None
    ) -> None:
        Path(Filename).write_bytes(self.get_object(Bucket=Bucket, Key=Key, **(ExtraArgs or {}))["Body"].read())

    def delete_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        def delete() -> dict[str, Any]:
            self._buckets.delete(Bucket, Key)
            return self._response()

        return self._network.call(self._process, "DeleteObject", Key, delete)

    def list_objects_v2(self, *, Bucket: str, Prefix: str = "", MaxKeys: int = PAGE_KEYS, **_: Any) -> dict[str, Any]:
        def listed() -> dict[str, Any]:
            return {"Contents": [self._entry(Bucket, key) for key in self._buckets.keys(Bucket, Prefix)[:MaxKeys]]}

        return self._network.call(self._process, "ListObjectsV2", Prefix, listed)

    def get_paginator(self, operation: str) -> "_ListPaginator":
        return _ListPaginator(self)

    def _newest(self, bucket: str, key: str) -> Version | None:
        versions = self._buckets.versions(bucket, key)
        return versions[-1] if versions else None

    def _found(self, operation: str, bucket: str, key: str, version_id: str, if_match: str) -> Version:
        versions = [each for each in self._buckets.versions(bucket, key) if version_id in ("", each.id)]
        if not versions:
            raise client_error(operation, "NoSuchVersion" if version_id else "NoSuchKey", 404)
        if if_match and versions[-1].etag != if_match:
            raise client_error(operation, "PreconditionFailed", 412)
        return versions[-1]

    def _head(self, version: Version) -> dict[str, Any]:
        return {
            "ContentLength": len(version.body),
            "ETag": version.etag,
            "VersionId": version.id,
            "LastModified": version.modified,
            "Metadata": dict(version.metadata),
            **self._response(),
        }

    def _entry(self, bucket: str, key: str) -> dict[str, Any]:
        version = self._buckets.versions(bucket, key)[-1]
        return {"Key": key, "Size": len(version.body), "LastModified": version.modified, "ETag": version.etag}

    def _response(self) -> dict[str, Any]:
        date = format_datetime(self._process.world.wall_time(), usegmt=True)
        return {"ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0, "HTTPHeaders": {"date": date}}}


class _Body(io.BytesIO):
    """The body of an answer, as botocore's ``StreamingBody``."""

    def iter_chunks(self, chunk_size: int) -> Iterator[bytes]:
        while chunk := self.read(chunk_size):
            yield chunk


class _ListPaginator:
    """boto3's paginator of ListObjectsV2."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3

    def paginate(self, *, Bucket: str, Prefix: str = "") -> Iterator[dict[str, Any]]:
        contents = self._s3.list_objects_v2(Bucket=Bucket, Prefix=Prefix, MaxKeys=2**31)["Contents"]
        for start in range(0, max(1, len(contents)), PAGE_KEYS):
            yield {"Contents": contents[start : start + PAGE_KEYS]}


def _part(body: bytes, range_header: str) -> tuple[int, bytes]:
    """Where the part of the body begins that a Range header names, and the part.

    The header is ``bytes=first-last``, ``bytes=first-`` or ``bytes=-length``; without one, the part is the body.
    """
    if not range_header:
        return 0, body
    first, _, last = range_header.removeprefix("bytes=").partition("-")
    if not body or (first and int(first) >= len(body)):
        raise client_error("GetObject", "InvalidRange", 416)
    start = int(first) if first else max(0, len(body) - int(last))
    return start, body[start : int(last) + 1 if first and last else None]
