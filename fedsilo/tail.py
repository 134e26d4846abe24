"""Following a log that is written anew each time, a bounded end of what was logged: which of its lines are news."""

from collections.abc import Iterator

from fedsilo.words import plain

LINE_LIMIT = 4000
"""Characters of a line that are shown."""

OVERLAP = 4096
"""Bytes before the last line shown by which it is found again once the log's beginning was cut off."""


class Tail:
    """The end of a log as it was last seen."""

    def __init__(self) -> None:
        self._seen = b""

    def news(self, body: bytes, *, last: bool) -> Iterator[str]:
        """The whole lines that are new, as one can show them; with ``last`` also one that has no end yet."""
        end = len(body) if last else body.rfind(b"\n") + 1
        body = body[:end]
        known = self._seen[-OVERLAP:]
        if body.startswith(self._seen):
            new = body[len(self._seen) :]
        elif (found := body.rfind(known)) >= 0:
            new = body[found + len(known) :]
        else:
            new = body
        self._seen = body or self._seen
        for line in new.decode("utf-8", "replace").splitlines():
            yield plain(line.expandtabs(4), LINE_LIMIT)
