"""What a trainer counts its epochs with, so that one that was killed goes on from its last epoch."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch


class Stateful(Protocol):
    """What a model, an optimizer and a scheduler of PyTorch have in common."""

    def state_dict(self) -> Mapping[str, Any]:
        """What it is now: tensors, arrays, numbers and texts, in lists, tuples and dictionaries."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Become what ``state_dict`` has returned."""


Part = Stateful | torch.Generator | np.random.Generator
"""Something that changes while a round is trained. A workload's own class may be one, with the methods of
``Stateful``."""


class Checkpoint:
    """A trainer's ``args.checkpoint``. This one keeps nothing; that of ``fedsilo.training.checkpoint`` does."""

    def epochs(self, count: int, **parts: Part) -> Iterator[int]:
        """Count the epochs of a round.

        A trainer that was killed in the round goes on after the last epoch that was kept: the parts, and the global
        random states of Python, NumPy and PyTorch, are then what they were at its end. The result is the same, bit for
        bit, as that of an undisturbed round::

            for epoch in args.checkpoint.epochs(args.epochs, model=model, optimizer=optimizer, generator=generator):
                ...

        Args:
            count: How many epochs a round has.
            parts: Everything that an epoch changes and a later one needs, by any names.

        Yields:
            The numbers of the epochs that are left, from 0 in an undisturbed round.
        """
        return iter(range(count))

    def begin(self, round_idx: int, broadcast: str) -> None:
        """A round begins. fedsilo calls this before the workload's ``train``.

        Args:
            round_idx: The round, from 0.
            broadcast: The SHA-256 of the broadcast that opened the round.
        """

    def finish(self) -> None:
        """The round's update is sent, so nothing of the round is needed any more."""
