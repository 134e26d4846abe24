"""The rounds of a run: when one opens, whom it waits for, when it closes, and how the run ends.

FedML 0.9.6 knows none of this. Rounds have a number, a deadline and a quorum, and silos may come late and come back.
The broadcast that opens a round is the checkpoint from which a restarted aggregator continues.
"""

import math
from collections.abc import Collection
from typing import NoReturn

from fedsilo import runtime
from fedsilo.config.run import Run
from fedsilo.errors import MailError, ModelError, RunError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.messages import ASKED, BINS, WEIGHT_CAP
from fedsilo.messaging.notice import Notice
from fedsilo.states import Event, PartyState, Span
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.comm import MailCommManager
from fedsilo.training.evaluation import Evaluations
from fedsilo.training.roster import Roster, Silo, names_of
from fedsilo.training.sampling import draw
from fedsilo.training.statistics import apply_statistics, read_statistics
from fedsilo.training.updates import Updates
from fedsilo.workload.base import Sums

POLL_SECONDS = 5.0
"""How often an aggregator that waits reads the statuses of the silos it waits for: one GET for each silo."""


class Rounds:
    """The state of a run at the aggregator.

    Every method may raise ``RunError``: the run can't go on. Read ``advance`` first: it decides, after each change,
    whether a round opens or closes. What the passing of time does is in ``deadlines.py``.
    """

    def __init__(
        self, run: Run, aggregator: StreamingAggregator, comm: MailCommManager, ledger: Ledger, evaluations: Evaluations
    ) -> None:
        self.roster, self.evaluations = Roster(run), evaluations
        self.deadline = self.poll_at = 0.0
        """When the round closes, and when the silos' statuses are read next; on ``time.monotonic``'s clock."""
        self._run, self._aggregator, self._comm, self._ledger = run, aggregator, comm, ledger
        self._broadcast: Notice | None = None  # of the model that opened the round
        self.opened: dict[int, float] = {}
        """When this process opened each round, on the same clock."""
        self._updates = Updates(run, self.roster, aggregator, comm, ledger, self.opened)

    @property
    def round_idx(self) -> int:
        """The open round, from 0. FedML and the workload find it in the arguments."""
        return int(self._aggregator.args.round_idx)

    # --- from the first model to the last

    def start(self) -> None:
        """Wait for the silos."""
        self.wait(self._run.join_seconds, poll_now=True)
        self._write_status()

    def advance(self) -> None:
        """Open or close a round if it waits for nobody; end the run if too few silos remain."""
        if self.roster.phase == PartyState.TRAINING:
            self._add_updates()
        if self.roster.phase == PartyState.FINISHING:
            if not self.roster.missing:
                self.end()
        elif unmet := self.roster.unmet:
            self.fail_quorum(unmet)
        elif self.roster.phase == PartyState.WAITING:
            if all(silo.active for silo in self.roster.remaining):
                self.open_first_round()
        elif not self.roster.missing and len(self.roster.responded) >= self._run.quorum:
            self.close_round()

    def open_first_round(self) -> None:
        """Make the first model of the silos' statistics and open round 0, unless a statistic does not fit."""
        statistics, reasons = read_statistics(self.roster, self.evaluations.expected)
        if reasons:
            self.refuse(reasons)
            return
        try:
            apply_statistics(statistics, self._aggregator)
        except RunError as error:
            self._fail(str(error))
        self._open_round(0)

    def close_round(self) -> None:
        """Make the mean of the updates the global model, and open the next round with it."""
        self.evaluations.record(self.round_idx, self.roster)
        try:
            with self._ledger.span(Span.AGGREGATE, self.round_idx):
                self._aggregator.aggregate()
        except ModelError as error:
            self._fail(str(error))
        if unmet := self.roster.close_round():
            self.fail_quorum(unmet)
        self._open_round(self.round_idx + 1)

    def _open_round(self, round_idx: int) -> None:
        weight_cap, remaining = self.roster.next_weight_cap, self.roster.remaining
        asked = None if round_idx == self._run.rounds else draw(self._run, round_idx, remaining)
        fields = {ASKED: asked, BINS: self.evaluations.bins, WEIGHT_CAP: weight_cap, **self.roster.counts}
        receivers = names_of(remaining) if asked is None else asked
        notice = self._comm.broadcast(receivers, round_idx, fields, self._aggregator.get_global_model_params())
        self.begin_round(round_idx, weight_cap, asked, notice)

    def begin_round(self, round_idx: int, weight_cap: int, asked: Collection[str] | None, notice: Notice) -> None:
        """Wait for the answers to the broadcast that opens a round, of some silos or of all."""
        self._aggregator.args.round_idx = round_idx
        self._aggregator.begin_round(most=weight_cap * len(self._run.silos))
        self._broadcast = notice
        self.opened[round_idx] = runtime.monotonic()
        self.roster.begin_round(final=round_idx == self._run.rounds, weight_cap=weight_cap, asked=asked)
        self.wait(self._run.deadline_seconds)
        of_them = "" if asked is None else f"{len(asked)} of "
        self._ledger.event(Event.OPENED, round_idx, f"{of_them}{len(self.roster.remaining)} silos")
        self._write_status()

    def end(self) -> None:
        """Publish the final model and take no more mail."""
        self.evaluations.record(self.round_idx, self.roster)
        self._comm.mailbox.publish_model(self._aggregator.get_global_model_params())
        self.deadline = self.poll_at = math.inf
        text = f"model published; {sum(silo.finished for silo in self.roster)} silos have it"
        self._ledger.event(Event.FINISHED, self.round_idx, text)
        self._comm.stop_receive_message()

    def fail_quorum(self, reason: str) -> NoReturn:
        """End the run because too few silos take part, for a reason."""
        self._fail(f"{reason}; the quorum is {self._run.quorum}; missing {', '.join(names_of(self.roster.unanswered))}")

    def _fail(self, reason: str) -> NoReturn:
        """End the run with a reason, and tell it to every silo whose part has not ended."""
        for silo in self.roster:
            if silo.lost is None:
                self._comm.send_finish(silo.name, self.round_idx, reason, refused=False)
        raise RunError(reason)

    # --- what silos send

    def join(self, silo: Silo, samples: object, statistics: Sums) -> None:
        """A silo has come, or come back, or shows that it is still there.

        Raises:
            MailError: The number of training samples that the silo declares is wrong.
        """
        self.roster.declare(silo, samples)
        if self._broadcast is None:
            silo.active, silo.statistics = True, statistics
            self._write_status()
            self.advance()
            return
        if not silo.active and not silo.late:
            self.roster.welcome(silo)
            self._ledger.event(Event.JOINED, self.round_idx, f"{silo.name} is here")
        if silo in self.roster.awaited:
            self._comm.mailbox.remind(silo.name, self._broadcast)
        self._write_status()

    def announce(self, silo: Silo, notice: Notice) -> None:
        """An update of a silo is in the bucket.

        Raises:
            NoticeError, MailError: See ``Updates.take``.
        """
        taken = self._updates.take(silo, notice)
        self._write_status()
        if taken:
            self.advance()

    def _add_updates(self) -> None:
        """Add the updates whose turn it is. A silo whose update turns out to be bad is refused."""
        while silo := self.roster.next_update:
            try:
                self._updates.add(silo)
            except MailError as error:
                self._refuse(silo, str(error))
            self._write_status()

    def finish(self, silo: Silo, evaluation: Sums) -> None:
        """A silo has evaluated the final model."""
        if self.roster.phase == PartyState.FINISHING:
            silo.evaluation, silo.finished = evaluation, True
            self._write_status()
            self.advance()

    # --- silos that drop out

    def refuse(self, reasons: dict[str, str]) -> None:
        """End the part of silos, each for its reason, and continue without them if the quorum allows."""
        for name, reason in reasons.items():
            self._refuse(self.roster[name], reason)
        self._write_status()
        self.advance()

    def _refuse(self, silo: Silo, reason: str) -> None:
        self.roster.refuse(silo, reason)
        self._ledger.event(Event.REFUSED, self.round_idx, f"{silo.name}: {reason}")
        self._comm.send_finish(silo.name, self.round_idx, reason, refused=True)

    def lose(self, reasons: dict[str, str]) -> None:
        """Continue without silos whose part has ended by itself, each for its reason, if the quorum allows."""
        for name, reason in reasons.items():
            self.roster.lose(self.roster[name], reason)
            self._ledger.event(Event.LOST, self.round_idx, f"{name}: {reason}")
        self._write_status()
        self.advance()

    def close_without_missing(self) -> None:
        """Close the open round. The next ones wait for a missing silo once an update shows that it is quick enough."""
        missing = self.roster.missing
        text = f"closed with {len(self.roster.responded)}; missing {', '.join(names_of(missing))}"
        self._ledger.event(Event.DEADLINE, self.round_idx, text)
        for silo in missing:
            self.roster.miss(silo)
        self.advance()

    # --- waiting and recording

    def wait(self, seconds: float, *, poll_now: bool = False) -> None:
        """Set the deadline to so many seconds from now, and when to read the silos' statuses."""
        now = runtime.monotonic()
        self.deadline, self.poll_at = now + seconds, now + (0.0 if poll_now else POLL_SECONDS)
        self._comm.wake_at = min(self.deadline, self.poll_at)

    def _write_status(self) -> None:
        self._ledger.status(round=self.round_idx, **self.roster.status_fields())
