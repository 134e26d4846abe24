"""How the command shows tables, times and JSON.

Nothing that is shown is read as markup. What parties wrote has come through ``fedsilo.ledger.schema``.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedsilo.states import AgentState, PartyState, Verdict
from fedsilo.text import NONE

PIPED_WIDTH = 1000
"""Columns where the output is no terminal: no row is broken, so that other programs can read it."""

AWAY = "away"
"""The state that is shown of an agent whose heartbeats are missing."""

_STYLES: dict[str, str] = {
    **dict.fromkeys((PartyState.FINISHED, AgentState.IDLE, Verdict.OK), "green"),
    **dict.fromkeys((PartyState.TRAINING, PartyState.FINISHING, AgentState.BUSY), "cyan"),
    **dict.fromkeys((PartyState.REQUESTED, PartyState.QUEUED, PartyState.PENDING, PartyState.STOPPED), "yellow"),
    **dict.fromkeys((PartyState.RESTARTING, Verdict.WARN), "yellow"),
    **dict.fromkeys((PartyState.FAILED, PartyState.REFUSED, PartyState.ABORTED, PartyState.UNKNOWN), "red"),
    **dict.fromkeys((Verdict.FAIL, AWAY), "red"),
}
"""Colours of states. No state is told by its colour alone."""


def console(*, stderr: bool = False) -> Console:
    """The console of a command. Its lines are broken only on a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> Table:
    """A table of values.

    Args:
        heads: The columns' heads.
        rows: The rows. A value that is None or empty is shown as a dash, and a state in its colour.
        right: The heads of the columns that are aligned to the right, because they hold numbers.
    """
    shown = Table(box=None, pad_edge=False)
    for head in heads:
        shown.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    return shown


def _cell(value: object) -> Text:
    text = NONE if value is None or value == "" else str(value)
    return Text(text, style=_STYLES.get(text, ""))


def print_json(value: object) -> None:
    """Print JSON in ASCII, so that a terminal acts on none of it."""
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201


def local(time: datetime | None) -> str:
    """The time in the operator's time zone, with the zone's name; empty if there is none."""
    try:
        return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    except OverflowError:  # the first or last hours of the calendar
        return ""
