"""How the command shows things: tables, times and JSON.

Nothing that is shown is read as markup; what parties wrote comes through ``fedsilo.ledger.schema``.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 1000
"""Columns where the output is not a terminal: no row is broken, so that other programs can read it."""

NONE = "-"
"""What stands for a value that there is not."""

STYLES = {
    "FINISHED": "green", "IDLE": "green", "ok": "green",
    "FAILED": "red", "REFUSED": "red", "ABORTED": "red", "not ok": "red", "away": "red", "UNKNOWN": "red",
    "TRAINING": "cyan", "FINISHING": "cyan", "BUSY": "cyan",
    "REQUESTED": "yellow", "QUEUED": "yellow", "PENDING": "yellow", "STOPPED": "yellow",
    "RESTARTING": "yellow", "look": "yellow",
}  # fmt: skip
"""Colours of states; a state is never told by its colour alone."""


def console(*, stderr: bool = False) -> Console:
    """The console of a command; its lines are not broken where they don't go to a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> Table:
    """A table of texts as they are; the columns named in ``right`` hold numbers."""
    shown = Table(box=None, pad_edge=False)
    for head in heads:
        shown.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    return shown


def _cell(value: object) -> Text:
    text = NONE if value is None or value == "" else str(value)
    return Text(text, style=STYLES.get(text, ""))


def print_json(value: object) -> None:
    """JSON on standard output, in ASCII, so that no terminal acts on it."""
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201


def local(time: datetime | None) -> str:
    """The time where the operator is, with the zone's name."""
    try:
        return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    except OverflowError:  # the first or last hours of the calendar
        return ""
