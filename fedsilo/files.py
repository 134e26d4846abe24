"""Files that appear whole, folders with one writer, and what to do when the disk is full.

Whoever reads a file finds the old content or the new, never a part of it: new content is written beside the old one,
which survives a full disk.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsilo.errors import BusyError, DiskError, DiskFullError

_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "is over its quota"}
_CLOSED = {errno.EROFS: "can only be read", errno.EFBIG: "takes no file of this size (see `ulimit -f`)"}

_LOCK = ".lock"


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Write a file in one step, however long that takes.

    Args:
        path: The file.
        needed: Its size in bytes, for the message if the disk is full; None if it is not known.

    Yields:
        The path of a new file in the same folder. It takes the place of ``path`` when the block ends, and is removed
        when the block fails.

    Raises:
        DiskError: The disk is full, or can't be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with explained(path, needed):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_all(folder: Path, *names: str) -> Iterator[Path]:
    """Write some files of a folder together: when the block fails, the old ones stay, all of them.

    Args:
        folder: The folder. It must exist.
        names: The files. One that is not written is removed from the folder, where it belonged to the old ones.

    Yields:
        An empty folder for the new files.

    Raises:
        DiskError: The disk is full, or can't be written.
    """
    with explained(folder), tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as new:
        yield Path(new)
        for name in names:
            if (written := Path(new, name)).exists():
                written.replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write the text to the file in one step, as UTF-8. Raises ``DiskError`` as ``replacing``."""
    with replacing(path, len(text)) as part:
        part.write_text(text, encoding="utf-8")


def keep_end(path: Path, size: int) -> None:
    """Remove the beginning of a log that processes append to, once the log is larger than twice ``size``.

    What is appended at this very moment may be lost.

    Args:
        path: The log.
        size: How many bytes are kept, from the beginning of a line.
    """
    with path.open("r+b") as log:
        if log.seek(0, os.SEEK_END) <= 2 * size:
            return
        log.seek(-size, os.SEEK_END)
        end = log.read().partition(b"\n")[2]
        log.seek(0)
        log.write(end)
        log.truncate()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only one in the folder. The kernel lets it go when this process ends, however it ends.

    Args:
        folder: The folder. It must exist.

    Raises:
        BusyError: Another process holds the folder.
        DiskError: The disk is full, or can't be written.
    """
    with explained(folder), (folder / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BusyError(f"process {lock.read(20).strip() or 'unknown'} is at work in {folder}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def explained(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn errors of a full or closed disk into ``DiskError``.

    Args:
        path: What is written in the block, a file or a folder.
        needed: How many bytes; None if that is not known.
    """
    try:
        yield
    except OSError as error:
        if found := disk_error(error, path, needed):
            raise found from error
        raise


def disk_error(error: OSError, path: Path | None = None, needed: int | None = None) -> DiskError | None:
    """What an error says about a disk, and what to do; None if it says nothing about a disk.

    Args:
        error: The error.
        path: What was written; None for what the error names.
        needed: How many bytes were written; None if that is not known.
    """
    how = (_FULL | _CLOSED).get(error.errno or 0)
    if how is None:
        return None
    written = path or Path(os.fsdecode(error.filename or tempfile.gettempdir()))
    folder = next((each for each in (written, *written.absolute().parents) if each.is_dir()), Path.cwd())
    needs = "" if needed is None else f"{_megabytes(needed)} are needed for {written}, "
    free = _megabytes(shutil.disk_usage(folder).free)
    message = f"the disk of {folder} {how}: {needs}{free} are free"
    if error.errno in _FULL:
        return DiskFullError(f"{message}; make room there, or use a folder on another disk")
    return DiskError(f"{message}; use a folder on another disk")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
