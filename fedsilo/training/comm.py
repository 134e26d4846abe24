"""FedML's communication manager over mail, and what both of FedML's managers need to use it.

It turns FedML's messages into mail and back, and hands every message to the manager in one thread. FedML 0.9.6 fails
to make a manager with a backend that it does not know, so ``MailManagerMixin`` replaces ``_init_manager``.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fedsilo import (
    fedml_shim,  # noqa: F401  (before FedML)
    runtime,
)
from fedsilo.config.queue_settings import LONG_POLL_SECONDS
from fedsilo.config.run import Run
from fedsilo.errors import MailError, NoticeError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.codec import Mail, Tensors
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.messages import FROM_AGGREGATOR, MODEL, REASON, REFUSED, ROUND, SUMS, MailKind
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR, EVERYONE
from fedsilo.states import Span
from fedsilo.text import plain

from fedml.core.distributed.communication.base_com_manager import BaseCommunicationManager
from fedml.core.distributed.communication.message import Message
from fedml.core.distributed.communication.observer import Observer
from fedml.cross_silo.server.message_define import MyMessage

FEDML_TYPES = {
    MailKind.SYNC: MyMessage.MSG_TYPE_S2C_SYNC_MODEL_TO_CLIENT,
    MailKind.FINISH: MyMessage.MSG_TYPE_S2C_FINISH,
    MailKind.UPDATE: MyMessage.MSG_TYPE_C2S_SEND_MODEL_TO_SERVER,
    MailKind.STATUS: MyMessage.MSG_TYPE_C2S_CLIENT_STATUS,
}
"""FedML's message type of each kind of mail."""

TICK = "tick"
"""A local message: time has passed, and the manager checks its deadlines."""

NOTICE = "notice"
"""The parameter of an update's message that is its notice: the aggregator opens an update when its turn has come."""

BAD_MAIL = "bad-mail"
"""A local message: a mail could not be opened. It has the mail's sender, and says why in ``REASON``."""

DIGEST = "digest"
"""The SHA-256 of the mail that a message was made of, in hexadecimal. The receiver adds it."""

_ADDRESSING = (Message.MSG_ARG_KEY_TYPE, Message.MSG_ARG_KEY_SENDER, Message.MSG_ARG_KEY_RECEIVER, ROUND)
"""Message parameters that are in a mail's address and header, and so not among its fields."""

log = logging.getLogger(__name__)


