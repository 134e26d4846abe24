"""What must be true at every step of a run, whatever goes wrong. Each violation names the step and the objects."""

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from safetensors.torch import load

from fedsilo.config.run import Run
from fedsilo.keys import MailAddress
from fedsilo.ledger.schema import Status
from fedsilo.messaging.messages import MODEL, MailKind
from fedsilo.names import AGGREGATOR, EVERYONE
from fedsilo.simulation.objects import Version
from fedsilo.states import TERMINAL, PartyState

TOLERANCE = 1e-5
"""How far a global model may be from the mean in float64, relative to the largest value: float32's rounding."""

Model = dict[str, torch.Tensor]


class ViolationError(Exception):
    """An invariant does not hold. The text says which, and where."""


@dataclass
class _Round:
    updates: dict[str, tuple[str, Model, int]] = field(default_factory=dict)
    """Digest, model and number of samples of each silo's update."""


class Invariants:
    """Watches what is written, and raises ``ViolationError`` at the next step where an invariant breaks.

    Args:
        run: The run that is watched.
        hostile: The silos that may be refused, and may write what they like.
    """

    def __init__(self, run: Run, hostile: frozenset[str] = frozenset()) -> None:
        self._run, self._hostile = run, hostile
        self._keys = run.keys
        self._honest = [party for party in run.parties if party not in hostile]
        self._rounds: dict[int, _Round] = defaultdict(_Round)
        self._broadcasts: dict[int, tuple[str, Model]] = {}
        self._statuses: dict[str, Status] = {}
        self._refused: dict[str, str] = {}
        self._violation: ViolationError | None = None

    # --- what is watched

    def written(self, bucket: str, key: str, version: Version) -> None:
        """An object was written. A violation is raised by ``ended``: the writer would take it for its own defect."""
        try:
            self._check(key, version)
        except ViolationError as error:
            self._violation = self._violation or error

    def _check(self, key: str, version: Version) -> None:
        address = MailAddress.parse(key)
        if address is not None and address.run == self._run.id:
            if address.receiver == EVERYONE:
                self._broadcast(address.seq, version)
            elif address.kind == MailKind.UPDATE and address.sender not in self._hostile:
                self._update(address.sender, version)
        for party in self._honest:
            if key == self._keys.status(party):
                self._status(party, version)

    # --- the invariants

    def _broadcast(self, round_idx: int, version: Version) -> None:
        digest, model = _digest(version), _model(version)
        if round_idx in self._broadcasts:
            if self._broadcasts[round_idx][0] != digest:
                raise ViolationError(f"round {round_idx} was opened twice, with different models")
            return
        if round_idx != len(self._broadcasts):
            raise ViolationError(f"round {round_idx} was opened after {len(self._broadcasts)} others")
        if round_idx > 0:
            self._check_aggregate(round_idx - 1, model)
        self._broadcasts[round_idx] = (digest, model)

    def _check_aggregate(self, round_idx: int, model: Model) -> None:
        updates = self._rounds[round_idx].updates
        if not any(_close(model, _mean([updates[silo] for silo in silos])) for silos in _subsets(updates)):
            raise ViolationError(
                f"the model that opened round {round_idx + 1} is the mean of no set of round {round_idx}'s updates"
            )

    def _update(self, silo: str, version: Version) -> None:
        round_idx, samples = _header(version)
        updates = self._rounds[round_idx].updates
        digest = _digest(version)
        if silo in updates and updates[silo][0] != digest:
            raise ViolationError(f"{silo} answered round {round_idx} twice, with different updates")
        updates[silo] = (digest, _model(version), samples)

    def _status(self, party: str, version: Version) -> None:
        status = Status.of(version.body)
        if status is None:
            raise ViolationError(f"{party} wrote a status that can't be read")
        before = self._statuses.get(party)
        if before and before.round is not None and status.round is not None and status.round < before.round:
            raise ViolationError(f"the status of {party} went from round {before.round} back to {status.round}")
        if before and before.state in TERMINAL and status.state != before.state:
            raise ViolationError(f"{party} went from {before.state} to {status.state}")
        self._statuses[party] = status
        if party == AGGREGATOR:
            self._check_refusals(status)

    def _check_refusals(self, status: Status) -> None:
        for silo, reason in (status.refused or {}).items():
            if silo not in self._hostile:
                raise ViolationError(f"{silo} is honest, and was refused: {reason}")
            self._refused[silo] = reason
        if status.round is not None and (forgotten := self._refused.keys() - (status.refused or {}).keys()):
            raise ViolationError(f"{', '.join(sorted(forgotten))} was refused, and is not any more")

    # --- at the end

    @property
    def ended(self) -> bool:
        """Whether the part of every honest party has ended. Raises the first violation."""
        if self._violation:
            raise self._violation
        return len(self._statuses) == len(self._honest) and all(
            status.state in TERMINAL for status in self._statuses.values()
        )

    def check_end(self, model: Version | None, *, disturbed: bool) -> None:
        """Check a run that has ended.

        Args:
            model: The aggregator's model, if it published one.
            disturbed: Whether anything went wrong; otherwise the run has to finish.
        """
        for party, status in self._statuses.items():
            if status.state != PartyState.FINISHED and not disturbed:
                raise ViolationError(f"nothing went wrong, and {party} is {status.state}: {status.reason}")
            if status.state != PartyState.FINISHED and not status.reason:
                raise ViolationError(f"{party} is {status.state}, and does not say why")
        if self._statuses[AGGREGATOR].state == PartyState.FINISHED:
            if len(self._broadcasts) != self._run.rounds + 1:
                raise ViolationError(f"the run finished after {len(self._broadcasts) - 1} rounds")
            if model is None or not _close(load(model.body), self._broadcasts[self._run.rounds][1]):
                raise ViolationError("the published model is not the last one")

    def describe(self) -> Iterator[str]:
        """How far each party has come."""
        for party, status in self._statuses.items():
            yield f"{party}: {status.state} round {status.round} {status.reason}"


def _digest(version: Version) -> str:
    return hashlib.sha256(version.body).hexdigest()


def _model(version: Version) -> Model:
    prefix = f"{MODEL}/"
    return {name.removeprefix(prefix): tensor for name, tensor in load(version.body).items() if name.startswith(prefix)}


def _header(version: Version) -> tuple[int, int]:
    """The round of an update, and its number of samples."""
    length = int.from_bytes(version.body[:8], "little")
    header = json.loads(json.loads(version.body[8 : 8 + length])["__metadata__"]["fedsilo"])
    return header["round"], header["fields"]["num_samples"]


def _subsets(updates: dict[str, tuple[str, Model, int]]) -> Iterator[tuple[str, ...]]:
    sizes = range(len(updates), 0, -1)
    return itertools.chain.from_iterable(itertools.combinations(sorted(updates), size) for size in sizes)


def _mean(updates: list[tuple[str, Model, int]]) -> Model:
    total = sum(samples for _, _, samples in updates)
    return {
        name: sum(model[name].double() * (samples / total) for _, model, samples in updates)  # type: ignore[misc]
        for name in updates[0][1]
    }


def _close(one: Model, other: Model) -> bool:
    return one.keys() == other.keys() and all(
        bool((one[name].double() - other[name].double()).abs().max() <= TOLERANCE * (1 + other[name].abs().max()))
        for name in one
    )
