"""Watching a run until it is over, for ``run watch``, ``run start --watch`` and the demo."""

from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fedsilo import runtime
from fedsilo.admin.progress import ProgressLines, RunProgress
from fedsilo.config.run import Run
from fedsilo.errors import AuthenticationError, HubError
from fedsilo.ledger.reader import Reader
from fedsilo.text import duration

POLL_SECONDS = 1.0

GRACE_SECONDS = 40.0
"""How long silos may take to end after the aggregator: longer than SageMaker is given to take the last metrics."""

MAX_FAILURES = 10
"""How many times in a row AWS may fail to answer before a watcher gives up; some minutes."""


def follow(
    reader: Reader,
    run: Run,
    console: Console,
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
    poll_seconds: float = POLL_SECONDS,
) -> RunProgress:
    """Show a run until it is over, and for up to ``GRACE_SECONDS`` more while silos still work.

    A terminal shows one table, which is drawn again; any other output gets a line for each change.

    Args:
        reader: Reads the parties' statuses.
        run: The run.
        console: Where it is shown.
        on_progress: Is called with every progress that was read.
        poll_seconds: The time between two reads.

    Returns:
        The last progress.

    Raises:
        AuthenticationError: AWS does not accept the operator's credentials or clock.
        HubError: AWS has not answered ``MAX_FAILURES`` times in a row.
    """
    lines = ProgressLines()
    over_at: float | None = None
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            progress = _read(reader, run, console, poll_seconds)
            on_progress(progress)
            if console.is_terminal:
                live.update(Group(Text(f"{_elapsed(run)}  {progress.line()}"), progress.table()), refresh=True)
            else:
                for line in lines.news(progress):
                    _print(console, f"{_elapsed(run)}  {line}")
            if progress.over:
                over_at = over_at or runtime.monotonic()
            if over_at and (not progress.lingering() or runtime.monotonic() - over_at > GRACE_SECONDS):
                return progress
            runtime.sleep(poll_seconds)


def _read(reader: Reader, run: Run, console: Console, poll_seconds: float) -> RunProgress:
    for _ in range(MAX_FAILURES):
        try:
            return RunProgress(run, reader.statuses(run))
        except AuthenticationError:
            raise
        except HubError as error:
            _print(console, f"{error}; trying again")
            runtime.sleep(poll_seconds)
    return RunProgress(run, reader.statuses(run))


def _elapsed(run: Run) -> str:
    """How long ago the run was created, in a column."""
    return f"{duration(max(0.0, (runtime.now() - run.created).total_seconds())):>12}"


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
