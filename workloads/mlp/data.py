"""Synthetic samples: the same rule behind the labels of every silo, other samples at each."""

from typing import NamedTuple

import numpy as np
import torch

INPUTS = 16

_STEEPNESS = 4.0


class Samples(NamedTuple):
    """``inputs``: float32 [n, INPUTS]; ``labels``: float32 [n], 0 or 1."""

    inputs: torch.Tensor
    labels: torch.Tensor


def make(seed: int, rank: int, samples: int) -> tuple[Samples, Samples]:
    """A training and a test set of ``samples`` each for the silo ``rank``: standard normal inputs, and a label that is
    1 with the probability that a logistic rule drawn from ``seed`` gives."""
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
