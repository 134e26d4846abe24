"""Files that appear whole or not at all, folders with one writer, and what is said of a full disk."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedsilo.errors import BusyError, DiskError, DiskFullError
from fedsilo.files import disk_error, held, keep_end, replacing, replacing_all, write_atomically

FULL = "/dev/full"
"""A file on which every write fails as on a full disk."""


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    for text in ("first é", "second"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_is_named_with_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    (tmp_path / ".report.html.part").symlink_to(FULL)
    with pytest.raises(DiskFullError) as caught:
        write_atomically(path, "x" * 2_000_000)
    assert re.fullmatch(
        rf"the disk of {tmp_path} is full: 2\.0 MB are needed for {path}, [0-9,.]+ MB are free; make room there, or "
        "use a folder on another disk",
        str(caught.value),
    )
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def fill_the_disk(part: Path) -> None:
    part.write_bytes(b"ne")
    raise OSError(errno.EIO, "broken")


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="broken"), replacing(path) as part:
        fill_the_disk(part)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def write_two_until_the_disk_is_full(folder: Path) -> None:
    (folder / "model").write_text("second")
    (folder / "report").symlink_to(FULL)
    (folder / "report").write_text("second")


def test_files_that_belong_together_are_replaced_together(tmp_path: Path) -> None:
    names = ("model", "report", "result")
    with replacing_all(tmp_path, *names) as new:
        for name in names:
            (new / name).write_text("first")
    with pytest.raises(DiskFullError), replacing_all(tmp_path, *names) as new:
        write_two_until_the_disk_is_full(new)
    assert not [path.name for path in tmp_path.iterdir() if path.is_symlink()], "who reads /dev/full never ends"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "first")
    with replacing_all(tmp_path, *names) as new:
        (new / "report").write_text("third")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report": "third"}


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, DiskFullError, "is full"),
        (errno.EDQUOT, DiskFullError, "is over its quota"),
        (errno.EROFS, DiskError, "can only be read"),
        (errno.EFBIG, DiskError, "takes no file of this size"),
    ],
)
def test_an_error_of_the_disk_names_the_folder_that_exists(
    tmp_path: Path, number: int, kind: type[DiskError], words: str
) -> None:
    found = disk_error(OSError(number, os.strerror(number), str(tmp_path / "not" / "yet")))
    assert type(found) is kind
    assert str(found).startswith(f"the disk of {tmp_path} {words}")


def test_another_error_is_none_of_the_disk() -> None:
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file", "data.csv")) is None


def test_a_folder_has_one_holder_whom_the_next_one_names(tmp_path: Path) -> None:
    script = "import sys, pathlib, fedsilo.files as f\nwith f.held(pathlib.Path(sys.argv[1])):\n print(); input()"
    command = [sys.executable, "-uc", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(BusyError, match=f"^process {holder.pid} is at work in {tmp_path}$"), held(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with held(tmp_path):
            assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_log_keeps_its_end_while_a_process_appends_to_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("ab", buffering=0) as process:
        for number in range(100):
            process.write(b"line %d\n" % number)
            keep_end(path, 100)
    kept = path.read_text().splitlines()
    assert kept == [f"line {number}" for number in range(100)][-len(kept) :]
    assert 100 - len("line 99\n") <= path.stat().st_size <= 200
