"""The aggregator's end of FedML: its server manager, whose hooks hand every message to the rounds."""

import logging
from argparse import Namespace
from typing import Any

from fedsilo import fedml_shim, runtime  # noqa: F401  (fedml_shim before FedML)
from fedsilo.config.run import Run
from fedsilo.errors import MailError, NoticeError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.messages import EVALUATION, STATISTICS
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.comm import NOTICE, MailCommManager, MailManagerMixin
from fedsilo.training.deadlines import Deadlines
from fedsilo.training.resume import resume
from fedsilo.training.roster import Silo
from fedsilo.training.rounds import Rounds

from fedml.core.distributed.communication.message import Message
from fedml.cross_silo.server.fedml_server_manager import FedMLServerManager
from fedml.cross_silo.server.message_define import MyMessage

log = logging.getLogger(__name__)


class AggregatorManager(MailManagerMixin, FedMLServerManager):  # type: ignore[misc]
    """Opens and closes rounds. Raises ``RunError`` from ``run`` if the run can't go on."""

    def __init__(
        self,
        args: Namespace,
        aggregator: StreamingAggregator,
        comm: MailCommManager,
        run: Run,
        rounds: Rounds,
        ledger: Ledger,
    ) -> None:
        self._comm, self._run, self._rounds, self._ledger = comm, run, rounds, ledger
        self._deadlines = Deadlines(comm.mailbox.settings, run, rounds)
        super().__init__(args, aggregator, client_rank=0, client_num=len(run.silos), backend="MAIL")

    def receive_message(self, msg_type: Any, msg_params: Message) -> None:
        """Handle a message. A silo that sends something wrong is refused, and nothing it sends later is handled."""
        if msg_params.get_sender_id() == self.rank:
            super().receive_message(msg_type, msg_params)
            return
        silo = self._sender(msg_params)
        if silo.refused is not None:
            return
        try:
            super().receive_message(msg_type, msg_params)
        except NoticeError as error:
            log.warning("dropped a notice: %s", error)
        except MailError as error:
            self._rounds.refuse({silo.name: str(error)})
        silo.heard = runtime.monotonic()

    def handle_message_connection_ready(self, msg_params: Message) -> None:
        """Start the rounds, or continue the one that an earlier aggregator had opened."""
        notice = self._comm.mailbox.newest_broadcast()
        if notice is None:
            self._rounds.start()
        else:
            resume(notice, self._rounds, self.aggregator, self._comm, self._ledger)

    def process_online_status(self, client_status: str, msg_params: Message) -> None:
        """Let a silo join."""
        samples = msg_params.get(MyMessage.MSG_ARG_KEY_NUM_SAMPLES)
        self._rounds.join(self._sender(msg_params), samples, msg_params.get(STATISTICS) or {})

    def handle_message_receive_model_from_client(self, msg_params: Message) -> None:
        """Take the notice of an update."""
        self._rounds.announce(self._sender(msg_params), msg_params.get(NOTICE))

    def process_finished_status(self, client_status: str, msg_params: Message) -> None:
        """Take the evaluation of the final model."""
        self._rounds.finish(self._sender(msg_params), msg_params.get(EVALUATION) or {})

    def _handle_tick(self, message: Message) -> None:
        self._deadlines.tick()

    def _sender(self, message: Message) -> Silo:
        return self._rounds.roster[self._run.parties[message.get_sender_id()]]
