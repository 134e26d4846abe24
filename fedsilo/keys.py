"""The object keys of the mail bucket: who may write where, what a mail's key says, and how a run's id looks.

The stacks write them into policies as patterns; everything that runs writes and reads objects by them.
"""

import re
from dataclasses import dataclass

from fedsilo.names import AGGREGATOR, EVERYONE, NAME_PATTERN

RUN_PATTERN = r"[a-z0-9][a-z0-9-]{2,38}[a-z0-9]"
"""A run's id: 4 to 40 of a-z, 0-9 and hyphen (it is part of object keys, Job names and SageMaker run names)."""

MAIL_TAG = ("expire", "mail")
"""Key and value of the object tag by which a mail expires; ledgers and models carry none, and stay."""

INDEX = "index/"
"""The prefix in the mail bucket below which each run has a key that tells what a list of runs shows."""


def is_run(text: str) -> bool:
    """Whether the text can be a run's id."""
    return re.fullmatch(RUN_PATTERN, text) is not None


def agent_key(party: str) -> str:
    """The object in the mail bucket in which a party's agent says that it is there, and what it does."""
    return f"agents/{party}.json"


@dataclass(frozen=True)
class RunKeys:
    """The object keys of one run in the mail bucket; of the run ``*``, the patterns that policies are written in."""

    run: str

    @property
    def prefix(self) -> str:
        return f"runs/{self.run}/"

    @property
    def run_json(self) -> str:
        return f"{self.prefix}run.json"

    def party(self, party: str) -> str:
        """The only prefix of the run below which ``party`` may write."""
        return f"{self.prefix}{party}/"

    def status(self, party: str) -> str:
        return f"{self.party(party)}status.json"

    def metrics(self, party: str) -> str:
        return f"{self.party(party)}metrics.jsonl"

    def log(self, party: str) -> str:
        return f"{self.party(party)}log.txt"

    def model(self, party: str) -> str:
        return f"{self.party(party)}model.safetensors"

    def outbox(self, sender: str, receiver: str) -> str:
        return f"{self.party(sender)}outbox/{receiver}/"

    def mail(self, sender: str, receiver: str, seq: int, kind: str) -> str:
        return f"{self.outbox(sender, receiver)}{seq:06d}-{kind}.safetensors"

    def broadcast(self, round_idx: int) -> str:
        """The global model that opens round ``round_idx``: one object for all silos, and the checkpoint."""
        return f"{self.outbox(AGGREGATOR, EVERYONE)}{round_idx:06d}.safetensors"


_MAIL_KEY = re.compile(
    rf"runs/(?P<run>{RUN_PATTERN})/(?P<sender>{NAME_PATTERN})/outbox/(?P<receiver>{NAME_PATTERN})/"
    r"(?P<seq>[0-9]{6})(-(?P<kind>[a-z]+))?\.safetensors"
)


@dataclass(frozen=True)
class MailAddress:
    """What a mail's key says of it. The sender is the prefix the object lies in, never what a message claims."""

    run: str
    sender: str
    receiver: str
    seq: int

    @classmethod
    def parse(cls, key: str) -> "MailAddress | None":
        """The address in ``key``, or None where the key is not one of a mail."""
        found = _MAIL_KEY.fullmatch(key)
        return cls(found["run"], found["sender"], found["receiver"], int(found["seq"])) if found else None
