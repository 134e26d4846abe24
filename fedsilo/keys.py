"""The object keys of the mail bucket: who may write where, what a mail's key says, and what a run's id looks like.

The stacks write the keys into policies as patterns. The agents, the trainers and the command use them as they are.
"""

import re
from dataclasses import dataclass

from fedsilo.names import AGGREGATOR, EVERYONE, NAME_PATTERN

RUN_PATTERN = r"[a-z0-9][a-z0-9-]{2,38}[a-z0-9]"
"""A run's id: 4 to 40 of a-z, 0-9 and hyphen. The id is part of object keys, Job names and SageMaker run names."""

MAIL_TAG = ("expire", "mail")
"""Key and value of the object tag that mails carry. The bucket deletes objects with this tag after some days; ledgers
and models do not carry it."""

INDEX = "index/"
"""The prefix of the index of runs. It holds one empty object for each run, whose key says what a list of runs shows."""


def is_run(text: str) -> bool:
    """Whether the text can be a run's id."""
    return re.fullmatch(RUN_PATTERN, text) is not None


def agent_key(party: str) -> str:
    """The object that holds the heartbeat of a party's agent. It is also the agent's lease."""
    return f"agents/{party}.json"


def waiting_agent_key(party: str) -> str:
    """The object in which a second agent of a party reports that it waits."""
    return f"agents/{party}.waiting.json"


def agent_keys(party: str) -> str:
    """The pattern of the two keys above. A party's name has no dot, so they are of no other party."""
    return f"agents/{party}.*"


@dataclass(frozen=True)
class RunKeys:
    """The object keys of one run. Those of the run ``*`` are patterns for policies."""

    run: str
    """The run's id."""

    @property
    def prefix(self) -> str:
        """The prefix of everything that belongs to the run."""
        return f"runs/{self.run}/"

    @property
    def run_json(self) -> str:
        """The description of the run, which the operator writes."""
        return f"{self.prefix}run.json"

    def party(self, party: str) -> str:
        """The only prefix of the run below which ``party`` may write."""
        return f"{self.prefix}{party}/"

    def status(self, party: str) -> str:
        """The party's ``status.json``."""
        return f"{self.party(party)}status.json"

    def metrics(self, party: str) -> str:
        """The party's ``metrics.jsonl``."""
        return f"{self.party(party)}metrics.jsonl"

    def log(self, party: str) -> str:
        """The log of the party's trainer."""
        return f"{self.party(party)}log.txt"

    def model(self, party: str) -> str:
        """The party's final model."""
        return f"{self.party(party)}model.safetensors"

    def outboxes(self, sender: str) -> str:
        """The prefix of all mails of ``sender``."""
        return f"{self.party(sender)}outbox/"

    def outbox(self, sender: str, receiver: str) -> str:
        """The prefix of the mails of ``sender`` to ``receiver``."""
        return f"{self.outboxes(sender)}{receiver}/"

    def mail(self, sender: str, receiver: str, seq: int, kind: str, round_idx: int) -> "MailAddress":
        """The address of the mail number ``seq`` of ``sender``, which belongs to a round."""
        return MailAddress(self.run, sender, receiver, seq, round_idx, kind)

    def broadcast(self, round_idx: int) -> "MailAddress":
        """The address of the global model that opens a round: one object for all silos, and the round's checkpoint."""
        return MailAddress(self.run, AGGREGATOR, EVERYONE, round_idx, round_idx)


_MAIL_KEY = re.compile(
    rf"runs/(?P<run>{RUN_PATTERN})/(?P<sender>{NAME_PATTERN})/outbox/(?P<receiver>{NAME_PATTERN})/"
    r"(?P<seq>[0-9]{6})(-(?P<kind>[a-z]+)-(?P<round>[0-9]{6}))?\.safetensors"
)


@dataclass(frozen=True)
class MailAddress:
    """What a mail's key says about the mail."""

    run: str
    """The run's id."""
    sender: str
    """The party whose prefix the key is in. Only this party may write there, so the sender can't be forged."""
    receiver: str
    """The party that the mail is for, or ``EVERYONE``."""
    seq: int
    """The number of the mail among those of its sender; of a broadcast, the round that it opens."""
    round_idx: int
    """The round that the mail belongs to, from 0."""
    kind: str | None = None
    """The kind of mail; None for a broadcast."""

    @property
    def key(self) -> str:
        """The key of the mail's object."""
        kind = "" if self.kind is None else f"-{self.kind}-{self.round_idx:06d}"
        return f"{RunKeys(self.run).outbox(self.sender, self.receiver)}{self.seq:06d}{kind}.safetensors"

    @classmethod
    def parse(cls, key: str) -> "MailAddress | None":
        """The address that a key stands for, or None if it is not the key of a mail."""
        found = _MAIL_KEY.fullmatch(key)
        if found is None:
            return None
        round_idx = int(found["round"] or found["seq"])
        return cls(found["run"], found["sender"], found["receiver"], int(found["seq"]), round_idx, found["kind"])
