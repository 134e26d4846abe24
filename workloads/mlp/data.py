"""Synthetic samples: every silo has its own, with labels from one common rule."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

INPUTS = 16

_STEEPNESS = 4.0


class Samples(NamedTuple):
    """The samples of one silo."""

    inputs: torch.Tensor
    """float32 [n, INPUTS]."""
    labels: torch.Tensor
    """float32 [n], 0 or 1."""


def pool(parts: Sequence[Samples]) -> Samples:
    """All samples of several sets."""
    return Samples(torch.cat([part.inputs for part in parts]), torch.cat([part.labels for part in parts]))


def make(seed: int, rank: int, samples: int) -> tuple[Samples, Samples]:
    """Make a training set and a test set.

    The inputs are standard normal. A label is 1 with the probability that a logistic rule gives.

    Args:
        seed: Decides the rule, which all silos share.
        rank: The silo, which decides the samples.
        samples: The size of each of the two sets.
    """
    rule = np.random.default_rng(seed).standard_normal(INPUTS)
    rule *= _STEEPNESS / np.linalg.norm(rule)
    random = np.random.default_rng((seed, rank))
    inputs = random.standard_normal((2 * samples, INPUTS))
    labels = random.random(2 * samples) < 1 / (1 + np.exp(-inputs @ rule))
    everything = Samples(torch.from_numpy(inputs).float(), torch.from_numpy(labels).float())
    return (
        Samples(everything.inputs[:samples], everything.labels[:samples]),
        Samples(everything.inputs[samples:], everything.labels[samples:]),
    )
