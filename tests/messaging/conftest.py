"""The mailboxes of a silo and of the aggregator."""

import pytest

from fedsilo.messaging.mailbox import Mailbox
from fedsilo.names import AGGREGATOR
from tests.support.hub import Hub


@pytest.fixture
def silo(hub: Hub) -> Mailbox:
    return hub.mailbox("cleveland")


@pytest.fixture
def aggregator(hub: Hub) -> Mailbox:
    return hub.mailbox(AGGREGATOR)
