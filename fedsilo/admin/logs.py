"""Following a party's log: its agent sends the end of the log again and again, and only new lines are shown."""

from collections.abc import Iterator

from fedsilo.text import plain

LINE_LIMIT = 4000
"""Characters of a line that are shown."""

MIN_OVERLAP = 16
"""Bytes at the beginning of a log that must be known before it counts as the continuation of what was shown."""


class LogFollower:
    """Remembers how far a log was shown."""

    def __init__(self) -> None:
        self._seen = b""

    def new_lines(self, body: bytes, *, last: bool) -> Iterator[str]:
        """The lines that were not shown yet, as plain text.

        Args:
            body: The end of the log as it is now.
            last: Whether nothing will follow, so that a line without an end is shown too.
        """
        end = len(body) if last else body.rfind(b"\n") + 1
        body = body[:end]
        new = body[_overlap(self._seen, body) :]
        self._seen = body or self._seen
        for line in new.decode("utf-8", "replace").splitlines():
            yield plain(line.expandtabs(4), LINE_LIMIT)


def _overlap(seen: bytes, body: bytes) -> int:
    """How many bytes at the beginning of ``body`` were seen: ``body`` may have lost its own beginning since."""
    if body.startswith(seen):
        return len(seen)
    at = seen.find(body[:MIN_OVERLAP])
    while at >= 0 and not body.startswith(seen[at:]):
        at = seen.find(body[:MIN_OVERLAP], at + 1)
    return len(seen) - at if at >= 0 else 0
