"""How a run is going at one moment, from the statuses of its parties alone: in a line, a table and notes."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rich.table import Table

from fedsilo import terminal
from fedsilo.config.run import Run
from fedsilo.ledger.contributions import contributions_in_words
from fedsilo.ledger.schema import PARTY_SILENT_SECONDS, Status
from fedsilo.names import AGGREGATOR
from fedsilo.states import FAILED_STATES, TERMINAL, PartyState
from fedsilo.text import duration, members, score

SCORES_SHOWN = 4
"""Metrics in the run's line."""

_WAITING_FOR = {
    PartyState.REQUESTED: "waiting for the aggregator's agent to answer; `fedsilo silo list` shows whether it is there",
    PartyState.QUEUED: "waiting for its turn at the aggregator",
    PartyState.PENDING: "waiting for the aggregator's trainer to be scheduled",
    PartyState.STARTING: "waiting for the aggregator's trainer to come up",
    PartyState.RESTARTING: "waiting for the aggregator's trainer to be started again",
    PartyState.WAITING: "waiting for silos to come up",
}


class Answer(StrEnum):
    """Whether a silo has answered the open round, as the table shows it."""

    NONE_DUE = ""
    """No round is open, or the party is the aggregator."""
    YES = "yes"
    NOT_YET = "not yet"
    LATE = "late"
    """The run does not wait for the silo: it has missed a deadline, or has not joined."""
    NOT_ASKED = "not asked"
    """The round asks only a fraction of the silos."""
    REFUSED = "refused"


