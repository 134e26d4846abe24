"""A simulated federation of four silos, one of which attacks: its agent is honest, and the test plays its trainer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load

from fedsilo import aws
from fedsilo.admin.client import HubClient
from fedsilo.agent.settings import AgentSettings
from fedsilo.config.run import RunIdentity
from fedsilo.keys import MailAddress, RunKeys
from fedsilo.ledger.record import Record
from fedsilo.messaging.codec import Mail
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.messages import EVALUATION, MODEL, STATISTICS, MailKind
from fedsilo.names import AGGREGATOR
from fedsilo.simulation.federation import SimulatedFederation
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.invariants import Invariants
from fedsilo.simulation.network import Network, client_error
from fedsilo.simulation.world import BEGIN, Process, World
from fedsilo.states import Event, LineKind
from fedsilo.workload.base import Sums
from tests.support.federations import HOSPITALS, described, run_in
from tests.support.played import SOME_EVALUATION, SOME_STATISTICS

_T = TypeVar("_T")
Model = dict[str, torch.Tensor]

*HONEST, ATTACKER = HOSPITALS

ROUNDS = 2


class Attacker:
    """A silo that the test plays, with all rights of a silo."""

    def __init__(self, settings: AgentSettings, run_id: str) -> None:
        self.mailbox, self.keys = Mailbox(settings, run_id, limit=2**24), RunKeys(run_id)

    def online(self, statistics: Sums = SOME_STATISTICS, samples: int = 50) -> None:
        """Say that the silo is there."""
        fields = {"client_status": "ONLINE", "num_samples": samples}
        self.mailbox.send(AGGREGATOR, MailKind.STATUS, 0, fields, {STATISTICS: statistics})

    def rounds(self) -> Iterator[Mail]:
        """The broadcasts, up to that of the final model, or until the aggregator ends the silo's part."""
        while True:
            for notice in self.mailbox.receive(20):
                mail = self.mailbox.open(notice)
                if mail.kind == MailKind.FINISH or mail.round_idx == ROUNDS:
                    return
                yield mail

    def answer(self, sync: Mail, model: Model, evaluation: Sums = SOME_EVALUATION) -> None:
        """Send an update."""
        groups = {MODEL: model, EVALUATION: evaluation}
        self.mailbox.send(AGGREGATOR, MailKind.UPDATE, sync.round_idx, {"num_samples": 50}, groups)

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        aws.s3("us-east-1").put_object(Bucket=self.mailbox.settings.bucket, Key=key, Body=body)


Attack = Callable[[Attacker], object]


class AttackersNetwork(Network):
    """A network in which others can't read some objects of the attacker, for the error code that S3 answers."""

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}

    def call(self, process: Process, operation: str, resource: str, effect: Callable[[], _T]) -> _T:
        """Do what a call asks for, or answer with the error."""
        if operation == "GetObject" and resource in self.unreadable and process.party != ATTACKER:
            raise client_error(operation, self.unreadable[resource], 403)
        return super().call(process, operation, resource, effect)


class AttackedFederation:
    """A run of the example in a simulated federation, under attack.

    Args:
        folder: An empty folder.
        attack: What the attacker's trainer does; None for an honest one.
        counts: Whether the attacker's updates are in the mean.
        silos: The silos of the run.
        choices: Replace fields of run.json.
    """

    def __init__(
        self,
        folder: Path,
        attack: Attack | None = None,
        *,
        counts: bool = False,
        silos: tuple[str, ...] = HOSPITALS,
        **choices: Any,
    ) -> None:
        self.spec = described("attacked", silos)
        self.world, self.network = World(seed=1), AttackersNetwork()
        self.hub = SimulatedHub(self.world, self.spec, self.network)
        self.federation = SimulatedFederation(self.spec, self.world, self.hub, folder)
        defaults = {"rounds": ROUNDS, "quorum": len(HONEST), "deadline_seconds": 60, "join_seconds": 60}
        self.run = run_in(self.spec, **(defaults | {"created": BEGIN} | choices))
        self._invariants = Invariants(self.run, frozenset({ATTACKER} if attack and not counts else ()))
        self.hub.buckets.on_put = self._invariants.written
        if attack:
            self._attack = attack
            self.federation.parties[ATTACKER].take_part = self._take_part

    def _take_part(self, settings: AgentSettings, identity: RunIdentity) -> int:
        self._attack(Attacker(settings, identity.run))
        return 0

    def finish(self) -> None:
        """Let the run end, and check that every global model is a mean of honest updates, and no honest silo refused.

        Raises:
            ViolationError: An invariant does not hold.
        """
        self.world.run(lambda: self._invariants.ended, limit_seconds=3600)
        self._invariants.check_end(self._newest(self.run.keys.model(AGGREGATOR)), disturbed=False)

    def _newest(self, key: str) -> Any:
        versions = self.hub.buckets.versions(self.hub.bucket, key)
        return versions[-1] if versions else None

    def as_operator(self, do: Callable[[HubClient], _T]) -> _T:
        """Do something as the operator does."""
        done: list[_T] = []

        def main() -> int:
            done.append(do(HubClient.of(self.spec)))
            return 0

        operator = Process(self.world, "operator", "act", self.hub.clients)
        operator.start(main)
        self.world.run(lambda: not operator.alive, self.world.time + 600)
        if operator.error:
            raise operator.error
        return done[0]

    def record(self) -> Record:
        """What the ledger holds of the run."""
        return self.as_operator(lambda client: client.reader.record(self.run))

    def model(self) -> Model:
        """The run's model, as published."""
        return load(self._newest(self.run.keys.model(AGGREGATOR)).body)

    def mails(self, kind: MailKind, round_idx: int, group: str) -> dict[str, Model]:
        """A group of tensors in each honest silo's mails of a round to the aggregator, by the silo."""
        found = {}
        for key in self.hub.buckets.keys(self.hub.bucket, self.run.keys.prefix):
            address = MailAddress.parse(key)
            if address and address.sender in HONEST and (address.kind, address.round_idx) == (kind, round_idx):
                tensors = load(self._newest(key).body)
                of_group = [name for name in tensors if name.startswith(f"{group}/")]
                found[address.sender] = {name.removeprefix(f"{group}/"): tensors[name] for name in of_group}
        return found

    def mean_of_the_honest(self) -> Model:
        """The weighted mean of the honest silos' last updates, computed in float64 from their mails."""
        record = self.record()
        updates = self.mails(MailKind.UPDATE, self.run.rounds - 1, MODEL)
        assert sorted(updates) == sorted(HONEST)
        samples = {silo: record.statuses[silo].samples or 0 for silo in updates}
        total = sum(samples.values())
        names = updates[HONEST[0]]
        mean = {name: sum(updates[silo][name].double() * (samples[silo] / total) for silo in updates) for name in names}
        return {name: torch.as_tensor(tensor).float() for name, tensor in mean.items()}


def events(record: Record) -> dict[Event, list[str]]:
    """The texts of the aggregator's events, by name."""
    lines = [line for line in record.lines[AGGREGATOR] if line.kind is LineKind.EVENT]
    return {event: [line.text for line in lines if line.name == event] for event in Event}
