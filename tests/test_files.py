"""Files that appear whole or not at all."""

from pathlib import Path

import pytest

from fedsilo.files import replacing, write_atomically


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    for text in ("first é", "second"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert list(tmp_path.iterdir()) == [path]


def fill_the_disk(part: Path) -> None:
    part.write_bytes(b"ne")
    raise OSError("disk full")


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as part:
        fill_the_disk(part)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
