"""Files that appear whole: whoever reads one finds the old content or the new, never a part of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file in one step, however long that takes.

    Yields:
        The path of a new file in the same folder. It takes the place of ``path`` when the block ends, and is removed
        when the block fails.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write the text to the file in one step, as UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
