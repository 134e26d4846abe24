"""Federations for tests of one module: a hub in the local AWS emulator, and the parties' mailboxes in this process."""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedsilo import names
from fedsilo.config.environment import Settings
from fedsilo.config.policy import Policy
from fedsilo.config.run import Run
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.record import Record
from fedsilo.ledger.writer import Ledger
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.store import PART_BYTES
from fedsilo.training import session
from fedsilo.training.disclosure import Disclosure
from fedsilo.workload import registry
from tests.support.federations import described, run_in
from tests.support.waiting import WAIT_SECONDS

log = logging.getLogger(__name__)

_count = itertools.count()


class Hub:
    """A federation's hub and the settings, mailboxes and run of its parties."""

    def __init__(self, endpoint: str, silos: tuple[str, ...] = ("cleveland", "hungary")) -> None:
        self.endpoint = endpoint
        self.federation = described(f"hub{next(_count)}", silos)
        create_hub(self.federation)
        self.run = self.run_of()
        self._mailboxes: list[Mailbox] = []
        self._ledgers: list[Ledger] = []

    def run_of(self, **choices: Any) -> Run:
        """A run of its silos. No deadline decides a test that does not choose one."""
        defaults = {"rounds": 3, "quorum": min(2, len(self.federation.silos))}
        defaults |= {"deadline_seconds": 300, "join_seconds": 300}
        return run_in(self.federation, **(defaults | choices))

    @property
    def bucket(self) -> str:
        return names.mail_bucket(self.federation.name, emulator.ACCOUNT, "us-east-1")

    def settings(self, party: str) -> Settings:
        return party_settings(self.federation, party)

    def mailbox(self, party: str, limit: int = 2**26, run: str | None = None) -> Mailbox:
        """A party's mailbox. Mails of one part's size travel in parts, which is cheaper to test than 100 MiB."""
        self._mailboxes.append(Mailbox(self.settings(party), run or self.run.id, limit, multipart_bytes=PART_BYTES))
        return self._mailboxes[-1]

    def ledger(self, party: str) -> Ledger:
        """A ledger of a party that the test plays; it is closed with the hub."""
        self._ledgers.append(Ledger(self.settings(party), self.run))
        return self._ledgers[-1]

    def record(self, run: Run) -> Record:
        """What the ledger holds of a run."""
        return Reader(MailBucket(self.settings(names.AGGREGATOR).hub_access("the test"))).record(run)

    def close(self) -> None:
        for mailbox in self._mailboxes:
            mailbox.close()
        for ledger in self._ledgers:
            ledger.close()


class Party(threading.Thread):
    """A party's part in a run, in a thread of this process, under the policy of its owner.

    ``error`` is how it ended; None if it ended well.
    """

    def __init__(self, hub: Hub, party: str, run: Run, **policy: Any) -> None:
        super().__init__(name=party, daemon=True)
        self.error: BaseException | None = None
        self.ledger = Ledger(hub.settings(party), run)
        self._take = (hub.settings(party), run, self.ledger, Policy.model_validate(policy))
        self.start()

    def run(self) -> None:
        try:
            session.take_part(*self._take)
        except BaseException as error:
            log.warning("%s ended: %r", self.name, error)
            self.error = error
        self.ledger.close()

    def end(self) -> BaseException | None:
        """Wait for the end of the party's part. Returns how it ended."""
        self.join(WAIT_SECONDS)
        assert not self.is_alive(), f"{self.name} goes on"
        return self.error


def disclosure() -> Disclosure:
    """What lets the metrics of the heart disease workload out."""
    return Disclosure(registry.declaration("heart_disease").metrics, None)


@pytest.fixture
def make_hub(endpoint: str) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def make(*silos: str) -> Hub:
        made.append(Hub(endpoint, silos))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub("cleveland", "hungary")
