"""What FedML's two managers, the aggregator's and a silo's, need alike to speak over mail."""

from typing import Any

from fedsilo import fedml_shim  # noqa: F401  (before FedML)
from fedsilo.training.comm import BAD_MAIL, TICK, MailCommManager

from fedml.core.distributed.communication.message import Message


class MailManagerMixin:
    """Comes before FedML's manager among the bases of a class that has ``_comm`` before its ``__init__`` is called."""

    _comm: MailCommManager
    com_manager: MailCommManager
    register_message_receive_handler: Any

    def _init_manager(self) -> None:
        self.com_manager = self._comm
        self.com_manager.add_observer(self)

    def register_message_receive_handlers(self) -> None:
        super().register_message_receive_handlers()  # type: ignore[misc]
        self.register_message_receive_handler(TICK, self._handle_tick)
        self.register_message_receive_handler(BAD_MAIL, self._handle_bad_mail)

    def finish(self) -> None:
        """Take no more mail, so that ``run`` returns."""
        self.com_manager.stop_receive_message()

    def _handle_tick(self, message: Message) -> None:
        """Time has passed: look at deadlines."""
        raise NotImplementedError

    def _handle_bad_mail(self, message: Message) -> None:
        """A mail of the message's sender could not be opened, for its ``REASON``."""
        raise NotImplementedError
