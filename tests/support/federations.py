"""Whole federations for tests: real processes over real mail, which a test may hold, kill and start again."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from fedsilo import names
from fedsilo.admin.client import HubClient
from fedsilo.config.environment import Settings
from fedsilo.config.federation import Federation
from fedsilo.config.load import parse_federation
from fedsilo.config.run import Run
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.record import Record
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.states import PartyState
from tests.support.fork_server import ForkedTrainer
from tests.support.waiting import until

HOSPITALS = ("cleveland", "hungary", "switzerland", "long-beach")
_count = itertools.count()


def described(name: str, silos: tuple[str, ...]) -> Federation:
    """A federation of ``silos`` in one account, whose policies publish all that there is."""
    policy = {"min_silos": min(2, len(silos)), "publish": ["local_model"]}
    return parse_federation(
        {
            "name": name,
            "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16", "policy": policy},
            "silos": [
                {"name": silo, "vpc_cidr": f"10.{rank}.0.0/16", "policy": policy}
                for rank, silo in enumerate(silos, start=1)
            ],
        }
    )


def run_in(federation: Federation, **choices: Any) -> Run:
    """A run of the example in the federation, with all its silos; ``choices`` replace fields of run.json."""
    values: dict[str, Any] = {
        "run": f"{federation.name}-run",
        "federation": federation.name,
        "workload": "heart_disease",
        "silos": [silo.name for silo in federation.silos],
        "hyperparameters": {},
        "seed": 1,
        "quorum": len(federation.silos),
        "created": datetime.now(UTC),
    }
    return Run.checked(values | choices)


def written(reader: Reader, run: Run, party: str) -> dict[str, Any]:
    """The party's status.json as it was written; empty where there is none."""
    stored = reader.bucket.get(run.keys.status(party))
    found: dict[str, Any] = json.loads(stored.body) if stored else {}
    return found


class RunningFederation:
    """A federation of its own hub and a run in it; the test starts the parties, or plays them."""

    def __init__(self, endpoint: str, folder: Path, silos: tuple[str, ...] = HOSPITALS[:2], **choices: Any) -> None:
        self.endpoint, self.folder = endpoint, folder
        self.federation = described(f"t{next(_count)}", silos)
        defaults = {"rounds": 4, "hyperparameters": {"lr": 0.01}, "deadline_seconds": 60.0, "join_seconds": 60.0}
        self.run = run_in(self.federation, **(defaults | choices))
        create_hub(self.federation)
        client = HubClient.of(self.federation)
        _, self.identity = client.put_run(self.run)
        self.reader = client.reader
        self.trainers: dict[str, ForkedTrainer] = {}
        self._mailboxes: list[Mailbox] = []

    def settings(self, party: str) -> Settings:
        return party_settings(self.federation, party)

    def start(self, *parties: str) -> None:
        for party in parties:
            log, policy = self.folder / f"{party}.log", self.federation.party(party).policy
            self.trainers[party] = ForkedTrainer(
                self.settings(party), policy, self.identity, self.endpoint, log, self.folder
            )

    def start_all(self) -> None:
        self.start(names.AGGREGATOR, *self.run.silos)

    def start_all_but(self, *absent: str) -> None:
        self.start(names.AGGREGATOR, *(silo for silo in self.run.silos if silo not in absent))

    def start_holding(self, held: str) -> None:
        """Start all parties and stop the silo ``held`` before round 0; return when the others have answered it."""
        self.start(*self.run.silos)
        self.until(lambda: self.status(held).get("state") == "WAITING", "the silos to wait")
        self.hold(held)
        self.start(names.AGGREGATOR)
        self.until_round(0, set(self.run.silos) - {held})

    def mailbox(self, party: str) -> Mailbox:
        """The mailbox of a party that the test plays."""
        self._mailboxes.append(Mailbox(self.settings(party), self.run.id, limit=2**24))
        return self._mailboxes[-1]

    def hold(self, party: str) -> None:
        """Stop the party's process where it is, until ``kill`` or ``go_on``."""
        os.kill(self.trainers[party].pid, signal.SIGSTOP)

    def go_on(self, party: str) -> None:
        os.kill(self.trainers[party].pid, signal.SIGCONT)

    def wait(self, *parties: str) -> dict[str, int]:
        """The parties' exit codes, once they have ended."""
        self.until(lambda: all(self.trainers[party].exit_code is not None for party in parties), f"{parties} to end")
        return {party: int(self.trainers[party].exit_code or 0) for party in parties}

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for the condition; the parties' logs are part of the error."""
        until(condition, lambda: f"{what}\n{self.logs()}")

    def until_round(self, round_idx: int, answered: set[str]) -> None:
        """Wait until the round is open and exactly ``answered`` have answered it."""

        def reached() -> bool:
            status = self.status(names.AGGREGATOR)
            if status.get("state") not in (PartyState.TRAINING, PartyState.FINISHING):
                return False  # before round 0, those that have joined count as answered
            return status.get("round") == round_idx and set(status.get("answered", [])) == answered

        self.until(reached, f"round {round_idx} to be answered by {answered}")

    def status(self, party: str) -> dict[str, Any]:
        return written(self.reader, self.run, party)

    def record(self) -> Record:
        return self.reader.record(self.run)

    def events(self, name: str) -> list[str]:
        """The texts of the aggregator's events of that name."""
        lines = self.record().lines.get(names.AGGREGATOR, [])
        return [line.text for line in lines if line.kind == "event" and line.name == name]

    def model(self) -> dict[str, torch.Tensor]:
        """The run's model, as published."""
        stored = self.reader.bucket.get(self.run.keys.model(names.AGGREGATOR))
        assert stored is not None, self.logs()
        return load(stored.body)

    def logs(self) -> str:
        return "\n".join(
            f"--- {party}\n" + "\n".join(trainer.last_lines(30)) for party, trainer in self.trainers.items()
        )

    def close(self) -> None:
        for trainer in self.trainers.values():
            trainer.kill()
        for mailbox in self._mailboxes:
            mailbox.close()


def assert_same_model(model: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal but for the order in which updates were added up."""
    assert model.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(model[name], expected[name], rtol=1e-5, atol=1e-6)
