"""Parties that a test plays: it reads their mail and answers as a trainer would, or otherwise."""

from collections import deque
from typing import Any

import torch

from fedsilo.messaging.codec import Mail
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.messages import EVALUATION, MODEL, STATISTICS, MailKind
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from fedsilo.workload import metrics, registry
from fedsilo.workload.base import Sums
from tests.support.hub import Hub
from tests.support.waiting import until

LEAST, MOST = torch.tensor([*registry.declaration("heart_disease").features.values()], dtype=torch.float64).unbind(-1)
"""The least and the largest value of each feature."""


def statistics_of(features: torch.Tensor) -> Sums:
    """The statistics of patients with these features, float64 [n, 13]."""
    return {
        "count": torch.tensor(len(features)),
        "sum": features.sum(0),
        "sum_of_squares": features.square().sum(0),
    }


SOME_STATISTICS: Sums = statistics_of(torch.stack([LEAST, MOST]).repeat(25, 1))
"""The statistics of 50 patients, half of whom have the least value of each feature, and half the largest."""

SOME_EVALUATION: Sums = metrics.binary_sums(torch.tensor([-1.0, 0.5, 2.0] * 4), torch.tensor([0, 1, 1] * 4), None)
"""The evaluation of 12 patients, all of whom the model predicts as they are."""

SOME_MODEL = {
    "linear.weight": torch.zeros(1, 13),
    "linear.bias": torch.zeros(1),
    "mean": torch.zeros(13),
    "std": torch.ones(13),
}
"""A model of the heart disease workload."""


class Inbox:
    """The mail of a party, in the order in which it came. No mail is dropped, however many come at once."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self._notices: deque[Notice] = deque()

    def wait(self, kind: str | None = None) -> Mail:
        """The next mail, or the next one of a kind; those before it are skipped."""

        def next_mail() -> Mail | None:
            while self._notices:
                mail = self.mailbox.open(self._notices.popleft())
                if kind in (None, mail.kind):
                    return mail
            self._notices.extend(self.mailbox.receive(1))
            return None

        mail = until(next_mail, f"mail ({kind or 'any'}) for {self.mailbox.settings.party}")
        assert mail is not None
        return mail

    def rest(self) -> list[Mail]:
        """All mail that has come and was not read."""
        while notices := self.mailbox.receive(0):
            self._notices.extend(notices)
        mails = [self.mailbox.open(notice) for notice in self._notices]
        self._notices.clear()
        return mails


class PlayedSilo(Inbox):
    """A silo of the heart disease workload that a test plays."""

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__(hub.mailbox(name))

    def online(self, samples: Any = 50, statistics: Sums = SOME_STATISTICS) -> None:
        """Say that the silo is there."""
        self.status("ONLINE", samples, {STATISTICS: statistics})

    def status(self, word: str, samples: Any = 50, groups: dict[str, Sums] | None = None, round_idx: int = 0) -> None:
        """Send a status."""
        fields = {"client_status": word, "num_samples": samples}
        self.mailbox.send(AGGREGATOR, MailKind.STATUS, round_idx, fields, groups or {})

    def answer(
        self, sync: Mail, value: float = 0.0, evaluation: Sums = SOME_EVALUATION, samples: Any = 50, **more: Any
    ) -> None:
        """Answer the broadcast that opened a round with a model whose parameters are all ``value``."""
        model = {name: torch.full_like(tensor, value) for name, tensor in sync.groups[MODEL].items()}
        fields = {"num_samples": samples} | more
        self.mailbox.send(AGGREGATOR, MailKind.UPDATE, sync.round_idx, fields, {MODEL: model, EVALUATION: evaluation})

    def answer_next(self, value: float = 0.0) -> int:
        """Answer the next round. Returns its number."""
        sync = self.wait("sync")
        self.answer(sync, value)
        return sync.round_idx

    def finish(self, sync: Mail) -> None:
        """Say that the final model is evaluated."""
        self.status("FINISHED", groups={EVALUATION: SOME_EVALUATION}, round_idx=sync.round_idx)

    def play(self, value: float = 0.0) -> None:
        """Take part in a run of one round to its end."""
        while (mail := self.wait()).round_idx < 1:
            self.answer(mail, value)
        self.finish(mail)
