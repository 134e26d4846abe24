"""Following a log that is written anew each time, a bounded end of what was logged: which of its lines are news."""

from collections.abc import Iterator

from fedsilo.text import plain

LINE_LIMIT = 4000
"""Characters of a line that are shown."""

PROBE = 16
"""The shortest end of what was shown that is known again."""


class Tail:
    """The end of a log as it was last seen."""

    def __init__(self) -> None:
        self._seen = b""

    def news(self, body: bytes, *, last: bool) -> Iterator[str]:
        """The whole lines that are new, as one can show them; with ``last`` also one that has no end yet."""
        end = len(body) if last else body.rfind(b"\n") + 1
        body = body[:end]
        new = body[_shown(self._seen, body) :]
        self._seen = body or self._seen
        for line in new.decode("utf-8", "replace").splitlines():
            yield plain(line.expandtabs(4), LINE_LIMIT)


def _shown(seen: bytes, body: bytes) -> int:
    """How many bytes at the beginning of ``body`` were shown before: it may have lost its beginning since."""
    if body.startswith(seen):
        return len(seen)
    at = seen.find(body[:PROBE])
    while at >= 0 and not body.startswith(seen[at:]):
        at = seen.find(body[:PROBE], at + 1)
    return len(seen) - at if at >= 0 else 0
