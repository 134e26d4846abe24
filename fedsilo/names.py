"""Names and prefixes that two sides of an account boundary must agree on without talking to each other.

The stacks, the trainer and the command all take them from here and nowhere else. ``account`` and ``region`` may be
CDK tokens, so the functions only format. Lengths: a federation's and a party's name have at most 20 characters, so
every name below stays inside AWS's limits (S3 bucket 63, SQS queue 80, IAM role 64).
"""

import re
from dataclasses import dataclass

AGGREGATOR = "aggregator"
"""The aggregator's party name; no silo may have it."""

EVERYONE = "all"
"""The receiver of a broadcast; no party may have this name."""

NAME_PATTERN = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
"""A federation's or a party's name: 2 to 20 of a-z, 0-9 and hyphen, starting with a letter."""

RUN_PATTERN = r"[a-z0-9][a-z0-9-]{2,38}[a-z0-9]"
"""A run's id: 4 to 40 of a-z, 0-9 and hyphen (it is part of object keys, Job names and SageMaker run names)."""


def mail_bucket(federation: str, account: str, region: str) -> str:
    """The bucket in the hub that holds every mail and every ledger of the federation."""
    return f"{federation}-mail-{account}-{region}"


def data_bucket(federation: str, silo: str, account: str, region: str) -> str:
    """A silo's private bucket of training data, in the silo's own account."""
    return f"{federation}-{silo}-{account}-{region}"


def data_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's trainer receives notices of mail."""
    return f"{federation}-{party}-data.fifo"


def control_queue(federation: str, party: str) -> str:
    """The FIFO queue in which a party's agent receives run requests."""
    return f"{federation}-{party}-control.fifo"


def dead_letter_queue(queue: str) -> str:
    """Where a queue's undeliverable messages go; FIFO, as the queue is."""
    return f"{queue.removesuffix('.fifo')}-dead.fifo"


def trainer_role(federation: str, party: str) -> str:
    """The IAM role of a party's trainer: the identity behind every mail the party sends."""
    return f"{federation}-{party}-trainer"


def agent_role(federation: str, party: str) -> str:
    """The IAM role of a party's agent."""
    return f"{federation}-{party}-agent"


def experiment(federation: str, rank: int) -> str:
    """The SageMaker experiment of a party: rank 0 is the aggregator, a silo's rank is its place in the spec from 1."""
    return f"{federation}-server" if rank == 0 else f"{federation}-client-{rank}"


@dataclass(frozen=True)
class RunKeys:
    """The object keys of one run in the mail bucket."""

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
