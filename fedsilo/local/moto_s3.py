"""Where moto's S3 would fill the memory or the disk, or differ from AWS: the local AWS emulator changes it.

Content of ``MEMORY_BYTES`` or more lies in files. Once there is more mail than ``MAIL_BYTES``, the oldest is removed:
AWS deletes mail by its age, but a machine with large models has no disk for a day of it.
``fedsilo.local.moto_server`` says for which version of moto.
"""

import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import moto.s3.models
from moto.s3.exceptions import InvalidPart
from moto.s3.models import FakeMultipart, S3Backend
from moto.s3.responses import S3Response

from fedsilo import runtime
from fedsilo.keys import MailAddress

MEMORY_BYTES = 4096
"""Content of this size or more is kept in a file: of a run, only the statuses are smaller."""

CHUNK_BYTES = 2**20
"""How much of a file is read at a time."""

MAIL_BYTES = 4 * 2**30
"""How much mail is kept: forty models of 25 million parameters."""

MAIL_COUNT = 10_000
"""How many mails are kept: small ones take some kilobytes of memory each."""

FREED = 0.25
"""The part of the limits that is free after old mail was removed, so that it is not looked for at every mail."""

KEPT_RUNS, KEPT_MAILS = 2, 2
"""Mail that is never removed: in the runs that were mailed in last, the newest of a kind from each sender to each
receiver. A party that was started again continues from the newest, and the one before it may just be read."""

KEPT_VERSIONS = 10
"""How many versions of an object a versioned bucket keeps; a party's status gets a new one every second."""


class StoredContent:
    """The content of an object in a file, which is removed with the last reference. It stands in for ``bytes``."""

    def __init__(self, folder: Path, pieces: Iterable[bytes]) -> None:
        """Write the pieces into a new file in the folder. Raises ``OSError``, and leaves no file then."""
        self._size = 0
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            self._path = Path(file.name)
            remove = weakref.finalize(self, self._path.unlink, missing_ok=True)
            try:
                for piece in pieces:
                    self._size += file.write(piece)
                file.flush()
            except BaseException:
                remove()
                raise

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def __copy__(self) -> "StoredContent":
        return self


Content = bytes | StoredContent


class _Buffer:
    """Stands in for the temporary file in which moto keeps an object's content.

    moto would hold an open file for each large object, and read all of it into the memory for each GET.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content: Content = b""

    def write(self, content: Content) -> None:
        if isinstance(content, bytes) and len(content) >= MEMORY_BYTES:
            content = StoredContent(self._folder, [content])
        self._content = content

    def read(self, size: int = -1) -> Content:
        """All of the content. Only digests are made piece by piece, and ``_RandomTag`` needs no content."""
        return self._content if size < 0 else b""

    def seek(self, _: int) -> None:
        pass

    def truncate(self) -> None:
        self._content = b""

    def close(self) -> None:
        """Keep the content: a thread that has found the object may still read it. It goes with its last reference."""


class _RandomTag:
    """Stands in for a digest: a random value for each object."""

    def update(self, data: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return runtime.token(16)


class OldMail:
    """Removes the oldest mails of a moto backend once there are too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[tuple[str, MailAddress], int] = {}
        """The size of each mail by bucket and address, the oldest first."""

    def add(self, backend: Any, bucket: str, key: str, size: int) -> None:
        """Count an object that was written, if it is a mail, and remove what is too much."""
        address = MailAddress.parse(key)
        if address is None:
            return
        with self._lock:
            self._sizes.pop((bucket, address), None)
            self._sizes[bucket, address] = size
            if sum(self._sizes.values()) > MAIL_BYTES or len(self._sizes) > MAIL_COUNT:
                self._remove_oldest(backend)

    def _remove_oldest(self, backend: Any) -> None:
        bytes_left, count_left = sum(self._sizes.values()), len(self._sizes)
        for bucket, address in self._removable():
            if bytes_left <= MAIL_BYTES * (1 - FREED) and count_left <= MAIL_COUNT * (1 - FREED):
                return
            bytes_left -= self._sizes.pop((bucket, address))
            count_left -= 1
            _remove(backend, bucket, address.key)

    def _removable(self) -> list[tuple[str, MailAddress]]:
        """The mails that may be removed, the oldest first."""
        runs: dict[str, dict[str, None]] = {}
        newer: Counter[tuple[str, MailAddress]] = Counter()
        found = []
        for bucket, address in reversed(self._sizes):
            mailed_in = runs.setdefault(bucket, {})
            mailed_in.setdefault(address.run)
            alike = (bucket, replace(address, seq=0, round_idx=0))
            newer[alike] += 1
            if newer[alike] > KEPT_MAILS or address.run not in list(mailed_in)[:KEPT_RUNS]:
                found.append((bucket, address))
        return found[::-1]


def _remove(backend: Any, bucket: str, key: str) -> None:
    """Remove all versions of an object, and its tags."""
    keys = backend.get_bucket(bucket).keys
    for version in keys.getlist(key, []):
        backend.tagger.delete_all_tags_for_resource(version.arn)
    keys.pop(key)


def patch_moto(folder: Path) -> None:
    """Apply all changes.

    Args:
        folder: Where the content of large objects lies.
    """
    # The MD5 for the ETag takes half of the time of a large PUT. On AWS, the ETag of an object that KMS encrypts is no
    # MD5 either.
    moto.s3.models.md5_hash = lambda *_: _RandomTag()
    moto.s3.models.tempfile = SimpleNamespace(SpooledTemporaryFile=lambda *_, **__: _Buffer(folder))
    _join_parts_on_disk(folder)
    remove_old_objects(S3Backend)
    lock_conditional_writes(S3Response)


def _join_parts_on_disk(folder: Path) -> None:
    """Complete a multipart upload without its content in the memory; moto would make four copies there."""

    def complete(upload: Any, body: Iterable[tuple[int, str]]) -> tuple[Content, str, None]:
        named = [(upload.parts.get(number), etag) for number, etag in body]
        if not named or any(part is None or part.etag.strip('"') != etag.strip('"') for part, etag in named):
            raise InvalidPart
        content = StoredContent(folder, (piece for part, _ in named for piece in _pieces(part.value)))
        for part, _ in named:
            part.value = b""  # the object that is made refers to its parts
        return content, f"{runtime.token(16)}-{len(named)}", None

    FakeMultipart.complete = complete


def _pieces(content: Content) -> Iterable[bytes]:
    return [content] if isinstance(content, bytes) else content


def remove_old_objects(backend_class: Any) -> None:
    """Remove old mail and old versions after each write.

    Args:
        backend_class: moto's class of backends.
    """
    put, mail = backend_class.put_object, OldMail()

    def put_object(backend: Any, bucket_name: str, key_name: str, *arguments: Any, **options: Any) -> Any:
        stored = put(backend, bucket_name, key_name, *arguments, **options)
        keys = backend.get_bucket(bucket_name).keys
        versions = keys.getlist(key_name, [])
        if len(versions) > KEPT_VERSIONS:
            keys.setlist(key_name, versions[-KEPT_VERSIONS:])
        mail.add(backend, bucket_name, key_name, stored.size)
        return stored

    backend_class.put_object = put_object


def lock_conditional_writes(response_class: Any) -> None:
    """Let one conditional write after the other be decided; of two at once, moto would let both win.

    Args:
        response_class: moto's class of answers.
    """
    put, lock = response_class.put_object, threading.Lock()

    def put_object(response: Any) -> Any:
        if not (response.headers.get("If-None-Match") or response.headers.get("If-Match")):
            return put(response)
        with lock:
            return put(response)

    response_class.put_object = put_object
