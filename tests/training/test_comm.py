"""FedML's messages become mail and back. Mail that is not for a party never reaches its manager."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedsilo.messaging import codec
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from fedsilo.training.comm import BAD_MAIL, NOTICE, MailCommManager
from tests.support import mails
from tests.support.hub import Hub

from fedml.core.distributed.communication.message import Message
from fedml.cross_silo.server.message_define import MyMessage


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[Any, dict[str, Any]]] = []

    def receive_message(self, kind: Any, message: Message) -> None:
        self.messages.append((kind, message.get_params()))


def end(hub: Hub, party: str) -> tuple[MailCommManager, Seen]:
    comm, seen = MailCommManager(hub.mailbox(party), hub.run, hub.ledger(party)), Seen()
    comm.add_observer(seen)
    return comm, seen


def deliver(comm: MailCommManager) -> None:
    for notice in comm.mailbox.receive(0):
        comm.deliver(notice)


def test_a_message_arrives_with_its_parameters_and_the_rank_of_its_sender(hub: Hub) -> None:
    silo, _ = end(hub, "hungary")
    aggregator, seen = end(hub, AGGREGATOR)
    message = Message(MyMessage.MSG_TYPE_C2S_CLIENT_STATUS, 1, 0)  # not the rank of the sender
    message.add_params(MyMessage.MSG_ARG_KEY_NUM_SAMPLES, 185)
    message.add_params("evaluation", {"count": torch.tensor(3)})
    message.add_params("round_idx", 4)
    silo.send_message(message)
    deliver(aggregator)
    [(kind, params)] = seen.messages
    assert kind == MyMessage.MSG_TYPE_C2S_CLIENT_STATUS
    assert (params["sender"], params["receiver"]) == (2, 0), "the prefix of the mail tells the sender"
    assert (params["round_idx"], params["num_samples"]) == (4, 185)
    assert params["evaluation"]["count"].equal(torch.tensor(3))
    assert params["statistics"] is None


def test_an_updates_message_holds_its_notice_until_the_aggregator_opens_it(hub: Hub) -> None:
    silo, _ = end(hub, "hungary")
    aggregator, seen = end(hub, AGGREGATOR)
    message = Message(MyMessage.MSG_TYPE_C2S_SEND_MODEL_TO_SERVER, 2, 0)
    message.add_params(MyMessage.MSG_ARG_KEY_MODEL_PARAMS, {"w": torch.arange(3.0)})
    message.add_params("round_idx", 4)
    silo.send_message(message)
    deliver(aggregator)
    [(kind, params)] = seen.messages
    assert (kind, params["sender"]) == (MyMessage.MSG_TYPE_C2S_SEND_MODEL_TO_SERVER, 2)
    assert params[NOTICE].address.round_idx == 4
    assert aggregator.open(params[NOTICE]).groups["model"]["w"].equal(torch.arange(3.0))


def test_fields_of_a_mail_do_not_replace_its_address_and_header(hub: Hub) -> None:
    aggregator, seen = end(hub, AGGREGATOR)
    fields = {"sender": 1, "receiver": 9, "msg_type": 7, "round_idx": 99, "model_params": "evil", "evaluation": "evil"}
    hub.mailbox("hungary").send(AGGREGATOR, "status", 3, fields, {})
    deliver(aggregator)
    [(kind, params)] = seen.messages
    assert (kind, params["msg_type"]) == (MyMessage.MSG_TYPE_C2S_CLIENT_STATUS,) * 2
    assert (params["sender"], params["receiver"], params["round_idx"]) == (2, 0, 3)
    assert params["model_params"] is params["evaluation"] is None


@pytest.mark.parametrize("kind", ["sync", "finish", "tick", "badmail", "x"])
def test_a_kind_that_a_silo_may_not_send_is_bad_mail(hub: Hub, kind: str, tmp_path: Path) -> None:
    aggregator, seen = end(hub, AGGREGATOR)
    mailbox = hub.mailbox("hungary")
    codec.write(tmp_path / "mail", kind, 0, {}, {})
    mailbox.remind(AGGREGATOR, mails.put(mailbox, (tmp_path / "mail").read_bytes(), kind=kind))
    deliver(aggregator)
    [(told, params)] = seen.messages
    assert (told, params["sender"]) == (BAD_MAIL, 2)
    assert f"by hungary is of unknown type {kind!r}" in params["reason"]


def test_mail_between_silos_and_of_strangers_is_not_opened(hub: Hub) -> None:
    silo, seen = end(hub, "cleveland")
    hub.mailbox("hungary").send("cleveland", "sync", 0, {}, {})
    silo.deliver(Notice(hub.run.keys.mail("stranger", "cleveland", 0, "sync", 0), 1, ""))
    deliver(silo)
    assert seen.messages == []


def test_only_the_newest_broadcast_of_a_batch_is_opened_and_only_once(hub: Hub) -> None:
    silo, seen = end(hub, "hungary")
    aggregator = hub.mailbox(AGGREGATOR)
    for round_idx in (3, 5, 4):
        aggregator.broadcast(["hungary"], "sync", round_idx, {}, {})
    for notice in silo._worth_opening(silo.mailbox.receive(0)):
        silo.deliver(notice)
    assert [params["round_idx"] for _, params in seen.messages] == [5]
    aggregator.broadcast(["hungary"], "sync", 5, {}, {})  # a reminder
    aggregator.send("hungary", "finish", 5, {}, {})
    assert [notice.address.receiver for notice in silo._worth_opening(silo.mailbox.receive(0))] == ["hungary"]
