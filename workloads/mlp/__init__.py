"""A multilayer perceptron of any size on synthetic data, for benchmarks and for trying a federation without data.

``fedsilo.workload.registry.Workload`` documents the functions. Read ``learning.py`` first.
"""

from argparse import Namespace

import numpy as np
import torch
from torch import nn

from fedsilo.workload.registry import SiloData

from . import data
from .learning import MlpAggregator, MlpTrainer
from .model import Mlp

__all__ = [
    *("aggregator", "load_aggregator", "load_silo", "model", "trainer"),
    *("labels", "load_pooled", "subset"),
]


def load_silo(args: Namespace) -> SiloData:
    train, test = data.make(args.random_seed, args.rank, args.samples)
    return SiloData(train=train, test=test, num_train=args.samples)


def load_pooled(args: Namespace) -> SiloData:
    """The samples that all silos would have."""
    silos = [load_silo(Namespace(**vars(args) | {"rank": rank})) for rank in range(1, args.client_num_in_total + 1)]
    train, test = data.pool([silo.train for silo in silos]), data.pool([silo.test for silo in silos])
    return SiloData(train, test, len(train.labels))


def labels(samples: data.Samples) -> torch.Tensor:
    return samples.labels


def subset(samples: data.Samples, rows: np.ndarray) -> data.Samples:
    return data.Samples(samples.inputs[rows], samples.labels[rows])


def load_aggregator(args: Namespace) -> data.Samples | None:
    if not args.holdout:
        return None
    _, test = data.make(args.random_seed, rank=0, samples=args.holdout)
    return test


def model(args: Namespace) -> Mlp:
    return Mlp(args.parameters)


def trainer(model: nn.Module, args: Namespace) -> MlpTrainer:
    return MlpTrainer(model, args)


def aggregator(model: nn.Module, args: Namespace) -> MlpAggregator:
    return MlpAggregator(model, args)
