"""What happened in a run, as far as its ledger tells.

Lines whose times are not near the run are not believed; they are left out and counted.
"""

from collections import Counter
from datetime import datetime

from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import MAX_TIME, LedgerLine, Status
from fedsilo.names import AGGREGATOR
from fedsilo.states import TERMINAL, Event, LineKind, PartyState, Span

AUC, ACCURACY, LOSS = "Test:AUC", "Test:Accuracy", "Test:Loss"
"""The metrics of the global model that a report shows."""

MARGIN = 3600.0
"""Seconds before the run's creation, and after the aggregator's last line, in which a line's time is believed."""

Points = list[tuple[float, float]]
"""(x, y) pairs in the order of x."""


class RunHistory:
    """A run's record, with what a report asks of it. Times are Unix times; lines are in the order of time.

    A round counts from 0 where it is opened, trained in or closed. A metric of the global model has the number of
    rounds done before it.
    """

    def __init__(self, record: Record) -> None:
        self.run = record.run
        self.silos = record.run.silos
        self._statuses = record.statuses
        self.unreadable = record.unreadable
        self.created = _believed(record.run.created)
        written = sorted((line for lines in record.lines.values() for line in lines), key=lambda line: line.time)
        first = 0.0 if self.created is None else self.created - MARGIN
        last = max((line.time for line in written if line.party == AGGREGATOR), default=MAX_TIME) + MARGIN
        self.lines = [line for line in written if first <= line.start and line.time <= last]
        self.left_out = Counter(record.left_out) + Counter(line.party for line in written)
        self.left_out -= Counter(line.party for line in self.lines)
        known = [] if self.created is None else [self.created]
        self.start = min([*known, *(line.start for line in self.lines)], default=0.0)
        self.seconds = max([*known, *(line.time for line in self.lines)], default=0.0) - self.start
        self.closed = self._closed()
        self.rounds = sorted({*self.closed, *self.metric(AUC), *self.metric(LOSS)})

    def _closed(self) -> dict[int, float]:
        """When the rounds ended, by the number of rounds done then."""
        closed: dict[int, float] = {}
        for line in self.of(LineKind.EVENT, AGGREGATOR):
            done = (line.round or 0) + (line.name == Event.DEADLINE)
            if done > 0 and line.name in (Event.OPENED, Event.DEADLINE):
                closed.setdefault(done, line.time)
        return closed

    # --- the parties

    def status(self, party: str) -> Status:
        """The party's status; an empty one if it has written none."""
        return self._statuses.get(party, Status())

    def state(self, party: str) -> PartyState | None:
        """The last state that the party wrote; None if it has written none."""
        return self._statuses[party].state if party in self._statuses else None

    @property
    def over(self) -> bool:
        """Whether the aggregator has ended the run."""
        return self.state(AGGREGATOR) in TERMINAL

    @property
    def lost(self) -> list[str]:
        """The parties of a run that is over which have not written how their part ended."""
        return [party for party in self.run.parties if self.state(party) not in TERMINAL] if self.over else []

    @property
    def remaining(self) -> int:
        """How many silos have finished, or still take part in a run that is not over."""
        states = [self.state(silo) for silo in self.silos]
        if self.over:
            return states.count(PartyState.FINISHED)
        return sum(state is not None and state not in TERMINAL for state in states)

    def last_word(self, party: str) -> float | None:
        """When the party last wrote anything, in seconds since the run's start; None if it never did."""
        heartbeat = _believed(self.status(party).heartbeat)
        times = [line.time for line in self.lines if line.party == party]
        times += [] if heartbeat is None else [heartbeat]
        return min(max(times) - self.start, self.seconds) if times else None

    # --- the lines

    def of(self, kind: LineKind, party: str) -> list[LedgerLine]:
        """The party's lines of a kind."""
        return [line for line in self.lines if line.kind == kind and line.party == party]

    def notable_events(self) -> list[LedgerLine]:
        """The events but for the openings of rounds."""
        return [line for line in self.lines if line.kind == LineKind.EVENT and line.name != Event.OPENED]

    @property
    def rounds_done(self) -> int:
        """How many rounds the run has completed."""
        return max(self.rounds, default=0)

    def metric(self, name: str) -> dict[int, LedgerLine]:
        """A metric of the global model by rounds done; of a round that was repeated, the last line."""
        found = {
            line.round: line
            for line in self.of(LineKind.METRIC, AGGREGATOR)
            if line.name == name and line.silo is None and line.round is not None
        }
        return dict(sorted(found.items()))

    def last(self, name: str) -> LedgerLine | None:
        """A metric of the newest global model; None if its evaluation did not give the metric."""
        rounds = [line.round or 0 for line in self.of(LineKind.METRIC, AGGREGATOR) if line.silo is None]
        return self.metric(name).get(max(rounds, default=0))

    def metric_by_silo(self, name: str) -> dict[str, LedgerLine]:
        """The newest value of a metric of the global model on each silo's data."""
        lines = self.of(LineKind.METRIC, AGGREGATOR)
        return {line.silo: line for line in lines if line.name == name and line.silo is not None}

    def evaluations(self) -> dict[int, int]:
        """How many silos evaluated the global model, by rounds done, where any silo did."""
        lines = self.of(LineKind.METRIC, AGGREGATOR)
        found = {(line.round, line.silo) for line in lines if line.silo is not None}
        return Counter(rounds_done for rounds_done, _ in found if rounds_done is not None)

    def training_metric(self, name: str) -> dict[str, Points]:
        """A metric of each silo's own training as (rounds done, value), for the rounds that the aggregator knows.

        The step of such a line is an epoch. Its round is that of the span in which the silo last began to train.
        """
        found: dict[str, Points] = {}
        for silo in self.silos:
            points, current = dict[int, float](), None
            lines = self.of(LineKind.SPAN, silo) + self.of(LineKind.METRIC, silo)
            for line in sorted(lines, key=lambda line: line.start):
                if line.kind == LineKind.SPAN and line.name == Span.TRAIN:
                    current = None if line.round is None else line.round + 1
                elif line.name == name and current in self.rounds:
                    points[current] = line.value
            if points:
                found[silo] = sorted((float(rounds_done), value) for rounds_done, value in points.items())
        return found


def _believed(time: datetime | None) -> float | None:
    """The Unix time; None if it is before 1970 or after ``MAX_TIME``."""
    seconds = -1.0 if time is None else time.timestamp()
    return seconds if 0 <= seconds <= MAX_TIME else None
