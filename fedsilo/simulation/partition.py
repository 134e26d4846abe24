"""Splits pooled data into silos: the training set and the test set, each silo with its own mixture of labels.

``dirichlet:ALPHA`` is the label skew of Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for
Federated Visual Classification" (2019): each silo draws its mixture from Dirichlet(ALPHA · p), where p is that of the
pool. All silos have equally many samples. Where the pool runs out of a label, the silo takes others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsilo.errors import SpecError

IID = "iid"
DIRICHLET = "dirichlet"


@dataclass(frozen=True)
class Partition:
    """How data are split."""

    alpha: float | None
    """The concentration of ``dirichlet``; None for ``iid``, which gives each silo samples drawn from the pool."""

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """Read ``iid`` or ``dirichlet:ALPHA``. Raises ``SpecError`` for anything else."""
        kind, colon, number = text.partition(":")
        if text == IID:
            return cls(None)
        try:
            alpha = float(number) if kind == DIRICHLET and colon else math.nan
        except ValueError:
            alpha = math.nan
        if not 0 < alpha <= 1e6:
            raise SpecError(
                f"partition: {text!r} is neither {IID} nor {DIRICHLET}:ALPHA with ALPHA above 0 and at most 1e6"
            )
        return cls(alpha)

    def split(self, sets: Sequence[NDArray[np.int64]], silos: int, seed: int) -> list[list[NDArray[np.int64]]]:
        """Split sets of samples, with the same mixture of labels in all sets of a silo.

        Args:
            sets: The labels of each set's samples, int64 [n].
            silos: The number of silos.
            seed: Decides everything random.

        Returns:
            For each set, the rows of each silo, ascending.
        """
        random = np.random.default_rng(seed)
        values, counts = np.unique(np.concatenate(sets), return_counts=True)
        prior = counts / counts.sum()
        mixtures = None if self.alpha is None else random.dirichlet(self.alpha * prior, silos)
        return [_deal(labels, values, mixtures, silos, random) for labels in sets]


def _deal(
    labels: NDArray[np.int64],
    values: NDArray[np.int64],
    mixtures: NDArray[np.float64] | None,
    silos: int,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    order = random.permutation(len(labels))
    sizes = [len(part) for part in np.array_split(order, silos)]
    if mixtures is None:
        return [np.sort(part) for part in np.array_split(order, silos)]
    stacks = [order[labels[order] == value] for value in values]
    taken = np.zeros(len(values), dtype=np.int64)
    dealt = []
    for size, mixture in zip(sizes, mixtures, strict=True):
        counts = _counts(size, mixture, np.array([*map(len, stacks)]) - taken, random)
        rows = [stack[at : at + count] for stack, at, count in zip(stacks, taken, counts, strict=True)]
        taken += counts
        dealt.append(np.sort(np.concatenate(rows)))
    return dealt


def _counts(
    size: int, mixture: NDArray[np.float64], left: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """How many samples of each label a silo takes, if so many of each are left."""
    counts = np.zeros_like(left)
    while (needed := size - counts.sum()) > 0:
        weights = mixture * (left > counts)
        if weights.sum() <= 0:
            weights = (left - counts).astype(np.float64)
        counts += np.minimum(random.multinomial(needed, weights / weights.sum()), left - counts)
    return counts
