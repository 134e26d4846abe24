"""A silo's end of FedML: its client manager, which trains when a round opens.

A silo that was started again needs no answer from the aggregator: the newest broadcast in the bucket is the open round.
"""

import logging
from argparse import Namespace
from typing import Any

from fedsilo import (
    fedml_shim,  # noqa: F401  (before FedML)
    runtime,
)
from fedsilo.config.policy import Policy
from fedsilo.config.run import Run
from fedsilo.errors import MailError, RefusedError, RunError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.messages import ASKED, BINS, EVALUATION, REASON, REFUSED, ROUND, STATISTICS, MailKind
from fedsilo.names import AGGREGATOR
from fedsilo.states import PartyState, Publication, Span
from fedsilo.text import plain
from fedsilo.training import sums
from fedsilo.training.comm import DIGEST, MailCommManager, MailManagerMixin
from fedsilo.training.validation import check_bins, check_parameters
from fedsilo.workload import modes
from fedsilo.workload.base import Sums, Trainer
from fedsilo.workload.registry import SiloData

from fedml.core.distributed.communication.message import Message
from fedml.cross_silo.client.fedml_client_master_manager import ClientMasterManager
from fedml.cross_silo.client.fedml_trainer_dist_adapter import TrainerDistAdapter
from fedml.cross_silo.client.message_define import MyMessage

HEARTBEAT_SECONDS = 60.0
"""How often a waiting silo tells the aggregator that it is there. The answer replaces a notice that was lost."""

PATIENCE_DEADLINES = 3
"""A silo gives up when it has heard nothing from the aggregator for this many of the longest deadline, or for the join
time."""

log = logging.getLogger(__name__)


