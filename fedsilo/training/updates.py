"""The updates of the open round, which are added in the order of ranks.

The same updates then have the same sum, bit for bit, in whatever order they come. An update whose turn has not come
stays in the bucket, and only its notice is kept. So memory does not grow with the number of silos.
"""

import logging
from collections.abc import Mapping

from fedsilo import (
    fedml_shim,  # noqa: F401  (before FedML)
    runtime,
)
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError, MailError, NoticeError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.codec import Tensors
from fedsilo.messaging.messages import EVALUATION, MODEL
from fedsilo.messaging.notice import Notice
from fedsilo.states import Event, PartyState, Span
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.comm import MailCommManager
from fedsilo.training.roster import Roster, Silo

from fedml.cross_silo.server.message_define import MyMessage

log = logging.getLogger(__name__)


class Updates:
    """Takes the notices of updates, and opens and adds each update in its turn (``Roster.next_update``)."""

    def __init__(
        self,
        run: Run,
        roster: Roster,
        aggregator: StreamingAggregator,
        comm: MailCommManager,
        ledger: Ledger,
        opened: Mapping[int, float],
    ) -> None:
        self._run, self._roster, self._aggregator, self._comm, self._ledger = run, roster, aggregator, comm, ledger
        self._capped: set[tuple[str, int | None]] = set()  # silos and weight caps that were recorded
        self._opened = opened  # when this process opened each round, on runtime.monotonic's clock

    @property
    def _round_idx(self) -> int:
        return int(self._aggregator.args.round_idx)

    def take(self, silo: Silo, notice: Notice) -> bool:
        """Take the notice of a silo's update.

        Returns:
            Whether the open round has the update now. One of another round, and a second one, are dropped.

        Raises:
            NoticeError: There is no such update in the bucket.
            MailError: The update is too large or can't be read, or the round did not ask the silo.
        """
        round_idx = notice.address.round_idx
        if round_idx == self._round_idx and not silo.asked:
            raise MailError(f"{notice}: round {round_idx} did not ask {silo.name}")
        training = self._roster.phase == PartyState.TRAINING
        if not training or round_idx != self._round_idx or silo in self._roster.responded:
            self._drop(silo, round_idx)
            return False
        silo.update = notice
        if self._roster.next_update is silo:  # it is opened at once, which checks the notice, too
            return True
        try:
            self._comm.mailbox.verify(notice)
        except FedsiloError:
            silo.update = None
            raise
        return True

    def _drop(self, silo: Silo, round_idx: int) -> None:
        """Drop an update of a round that has closed, and see from it whether rounds should wait for the silo again.

        They do if the silo has needed no longer than its deadline, counted from when it could begin: the round's
        opening, or the silo's mail before. With a silo that needs longer, each round would pay the deadline in vain.
        """
        now, text = runtime.monotonic(), f"{silo.name} answered round {round_idx}; dropped"
        took = now - max(self._opened.get(round_idx, now), silo.heard)
        deadline = self._run.deadline_of(silo.name)
        if silo.late and took > deadline:
            text += f"; it took {took:.0f} s of its {deadline:g} s, and rounds do not wait for it"
        self._ledger.event(Event.LATE, self._round_idx, text)
        if silo.late and round_idx in self._opened and took <= deadline:
            self._roster.welcome(silo)
            self._ledger.event(Event.JOINED, self._round_idx, f"{silo.name} is back")

    def add(self, silo: Silo) -> None:
        """Open the silo's update and add it to the sum. It is dropped if its notice is wrong.

        Raises:
            MailError: The update does not fit the model, or the number of training samples is wrong.
        """
        assert silo.update is not None, silo  # noqa: S101  (it is the next because it has one)
        notice, silo.update = silo.update, None
        try:
            mail = self._comm.open(notice)
        except NoticeError as error:
            log.warning("dropped a notice: %s", error)
            return
        self._roster.declare(silo, mail.fields.get(MyMessage.MSG_ARG_KEY_NUM_SAMPLES))
        with self._ledger.span(Span.AGGREGATE, self._round_idx):
            index = silo.rank - 1  # FedML counts silos from 0
            model: Tensors = mail.groups.get(MODEL, {})
            self._aggregator.add_local_trained_result(index, model, self._roster.weight(silo))
        self._record_cap(silo)
        self._roster.welcome(silo)
        silo.answered, silo.evaluation = True, mail.groups.get(EVALUATION, {})

    def _record_cap(self, silo: Silo) -> None:
        """Record that a silo's update weighs less than it has samples, once for each cap."""
        cap = self._roster.weight_cap
        if silo in self._roster.capped and (silo.name, cap) not in self._capped:
            self._capped.add((silo.name, cap))
            text = f"{silo.name} has {silo.samples} samples; its update weighs as {cap}"
            self._ledger.event(Event.CAPPED, self._round_idx, text)
