"""Watching a run: what ``run start --watch``, ``run watch`` and the demo show while it goes on, and when it is over.

``RunProgress`` is the view of a run at one moment, made of its parties' statuses alone. ``follow`` polls the ledger
until the run is over.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedsilo import names, terminal
from fedsilo.config.run import Run
from fedsilo.errors import HubError
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.schema import Status
from fedsilo.states import FAILED_STATES, TERMINAL, PartyState
from fedsilo.text import duration, members, score

POLL_SECONDS = 1.0

GRACE_SECONDS = 40.0
"""How long silos may take to end after the aggregator; the longest they need is for SageMaker to take the rest."""

SILENT_SECONDS = 60.0
"""After how long without a word a party counts as silent; it gives one every 15 s."""

FAILURES = 10
"""How many times in a row AWS may not answer before a watcher gives up; some minutes."""

_WAITING: dict[str, str] = {
    PartyState.REQUESTED: "waiting for the aggregator's agent to answer; `fedsilo silo list` shows whether it is there",
    PartyState.QUEUED: "waiting for its turn at the aggregator",
    PartyState.PENDING: "waiting for the aggregator's trainer to be scheduled",
    PartyState.STARTING: "waiting for the aggregator's trainer to come up",
    PartyState.RESTARTING: "waiting for the aggregator's trainer to be started again",
    PartyState.WAITING: "waiting for silos to come up",
}


@dataclass(frozen=True)
class RunProgress:
    """A run at one moment. ``statuses`` has a word of every party of the run, if only the empty one."""

    run: Run
    statuses: dict[str, Status]

    @property
    def aggregator(self) -> Status:
        return self.statuses[names.AGGREGATOR]

    @property
    def state(self) -> str:
        """The run's state is its aggregator's."""
        return self.aggregator.state

    @property
    def over(self) -> bool:
        return self.aggregator.over

    @property
    def good(self) -> bool:
        return self.state == PartyState.FINISHED

    @property
    def round(self) -> int:
        return self.aggregator.round or 0

    @property
    def open(self) -> bool:
        """Whether a round is open, so that silos owe an answer."""
        return self.state in (PartyState.TRAINING, PartyState.FINISHING)

    @property
    def lingering(self) -> list[str]:
        """Silos that are at work and not silent, though the run is over."""
        return [
            silo
            for silo in self.run.silos
            if self.statuses[silo].state not in (PartyState.REQUESTED, PartyState.UNKNOWN, *TERMINAL)
            and not self.silent(silo)
        ]

    def awaited(self) -> list[str]:
        """The silos that the open round waits for."""
        answered, present = self.aggregator.answered, self.aggregator.present
        return [silo for silo in self.run.silos if silo in present and silo not in answered] if self.open else []

    def able(self) -> int:
        """How many silos have not ended badly."""
        return sum(self.statuses[silo].state not in FAILED_STATES for silo in self.run.silos)

    def answer(self, party: str) -> str:
        """Whether a silo has answered the open round."""
        aggregator = self.aggregator
        if party == names.AGGREGATOR or not self.open:
            return ""
        if party in aggregator.refused:
            return "refused"
        if party in aggregator.answered:
            return "yes"
        return "not yet" if party in aggregator.present else "late"

    def note(self, party: str) -> str:
        """What an operator should know of the party: its reason, a refusal, that it is late or silent."""
        status = self.statuses[party]
        said = [status.reason]
        if party in self.aggregator.refused and not status.reason:
            said.append(f"refused by the aggregator: {self.aggregator.refused[party]}")
        if self.answer(party) == "late" and not status.over:
            said.append("missed a deadline, or has not come; not waited for")
        if self.silent(party) and status.state != PartyState.REQUESTED and not status.over:
            said.append(f"no word for {duration(status.silent_seconds or 0)}")
        if status.state == PartyState.REQUESTED and not self.over:
            said.append("its agent has not answered")
        return "; ".join(filter(None, said))

    def line(self) -> str:
        """The run in one line."""
        scores = [f"{name.removeprefix('Test:')} {score(value)}" for name, value in self.aggregator.metrics.items()]
        parts = [self.state, f"round {self.round}/{self.run.rounds}", *scores[:4]]
        if self.open:
            parts.append(f"{len(self.aggregator.answered)} of {len(self.run.silos)} answered")
            parts += [f"waiting for {members(awaited)}"] if (awaited := self.awaited()) else []
        elif self.state in _WAITING:
            parts.append(_WAITING[self.state])
        if self.silent(names.AGGREGATOR) and not self.over and self.state != PartyState.REQUESTED:
            parts.append(f"no word from the aggregator for {duration(self.aggregator.silent_seconds or 0)}")
        if (able := self.able()) < self.run.quorum and not self.over:
            parts.append(f"only {able} silos left, the quorum is {self.run.quorum}: fedsilo run abort {self.run.id}")
        return "  ".join(parts)

    def table(self) -> Table:
        """The parties and how they are."""
        rows = []
        for party in self.run.parties:
            status = self.statuses[party]
            rows.append((party, status.state, status.round, self.answer(party), status.samples, self.note(party)))
        return terminal.table(
            ("party", "state", "round", "answered", "samples", "note"), rows, right=("round", "samples")
        )

    def silent(self, party: str) -> bool:
        """Whether nothing was heard of the party for ``SILENT_SECONDS``."""
        silent = self.statuses[party].silent_seconds
        return silent is not None and silent > SILENT_SECONDS


def follow(
    reader: Reader,
    run: Run,
    console: Console,
    look: Callable[[RunProgress], None] = lambda story: None,
    poll: float = POLL_SECONDS,
) -> RunProgress:
    """Show the run until it is over, and for ``GRACE_SECONDS`` more while silos still work. Ctrl-C ends it earlier.

    ``look`` is called with the run as it is at each look.
    """
    lines = _Lines(run)
    over_at: float | None = None
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            story = _look(reader, run, console, poll)
            look(story)
            if console.is_terminal:
                live.update(Group(Text(f"{_since(run)}  {story.line()}"), story.table()), refresh=True)
            else:
                for line in lines.news(story):
                    console.print(f"{_since(run)}  {line}", markup=False, highlight=False, soft_wrap=True)
            if story.over:
                over_at = over_at or time.monotonic()
            if over_at and (not story.lingering or time.monotonic() - over_at > GRACE_SECONDS):
                return story
            time.sleep(poll)


def _look(reader: Reader, run: Run, console: Console, poll: float) -> RunProgress:
    for _ in range(FAILURES):
        try:
            return RunProgress(run, reader.statuses(run))
        except HubError as error:
            console.print(f"{error}; trying on", markup=False, highlight=False, soft_wrap=True)
            time.sleep(poll)
    return RunProgress(run, reader.statuses(run))


def _since(run: Run) -> str:
    return f"{duration(max(0.0, (datetime.now(UTC) - run.created).total_seconds())):>12}"


class _Lines:
    """The news of a run as lines: the run where its state or round changed, a party where it has something to say."""

    def __init__(self, run: Run) -> None:
        self._shown: tuple[str, int, bool, bool] | None = None
        self._notes: dict[str, str] = {}

    def news(self, story: RunProgress) -> Iterator[str]:
        for silo in story.run.silos:
            status = story.statuses[silo]
            late = story.answer(silo) in ("late", "refused")
            key = f"{status.state} {late}" if late or (status.over and status.state != PartyState.FINISHED) else ""
            if key and self._notes.get(silo) != key:
                yield f"{silo}: {status.state}: {story.note(silo)}"
            self._notes[silo] = key
        shown = (story.state, story.round, story.able() < story.run.quorum, story.silent(names.AGGREGATOR))
        if self._shown != shown:
            self._shown = shown
            reason = story.aggregator.reason
            yield story.line() + (f"  {reason}" if reason else "")