class SiloManager(MailManagerMixin, ClientMasterManager):  # type: ignore[misc]
    """Trains when a round opens. ``run`` returns once the silo has evaluated the final model.

    ``run`` raises ``RefusedError`` if the aggregator ended the silo's part, ``RunError`` if the run has failed or the
    aggregator is silent, and ``MailError`` if the aggregator sends something that is not the model.
    """

    def __init__(
        self,
        args: Namespace,
        adapter: TrainerDistAdapter,
        data: SiloData,
        comm: MailCommManager,
        run: Run,
        ledger: Ledger,
        policy: Policy,
    ) -> None:
        self._data, self._comm, self._run, self._ledger = data, comm, run, ledger
        self._publishes_model = Publication.LOCAL_MODEL in policy.publish
        ledger.status(publishes_model=self._publishes_model)
        super().__init__(args, adapter, rank=args.rank, size=len(run.silos), backend="MAIL")
        self.round_idx = -1  # the last round that the silo has worked on
        with modes.evaluating(self._trainer.model):
            self._statistics = self._trainer.statistics(data.train)
        self._evaluation: Sums = {}
        self._heard = runtime.monotonic()

    @property
    def _trainer(self) -> Trainer:
        return self.trainer_dist_adapter.trainer.trainer  # type: ignore[no-any-return]

    # --- FedML's hooks

    def send_message(self, message: Message) -> None:
        """Send a message with the round that it belongs to."""
        message.add_params(ROUND, max(0, self.round_idx))
        super().send_message(message)

    def handle_message_connection_ready(self, msg_params: Message) -> None:
        """Report ONLINE, and continue with the open round if there is one.

        A round that was answered before the silo was started again is not trained a second time. If the aggregator has
        ended the silo's part before, it ends now.
        """
        if finish := self._comm.mailbox.last(AGGREGATOR, MailKind.FINISH):
            self._comm.deliver(finish)
        sent = self._comm.mailbox.last_sent(AGGREGATOR, MailKind.UPDATE)
        if sent is not None:
            self.round_idx = sent.address.round_idx
        self.send_client_status(0)
        self._ledger.status(state=PartyState.WAITING)
        newest = self._comm.mailbox.newest_broadcast()
        if newest is not None and sent is not None and newest.address.seq == self.round_idx:
            self._comm.mailbox.remind(AGGREGATOR, sent)
        elif newest is not None:
            self._comm.deliver(newest)

    def handle_message_receive_model_from_server(self, msg_params: Message) -> None:
        """Evaluate the global model, train on it unless it is the final one, and answer, if the round asks the silo."""
        self._heard = runtime.monotonic()
        round_idx = msg_params.get(ROUND)
        if round_idx <= self.round_idx:
            log.info("round %d was answered before", round_idx)
            return
        if round_idx > self.num_rounds:
            raise MailError(f"the aggregator opened round {round_idx} of a run of {self.num_rounds} rounds")
        if not self._is_asked(msg_params.get(ASKED)):
            log.info("round %d does not ask this silo", round_idx)
            return
        model = msg_params.get(MyMessage.MSG_ARG_KEY_MODEL_PARAMS) or {}
        check_parameters(model, self._trainer.get_model_params(), "the global model")
        self._trainer.bins = check_bins(msg_params.get(BINS))
        self.round_idx = round_idx
        self.args.tracker.begin_round()
        adapter = self.trainer_dist_adapter
        adapter.update_dataset()
        adapter.update_model(model)
        with self._ledger.span(Span.EVALUATE, round_idx), modes.evaluating(self._trainer.model):
            self._evaluation = self._trainer.test(self._data.test, adapter.device, self.args)
        if round_idx == self.num_rounds:
            self.send_client_status(0, self.RUN_FINISHED_STATUS_FLAG)
            self.finish()
            return
        self._ledger.status(state=PartyState.TRAINING, round=round_idx)
        self.args.checkpoint.begin(round_idx, msg_params.get(DIGEST))
        with self._ledger.span(Span.TRAIN, round_idx), modes.training(self._trainer.model):
            weights, samples = adapter.train(round_idx)
        if self._publishes_model and (round_idx == self.num_rounds - 1 or self._run.fraction < 1):
            self._comm.mailbox.publish_model(weights)  # no later round may ask the silo
        self.send_model_to_server(0, weights, samples)
        self.args.checkpoint.finish()
        self._ledger.status(state=PartyState.WAITING)
        self._heard = runtime.monotonic()

    def send_model_to_server(self, receive_id: int, weights: Any, local_sample_num: int) -> None:
        """Send an update, with the evaluation of the model that it began from."""
        message = Message(MyMessage.MSG_TYPE_C2S_SEND_MODEL_TO_SERVER, self.rank, receive_id)
        message.add_params(MyMessage.MSG_ARG_KEY_MODEL_PARAMS, weights)
        message.add_params(MyMessage.MSG_ARG_KEY_NUM_SAMPLES, local_sample_num)
        message.add_params(EVALUATION, sums.pack(self._evaluation))
        self.send_message(message)

    def send_client_status(self, receive_id: int, status: str = ClientMasterManager.ONLINE_STATUS_FLAG) -> None:
        """Send a status, with everything that the aggregator may have missed."""
        message = Message(MyMessage.MSG_TYPE_C2S_CLIENT_STATUS, self.rank, receive_id)
        message.add_params(MyMessage.MSG_ARG_KEY_CLIENT_STATUS, status)
        message.add_params(MyMessage.MSG_ARG_KEY_NUM_SAMPLES, self._data.num_train)
        message.add_params(STATISTICS, sums.pack(self._statistics))
        message.add_params(EVALUATION, sums.pack(self._evaluation))
        self.send_message(message)
        self._comm.wake_at = runtime.monotonic() + HEARTBEAT_SECONDS

    def handle_message_finish(self, msg_params: Message) -> None:
        """The aggregator ended this silo's part, or the run."""
        reason = plain(msg_params.get(REASON))
        if msg_params.get(REFUSED):
            raise RefusedError(f"refused by the aggregator: {reason}")
        raise RunError(reason)

    def _is_asked(self, asked: object) -> bool:
        """Whether a round asks this silo, by what its broadcast says: None for all silos, or names."""
        return asked is None or (isinstance(asked, list) and self._run.parties[self.rank] in asked)

    def _look_for_a_round(self) -> None:
        """Take the newest broadcast if it is new here: nobody tells a silo of a round that does not ask it."""
        newest = self._comm.mailbox.newest_broadcast()
        if newest is not None and self._comm.is_new(newest):
            self._comm.deliver(newest)

    def _handle_tick(self, message: Message) -> None:
        patience = max(self._run.join_seconds, PATIENCE_DEADLINES * self._run.longest_deadline)
        if runtime.monotonic() - self._heard > patience:
            self._look_for_a_round()
        if runtime.monotonic() - self._heard > patience:
            raise RunError(f"no word from the aggregator for {patience:g} s; see its status and log")
        if runtime.monotonic() >= self._comm.wake_at:
            self.send_client_status(0)
