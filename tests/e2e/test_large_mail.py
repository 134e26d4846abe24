"""A mail that is larger than what a signed 32-bit number can count."""

import pytest
import torch

from fedsilo.messaging.mailbox import Mailbox
from fedsilo.names import AGGREGATOR
from tests.support.hub import Hub

BYTES = 2**31 + 2**20


@pytest.mark.e2e
def test_a_mail_of_more_than_2_gib_arrives_as_it_was_sent(hub: Hub) -> None:
    silo, aggregator = (Mailbox(hub.settings(party), hub.run.id, limit=2**32) for party in ("cleveland", AGGREGATOR))
    sent = torch.zeros(BYTES, dtype=torch.uint8)
    sent[-1000:] = torch.arange(1000) % 256
    silo.send(AGGREGATOR, "update", 0, {}, {"model": {"w": sent}})
    [notice] = aggregator.receive(1)
    received = aggregator.open(notice).groups["model"]["w"]
    assert received.equal(sent)
    assert list(silo.spool.iterdir()) == list(aggregator.spool.iterdir()) == []
    for mailbox in (silo, aggregator):
        mailbox.close()
