"""The silos of a run, as the aggregator sees them: one record for each."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from fedsilo.config.run import Run
from fedsilo.errors import MailError
from fedsilo.messaging.messages import ASKED_ROUNDS, CONTRIBUTIONS
from fedsilo.messaging.notice import Notice
from fedsilo.states import PartyState
from fedsilo.text import REASON_LIMIT, members, plain
from fedsilo.workload.base import Sums

MAX_SAMPLES = 10**12
"""The most training samples that a silo may declare; no silo has more."""

WEIGHT_CAP = 10
"""No silo weighs more than this many times the median silo. It bounds what a false sample count can do."""


@dataclass(eq=False)
class Silo:
    """What the aggregator knows of a silo."""

    name: str
    rank: int
    """The silo's place in the run, from 1."""
    active: bool = False
    """Whether rounds wait for the silo."""
    late: bool = False
    """Whether the silo has missed a deadline, and has not shown since that it can keep to one. Only an update shows
    that: a silo that says that it is there may still not answer."""
    heard: float = 0.0
    """When the silo's last mail came, on ``runtime.monotonic``'s clock."""
    refused: str | None = None
    """Why the aggregator ended the silo's part; None if it has not."""
    lost: str | None = None
    """Why the silo's part has ended, as its own status says; None if it has not, and once the silo is back."""
    samples: int | None = None
    """The number of training samples that the silo declared first."""
    statistics: Sums | None = None
    """Sums over the silo's training data; None until the silo has joined."""
    evaluation: Sums | None = None
    """The silo's sums for the model that opened the round; None until it has sent them."""
    tested: int | None = None
    """The number of test samples of the silo's first evaluation, which all others must have."""
    update: Notice | None = None
    """The notice of the silo's update of the open round, until the update is added."""
    asked: bool = True
    """Whether the open round asks the silo for an update."""
    answered: bool = False
    """Whether the silo's update is in the sum of the open round."""
    asked_rounds: int = 0
    """How many rounds that were closed had asked the silo."""
    contributed: int = 0
    """How many rounds were closed with the silo's update in the aggregate."""
    finished: bool = False
    """Whether the silo has evaluated the final model."""

    @property
    def remaining(self) -> bool:
        """Whether the silo takes part, or still may."""
        return self.refused is None and self.lost is None


