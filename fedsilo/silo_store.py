"""A silo's own store: what must survive a restart of its trainer, and never leaves the silo.

It is a folder on one machine, and a bucket in the silo's own account on AWS (``stacks/store.py``). It is never in the
hub: no other party can read it, and neither can the hub's owner. Whoever uses it names its objects below a prefix of
its own, such as ``RUNS``.

Writes may depend on what is there, so that two processes can't undo each other's work::

    before = store.get(key)
    while not (store.create(key, new) if before is None else store.replace(key, new, before.version)):
        before = store.get(key)  # somebody else was faster: decide again

A conditional write succeeds if the object holds the body afterwards. A call whose answer was lost may thus be repeated.
So two writers that must exclude each other write different bodies: each puts its own name into the body.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from botocore.exceptions import ClientError

from fedsilo import aws, names
from fedsilo.aws import Cause
from fedsilo.config.environment import Settings
from fedsilo.errors import StoreError
from fedsilo.files import explained, replacing

RUNS = "runs/"
"""The prefix of what is kept for a run in progress: ``runs/<run>/…``. It is removed once the run has ended."""

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")

_CHANGED = (Cause.CHANGED, Cause.CONFLICT, Cause.NO_OBJECT)
"""Why S3 refuses a conditional write whose condition does not hold; the last one if there is no object to replace.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""


@dataclass(frozen=True)
class Kept:
    """An object as it was read."""

    body: bytes
    version: str
    """Says which content this is, for ``SiloStore.replace``. It means nothing else."""


class SiloStore(Protocol):
    """Bytes by key. A key is made of segments of a-z, 0-9, dot, hyphen and underscore, with slashes between them.

    Every method raises ``StoreError`` if a folder can't be used, ``DiskError`` if its disk is full, and as
    ``aws.translate_errors`` for a bucket.
    """

    def get(self, key: str) -> Kept | None:
        """Read an object; None if there is none."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whatever is there."""

    def create(self, key: str, body: bytes) -> bool:
        """Write an object if there is none. Returns whether the object holds ``body`` afterwards."""

    def replace(self, key: str, body: bytes, version: str) -> bool:
        """Write over the content that ``get`` has returned. Returns whether the object holds ``body`` afterwards."""

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``, sorted."""


def of(settings: Settings) -> SiloStore | None:
    """The store of a party; None if it has none, as the aggregator."""
    if not settings.store:
        return None
    if not settings.store.startswith("s3://"):
        return FolderStore(Path(settings.store))
    check = f"stack {names.stack(settings.federation, settings.party, 'store')} is deployed"
    region = os.environ.get("AWS_REGION", settings.hub_region)  # the party's own
    return BucketStore(settings.store.removeprefix("s3://").rstrip("/"), region, settings.role, check)


def remove_other_runs(store: SiloStore, run_id: str) -> None:
    """Remove what is kept for other runs. They have ended: a party takes part in one run after the other."""
    for key in store.keys(RUNS):
        if not key.startswith(f"{RUNS}{run_id}/"):
            store.delete(key)


class FolderStore:
    """A store in a folder that only its owner may open."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist. Raises ``StoreError`` if that is not possible."""
        self._folder = folder
        with self._translate_errors():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def get(self, key: str) -> Kept | None:
        """As ``SiloStore.get``."""
        with self._translate_errors():
            try:
                body = self._path(key).read_bytes()
            except FileNotFoundError:
                return None
        return Kept(body, hashlib.sha256(body).hexdigest())

    def put(self, key: str, body: bytes) -> None:
        """As ``SiloStore.put``."""
        with self._locked():
            self._write(key, body)

    def create(self, key: str, body: bytes) -> bool:
        """As ``SiloStore.create``."""
        return self._write_over(None, key, body)

    def replace(self, key: str, body: bytes, version: str) -> bool:
        """As ``SiloStore.replace``."""
        return self._write_over(version, key, body)

    def delete(self, key: str) -> None:
        """As ``SiloStore.delete``."""
        with self._locked():
            self._path(key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """As ``SiloStore.keys``."""
        with self._translate_errors():
            files = [
                path.relative_to(self._folder).as_posix() for path in self._folder.rglob("[!.]*") if path.is_file()
            ]
        return sorted(key for key in files if key.startswith(prefix))

    def _write_over(self, version: str | None, key: str, body: bytes) -> bool:
        with self._locked():
            kept = self.get(key)
            if kept is not None and kept.body == body:
                return True
            if (kept and kept.version) != version:
                return False
            self._write(key, body)
            return True

    def _write(self, key: str, body: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, len(body)) as part:
            part.write_bytes(body)

    def _path(self, key: str) -> Path:
        return self._folder / _checked(key)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep all other writers out, in this process and in others."""
        with self._translate_errors():
            lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            with explained(self._folder):
                yield
        except OSError as error:
            raise StoreError(f"the silo's own store in {self._folder} can't be used: {error}") from error


class BucketStore:
    """A store in a bucket of the silo's own account."""

    def __init__(self, bucket: str, region: str, who: str, check: str) -> None:
        """Make a client of S3; nothing is asked of AWS yet.

        Args:
            bucket: The bucket's name.
            region: The bucket's Region.
            who: The role that uses it, for messages.
            check: What to check if AWS denies a call or the bucket is missing, after "check that".
        """
        self._bucket, self._who, self._check = bucket, who, check
        with aws.translate_errors(who, "use S3", check):
            self._s3 = aws.s3(region)

    def get(self, key: str) -> Kept | None:
        """As ``SiloStore.get``."""
        with self._translate_errors("read", key):
            try:
                answer = self._s3.get_object(Bucket=self._bucket, Key=_checked(key))
            except ClientError as error:
                if aws.cause(error) is not Cause.NO_OBJECT:
                    raise
                return None
            return Kept(answer["Body"].read(), answer["ETag"])

    def put(self, key: str, body: bytes) -> None:
        """As ``SiloStore.put``."""
        with self._translate_errors("write", key):
            self._s3.put_object(Bucket=self._bucket, Key=_checked(key), Body=body)

    def create(self, key: str, body: bytes) -> bool:
        """As ``SiloStore.create``."""
        return self._put_if(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, version: str) -> bool:
        """As ``SiloStore.replace``."""
        return self._put_if(key, body, IfMatch=version)

    def delete(self, key: str) -> None:
        """As ``SiloStore.delete``."""
        with self._translate_errors("delete", key):
            self._s3.delete_object(Bucket=self._bucket, Key=_checked(key))

    def keys(self, prefix: str) -> list[str]:
        """As ``SiloStore.keys``."""
        with self._translate_errors("list", prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _put_if(self, key: str, body: bytes, **condition: str) -> bool:
        with self._translate_errors("write", key):
            try:
                self._s3.put_object(Bucket=self._bucket, Key=_checked(key), Body=body, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                if aws.cause(error) not in _CHANGED:
                    raise
            else:
                return True
        # The client repeats a call whose answer was lost, and the first one may have written the object.
        kept = self.get(key)
        return kept is not None and kept.body == body

    def _translate_errors(self, doing: str, key: str) -> AbstractContextManager[None]:
        return aws.translate_errors(self._who, f"{doing} {self._bucket}/{key}", self._check)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} can't be a key of a silo's store")
    return key