@dataclass(frozen=True)
class RunProgress:
    """A run at one moment."""

    run: Run
    statuses: dict[str, Status]
    """The status of every party of the run; the default one for a party that has written none."""

    @property
    def aggregator(self) -> Status:
        """The aggregator's status."""
        return self.statuses[AGGREGATOR]

    @property
    def state(self) -> PartyState:
        """The run's state, which is its aggregator's."""
        return self.aggregator.state

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.aggregator.over

    @property
    def succeeded(self) -> bool:
        """Whether the run has ended with a model."""
        return self.state == PartyState.FINISHED

    @property
    def round(self) -> int:
        """The newest round."""
        return min(self.aggregator.round or 0, self.run.rounds)

    @property
    def answered(self) -> list[str]:
        """The silos of the run that have answered the open round."""
        return [silo for silo in self.run.silos if silo in self.aggregator.answered]

    @property
    def asked(self) -> list[str]:
        """The silos of the run that the open round asks."""
        asked = self.aggregator.asked
        return [silo for silo in self.run.silos if not asked or silo in asked]

    @property
    def round_is_open(self) -> bool:
        """Whether the aggregator waits for silos to answer a round."""
        return self.state in (PartyState.TRAINING, PartyState.FINISHING)

    def lingering(self) -> list[str]:
        """The silos that still work."""
        idle = (PartyState.REQUESTED, PartyState.UNKNOWN, *TERMINAL)
        return [silo for silo in self.run.silos if self.statuses[silo].state not in idle and not self.silent(silo)]

    def awaited(self) -> list[str]:
        """The silos that the open round waits for."""
        return [silo for silo in self.run.silos if self.answer(silo) == Answer.NOT_YET]

    def silos_left(self) -> int:
        """How many silos have not failed, been refused or been aborted."""
        return sum(self.statuses[silo].state not in FAILED_STATES for silo in self.run.silos)

    @property
    def below_quorum(self) -> bool:
        """Whether fewer silos are left than the quorum."""
        return self.silos_left() < self.run.quorum

    def silent(self, party: str) -> bool:
        """Whether the party has written nothing for ``PARTY_SILENT_SECONDS``."""
        silent = self.statuses[party].silent_seconds
        return silent is not None and silent > PARTY_SILENT_SECONDS

    def answer(self, party: str) -> Answer:
        """Whether the party has answered the open round."""
        aggregator = self.aggregator
        if party == AGGREGATOR or not self.round_is_open:
            return Answer.NONE_DUE
        if party in aggregator.refused:
            return Answer.REFUSED
        if party in aggregator.answered:
            return Answer.YES
        if party not in self.asked:
            return Answer.NOT_ASKED
        return Answer.NOT_YET if party in aggregator.present else Answer.LATE

    def note(self, party: str) -> str:
        """What an operator should know of the party: its reason, a refusal, or that it is late or silent."""
        status = self.statuses[party]
        notes = [status.unreadable, status.reason]
        if party in self.aggregator.refused and not status.reason:
            notes.append(f"refused by the aggregator: {self.aggregator.refused[party]}")
        if self.answer(party) == Answer.LATE and not status.over:
            notes.append("has missed a deadline or has not joined; the run does not wait for it")
        if self._has_fallen_silent(party):
            notes.append(f"no heartbeat for {duration(status.silent_seconds or 0)}")
        if status.state == PartyState.REQUESTED and not self.over:
            notes.append("its agent has not answered")
        return "; ".join(filter(None, notes))

    def line(self) -> str:
        """The run in one line."""
        bounds = self.aggregator.bounds
        scores = [
            f"{name.removeprefix('Test:')} {score(value, bounds.get(name, 0.0))}"
            for name, value in self.aggregator.metrics.items()
        ]
        parts = [self.state, f"round {self.round}/{self.run.rounds}"]
        if self.over and (contributed := contributions_in_words(self.run, self.aggregator)):
            parts.append(contributed)
        parts += scores[:SCORES_SHOWN]
        if self.round_is_open:
            parts.append(f"{len(self.answered)} of {len(self.asked)} answered")
            parts += [f"waiting for {members(awaited)}"] if (awaited := self.awaited()) else []
        elif self.state in _WAITING_FOR:
            parts.append(_WAITING_FOR[self.state])
        if self.aggregator.unreadable:
            parts.append(self.aggregator.unreadable)
        if self._has_fallen_silent(AGGREGATOR):
            parts.append(f"no heartbeat from the aggregator for {duration(self.aggregator.silent_seconds or 0)}")
        if self.below_quorum and not self.over:
            left, quorum = self.silos_left(), self.run.quorum
            parts.append(f"silos left: {left}, fewer than the quorum of {quorum}: fedsilo run abort {self.run.id}")
        return "  ".join(parts)

    def table(self) -> Table:
        """The parties with their states and notes."""
        rows = []
        for party in self.run.parties:
            status = self.statuses[party]
            rows.append((party, status.state, status.round, self.answer(party), status.samples, self.note(party)))
        return terminal.table(
            ("party", "state", "round", "answered", "samples", "note"), rows, right=("round", "samples")
        )

    def _has_fallen_silent(self, party: str) -> bool:
        """Whether the party has taken part, has not ended, and is silent."""
        status = self.statuses[party]
        return self.silent(party) and status.state != PartyState.REQUESTED and not status.over


class ProgressLines:
    """What changes from one progress of a run to the next, as lines for an output that is no terminal."""

    def __init__(self) -> None:
        self._shown: tuple[str, int, bool, bool] | None = None
        self._troubles: dict[str, tuple[PartyState, bool] | None] = {}

    def news(self, progress: RunProgress) -> Iterator[str]:
        """A line for each silo with a new trouble, and one for the run if its state or its round has changed."""
        for silo in progress.run.silos:
            trouble = _trouble(progress, silo)
            if trouble and self._troubles.get(silo) != trouble:
                yield f"{silo}: {progress.statuses[silo].state}: {progress.note(silo)}"
            self._troubles[silo] = trouble
        shown = (progress.state, progress.round, progress.below_quorum, progress.silent(AGGREGATOR))
        if self._shown != shown:
            self._shown = shown
            reason = progress.aggregator.reason
            yield progress.line() + (f"  {reason}" if reason else "")


def _trouble(progress: RunProgress, silo: str) -> tuple[PartyState, bool] | None:
    """The silo's state and whether the run goes on without it; None while all is well."""
    status = progress.statuses[silo]
    left_behind = progress.answer(silo) in (Answer.LATE, Answer.REFUSED)
    in_trouble = left_behind or status.unreadable or status.state in FAILED_STATES
    return (status.state, left_behind) if in_trouble else None