class Roster:
    """The silos of a run, in the order of their ranks, and what the run waits for."""

    def __init__(self, run: Run) -> None:
        self.phase = PartyState.WAITING
        """What the run waits for: ``WAITING`` for silos to join, ``TRAINING`` for the updates of the open round,
        ``FINISHING`` for the evaluations of the final model."""
        self.weight_cap: int | None = None
        """The most that an update of the open round weighs, in samples; None before round 0."""
        self.closed = 0
        """How many rounds were closed."""
        self._quorum, self._required, self._samples = run.quorum, run.require_silos or 0, run.fraction < 1
        self._silos = {name: Silo(name, run.rank(name)) for name in run.silos}

    def __iter__(self) -> Iterator[Silo]:
        return iter(self._silos.values())

    def __getitem__(self, name: str) -> Silo:
        return self._silos[name]

    # --- changes

    def resume(self, closed: int, contributions: Mapping[str, int], asked_rounds: Mapping[str, int]) -> None:
        """Wait for all silos, after so many rounds that an earlier aggregator has closed."""
        self.closed = closed
        for silo in self:
            silo.active, silo.contributed = True, contributions.get(silo.name, 0)
            silo.asked_rounds = asked_rounds.get(silo.name, 0)

    def close_round(self) -> str:
        """Count who has contributed to the round that is closed. Returns why the run can't go on, as ``unmet``."""
        self.closed += 1
        for silo in self:
            silo.contributed += silo.answered
            silo.asked_rounds += silo.asked
        return self.unmet

    def begin_round(self, *, final: bool, weight_cap: int, asked: Collection[str] | None = None) -> None:
        """Forget the answers to the last round, and ask some silos, or all. The final round hands out the model."""
        self.phase, self.weight_cap = PartyState.FINISHING if final else PartyState.TRAINING, weight_cap
        for silo in self:
            silo.update, silo.answered, silo.evaluation = None, False, None
            silo.asked = asked is None or silo.name in asked

    def declare(self, silo: Silo, samples: object) -> None:
        """Take the number of training samples that a silo declares. A lost silo that declares them is back.

        Raises:
            MailError: The number is not a count of samples, or not the one that the silo declared first.
        """
        if type(samples) is not int or not 1 <= samples <= MAX_SAMPLES:
            raise MailError(f"declares {samples!r:.40} training samples")
        if silo.samples not in (None, samples):
            raise MailError(f"declares {samples} training samples, but had declared {silo.samples}")
        silo.samples, silo.lost = samples, None

    def miss(self, silo: Silo) -> None:
        """A round has closed without a silo that it waited for."""
        silo.active, silo.late = False, True

    def welcome(self, silo: Silo) -> None:
        """Wait for a silo from now on."""
        silo.active, silo.late = True, False

    def refuse(self, silo: Silo, reason: str) -> None:
        """End a silo's part for good. An update that is in the open round's sum stays there."""
        silo.refused = plain(reason, REASON_LIMIT)
        silo.active, silo.update, silo.statistics, silo.evaluation = False, None, None, None

    def lose(self, silo: Silo, reason: str) -> None:
        """Count a silo as lost until it is heard from again."""
        silo.lost = plain(reason, REASON_LIMIT)
        silo.active, silo.statistics = False, None

    # --- views

    @property
    def remaining(self) -> list[Silo]:
        """The silos that take part, or still may."""
        return [silo for silo in self if silo.remaining]

    @property
    def active(self) -> list[Silo]:
        """The silos that rounds wait for."""
        return [silo for silo in self if silo.active]

    @property
    def responded(self) -> list[Silo]:
        """The silos that have done what the phase asks of them."""
        return [silo for silo in self if self._has_responded(silo)]

    @property
    def unanswered(self) -> list[Silo]:
        """The silos that have not done what the phase asks of them."""
        return [silo for silo in self if silo.asked and not self._has_responded(silo)]

    @property
    def missing(self) -> list[Silo]:
        """The silos that the phase waits for."""
        return [silo for silo in self.unanswered if silo.active]

    @property
    def unmet(self) -> str:
        """Why too few silos remain for a quorum, or for what the run requires; empty if enough do."""
        if len(self.remaining) < self._quorum:
            return self.losses
        able = [silo for silo in self if silo.contributed == self.closed and (silo.remaining or silo.answered)]
        if len(able) >= self._required:
            return ""
        unable = [f"{silo.name} ({silo.contributed} of {self.closed})" for silo in self if silo not in able]
        found = f"the run requires {self._required} silos that contribute to all rounds, and {len(able)} still can"
        return "; ".join(filter(None, (f"{found}: not {members(unable)}", self.losses)))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many closed rounds have a silo's update and, if rounds ask a fraction, how many have asked the silo."""
        asked = {silo.name: silo.asked_rounds for silo in self} if self._samples else {}
        return {CONTRIBUTIONS: {silo.name: silo.contributed for silo in self}, ASKED_ROUNDS: asked}

    @property
    def awaited(self) -> list[Silo]:
        """The silos whose end would change what the phase waits for, whether or not they are active.

        Before round 0 these are all that remain: one that has joined may still fail.
        """
        if self.phase == PartyState.WAITING:
            return self.remaining
        return [silo for silo in self.unanswered if silo.remaining]

    @property
    def losses(self) -> str:
        """The silos that are refused or lost, each with the reason, for a reader."""
        refused = [f"{silo.name} ({silo.refused})" for silo in self if silo.refused is not None]
        lost = [f"{silo.name} ({silo.lost})" for silo in self if silo.lost is not None]
        parts = (("refused", refused), ("lost", lost))
        return "; ".join(f"{what} {', '.join(silos)}" for what, silos in parts if silos)

    @property
    def next_weight_cap(self) -> int:
        """The weight cap of a round that opens now: ``WEIGHT_CAP`` times the median silo of those that take part."""
        declared = [silo.samples for silo in self.remaining if silo.samples is not None]
        return WEIGHT_CAP * median_low(declared or [silo.samples for silo in self if silo.samples is not None])

    @property
    def capped(self) -> list[Silo]:
        """The silos whose updates of the open round weigh less than they have samples."""
        if self.weight_cap is None:
            return []
        return [silo for silo in self.remaining if silo.samples is not None and silo.samples > self.weight_cap]

    @property
    def next_update(self) -> Silo | None:
        """The silo whose update is added next: the first by rank that has one.

        None if there is no update, or while a silo of a lower rank may still answer before the round closes.
        """
        closing = not self.missing and len(self.responded) >= self._quorum
        for silo in self:
            if silo.update is not None:
                return silo
            if silo.asked and not (closing or silo.answered or silo.refused is not None):
                return None
        return None

    def status_fields(self) -> dict[str, Any]:
        """What the aggregator's ``status.json`` says of the silos."""
        return {
            "state": self.phase,
            "asked": names_of(silo for silo in self if silo.asked) if self._samples else [],
            "answered": names_of(self.responded),
            "present": names_of(self.active),
            "refused": {silo.name: silo.refused for silo in self if silo.refused is not None},
            **self.counts,
            "weight_cap": self.weight_cap,
            "capped": names_of(self.capped),
        }

    def weight(self, silo: Silo) -> int:
        """The weight of a silo's update of the open round: the number of samples that it declared, capped."""
        assert silo.samples is not None, silo  # noqa: S101  (declared before)
        assert self.weight_cap is not None, silo  # noqa: S101  (a round is open)
        return min(silo.samples, self.weight_cap)

    def _has_responded(self, silo: Silo) -> bool:
        if self.phase == PartyState.WAITING:
            return silo.active
        if self.phase == PartyState.FINISHING:
            return silo.finished
        return silo.answered or silo.update is not None


def names_of(silos: Iterable[Silo]) -> list[str]:
    """The names of silos, sorted."""
    return sorted(silo.name for silo in silos)