class MailCommManager(BaseCommunicationManager):  # type: ignore[misc]
    """One party's end of the messages of a run."""

    def __init__(self, mailbox: Mailbox, run: Run, ledger: Ledger) -> None:
        self.mailbox = mailbox
        self.wake_at = 0.0
        """When the manager wants its next tick, on ``time.monotonic``'s clock."""
        self._ledger = ledger
        self._run = run
        self._rank = run.rank(mailbox.settings.party)
        self._observers: list[Observer] = []
        self._receiving = False
        self._round = 0
        self._newest_broadcast = -1

    # --- FedML's interface

    def send_message(self, message: Message) -> None:
        """Mail one message. Its parameters are JSON values, except for the model and the sums, which are tensors."""
        params = dict(message.get_params())
        kind = next(kind for kind, number in FEDML_TYPES.items() if number == message.get_type())
        model = params.pop(MyMessage.MSG_ARG_KEY_MODEL_PARAMS, None)
        groups: dict[str, Tensors] = {name: params.pop(name) for name in SUMS if name in params}
        if model is not None:
            groups[MODEL] = model
        fields = {name: value for name, value in params.items() if name not in _ADDRESSING}
        with self._ledger.span(Span.MAIL, params[ROUND]):
            self.mailbox.send(self._run.parties[message.get_receiver_id()], kind, params[ROUND], fields, groups)

    def add_observer(self, observer: Observer) -> None:
        """Dispatch messages to the observer, too."""
        self._observers.append(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Dispatch no more messages to the observer."""
        self._observers.remove(observer)

    def handle_receive_message(self) -> None:
        """Wait for mail and dispatch it, until ``stop_receive_message``. A party that waits uses no CPU."""
        self._receiving = True
        self._dispatch(self._local(MyMessage.MSG_TYPE_CONNECTION_IS_READY))
        while self._receiving:
            with self._ledger.span(Span.WAIT, lambda: self._round):
                wait = min(LONG_POLL_SECONDS, self.wake_at - runtime.monotonic())
                notices = self.mailbox.receive(max(0.0, wait))
            for notice in self._worth_opening(notices):
                if self._receiving:
                    self.deliver(notice)
            self._dispatch(self._local(TICK))

    def stop_receive_message(self) -> None:
        """End ``handle_receive_message`` after the message that is being handled."""
        self._receiving = False

    # --- for fedsilo's managers

    def broadcast(self, silos: Iterable[str], round_idx: int, fields: Mapping[str, Any], model: Tensors) -> Notice:
        """Mail the global model that opens a round, and fields of JSON values, to silos, as one object."""
        with self._ledger.span(Span.MAIL, round_idx):
            return self.mailbox.broadcast(silos, MailKind.SYNC, round_idx, fields, {MODEL: model})

    def send_finish(self, silo: str, round_idx: int, reason: str, *, refused: bool) -> None:
        """Tell a silo that its part in the run has ended: it is refused, or the whole run has failed."""
        message = Message(FEDML_TYPES[MailKind.FINISH], self._rank, self._run.rank(silo))
        for name, value in ((ROUND, round_idx), (REASON, plain(reason)), (REFUSED, refused)):
            message.add_params(name, value)
        self.send_message(message)

    def deliver(self, notice: Notice) -> None:
        """Open a mail and dispatch it. A mail that is not valid is dispatched as ``BAD_MAIL``.

        The aggregator does not open an update yet: the message holds its notice. Mail is ignored if its sender is not
        in the run, or if both ends are silos.
        """
        sender = notice.address.sender
        if sender not in self._run.parties or (self._rank == 0) == (sender == AGGREGATOR):
            return
        if self._rank == 0 and notice.address.kind == MailKind.UPDATE:
            message = Message(FEDML_TYPES[MailKind.UPDATE], self._run.rank(sender), self._rank)
            message.add_params(NOTICE, notice)
        else:
            try:
                message = self._message(self.open(notice))
                message.add_params(DIGEST, notice.digest)
            except NoticeError as error:
                log.warning("dropped a notice: %s", error)
                return
            except MailError as error:
                message = Message(BAD_MAIL, self._run.rank(sender), self._rank)
                message.add_params(REASON, str(error))
        self._dispatch(message)

    def open(self, notice: Notice) -> Mail:
        """Download a mail, and check it and its kind. Raises as ``Mailbox.open`` does."""
        sender = notice.address.sender
        with self._ledger.span(Span.MAIL, lambda: self._round):
            mail = self.mailbox.open(notice)
        if mail.kind not in FEDML_TYPES or (mail.kind in FROM_AGGREGATOR) != (sender == AGGREGATOR):
            raise MailError(f"{notice.key} by {sender} is of unknown type {mail.kind!r:.40}")
        self._round = mail.round_idx
        if notice.address.receiver == EVERYONE:
            self._newest_broadcast = mail.round_idx
        return mail

    def is_new(self, broadcast: Notice) -> bool:
        """Whether the broadcast is newer than all that were dispatched."""
        return broadcast.address.seq > self._newest_broadcast

    def _message(self, mail: Mail) -> Message:
        """FedML's message of a mail. A field can't replace what the mail's address and header say."""
        message = Message(FEDML_TYPES[MailKind(mail.kind)], self._run.rank(mail.sender), self._rank)
        for name, value in mail.fields.items():
            if name not in message.get_params():
                message.add_params(name, value)
        message.add_params(ROUND, mail.round_idx)
        message.add_params(MyMessage.MSG_ARG_KEY_MODEL_PARAMS, mail.groups.get(MODEL))
        for name in SUMS:
            message.add_params(name, mail.groups.get(name))
        return message

    def _worth_opening(self, notices: list[Notice]) -> list[Notice]:
        """Leave out the broadcasts of closed rounds, and those that this party has seen."""
        rounds = [notice.address.seq for notice in notices if notice.address.receiver == EVERYONE]
        newest = max(rounds, default=-1)
        return [
            notice
            for notice in notices
            if notice.address.receiver != EVERYONE or newest == notice.address.seq > self._newest_broadcast
        ]

    def _local(self, kind: Any) -> Message:
        return Message(kind, self._rank, self._rank)

    def _dispatch(self, message: Message) -> None:
        for observer in self._observers:
            observer.receive_message(message.get_type(), message)


class MailManagerMixin:
    """Makes one of FedML's managers speak over mail.

    It is the first base of a class, which sets ``_comm`` before it calls FedML's ``__init__``.
    """

    _comm: MailCommManager
    com_manager: MailCommManager
    register_message_receive_handler: Any

    def _init_manager(self) -> None:
        self.com_manager = self._comm
        self.com_manager.add_observer(self)

    def register_message_receive_handlers(self) -> None:
        """Register the handlers of FedML's manager, and those of local messages."""
        super().register_message_receive_handlers()  # type: ignore[misc]
        self.register_message_receive_handler(TICK, self._handle_tick)
        self.register_message_receive_handler(BAD_MAIL, self._handle_bad_mail)

    def finish(self) -> None:
        """Take no more mail, so that ``run`` returns."""
        self.com_manager.stop_receive_message()

    def _handle_tick(self, message: Message) -> None:
        """Time has passed: check the deadlines."""
        raise NotImplementedError

    def _handle_bad_mail(self, message: Message) -> None:
        raise MailError(message.get(REASON))
