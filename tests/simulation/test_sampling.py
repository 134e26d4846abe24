"""Rounds that ask a fraction of the silos, in whole simulated federations whose parties are killed."""

import json
from pathlib import Path
from typing import Any

from fedsilo.keys import MailAddress
from fedsilo.ledger.contributions import contributions_in_words
from fedsilo.ledger.schema import Status
from fedsilo.messaging.messages import ASKED, MailKind
from fedsilo.names import AGGREGATOR, EVERYONE
from fedsilo.simulation.federation import SimulatedFederation
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.network import Network
from fedsilo.simulation.objects import Version
from fedsilo.simulation.world import World
from fedsilo.states import PartyState
from tests.support.federations import described, run_in

SILOS, ROUNDS = ("north", "east", "south", "west"), 7


def fields_of(body: bytes) -> dict[str, Any]:
    """The fields of a mail."""
    length = int.from_bytes(body[:8], "little")
    header = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["fedsilo"])
    fields: dict[str, Any] = header["fields"]
    return fields


class Sampled:
    """A run that asks half of the silos, and who was asked and answered in each round."""

    def __init__(self, folder: Path) -> None:
        federation = described("sampled", SILOS)
        self.world = World(seed=1)
        self.hub = SimulatedHub(self.world, federation, Network())
        self.federation = SimulatedFederation(federation, self.world, self.hub, folder)
        model = {"parameters": 100, "samples": 20, "batch_size": 20}
        choices = {"fraction": 0.5, "quorum": 2, "deadline_seconds": 60, "join_seconds": 60, "hyperparameters": model}
        self.run = run_in(federation, workload="mlp", rounds=ROUNDS, **choices)
        self.asked: dict[int, list[str]] = {}
        self.answered: dict[int, set[str]] = {round_idx: set() for round_idx in range(ROUNDS)}
        self.hub.buckets.on_put = self._written

    def _written(self, bucket: str, key: str, version: Version) -> None:
        address = MailAddress.parse(key)
        if address is None:
            return
        if address.receiver == EVERYONE:
            self.asked[address.seq] = fields_of(version.body)[ASKED]
        elif address.kind == MailKind.UPDATE:
            self.answered[address.round_idx].add(address.sender)

    def finish(self) -> Status:
        self.world.run(lambda: self.federation.ended(self.run), limit_seconds=3600)
        return Status.of(self.hub.buckets.versions(self.hub.bucket, self.run.keys.status(AGGREGATOR))[-1].body)


def test_exactly_the_silos_that_a_round_asks_answer_it_whoever_is_killed(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path)
    sampled.federation.start(sampled.run)
    for round_idx, killed in ((2, AGGREGATOR), (4, SILOS[0]), (5, SILOS[1])):
        sampled.world.run(lambda opened=round_idx: opened in sampled.asked, limit_seconds=600)
        trainer = sampled.federation.parties[killed].trainer
        assert trainer is not None
        trainer.kill()
    status = sampled.finish()
    assert status.state == PartyState.FINISHED, status.reason
    assert sampled.asked.pop(ROUNDS) is None, "the final model is for all"
    assert {len(silos) for silos in sampled.asked.values()} == {2}
    assert {round_idx: set(silos) for round_idx, silos in sampled.asked.items()} == sampled.answered
    times = {silo: sum(silo in silos for silos in sampled.asked.values()) for silo in SILOS}
    assert dict(status.asked_rounds) == dict(status.contributions) == times
    assert contributions_in_words(sampled.run, status) == "4 of 4 silos contributed each time they were asked"
