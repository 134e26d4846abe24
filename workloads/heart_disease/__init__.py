"""Predict heart disease from 13 clinical features, over the four hospitals of the UCI data.

Data, preprocessing and split are those of Fed-Heart-Disease in FLamby (Ogier du Terrail et al., NeurIPS 2022): a
logistic regression on 740 patients. ``fedsilo.workload.registry.Workload`` documents the functions. Read
``trainer.py`` first.
"""

from argparse import Namespace

from torch import nn

from fedsilo.workload.registry import SiloData

from . import data
from .aggregator import HeartDiseaseAggregator
from .model import LogisticRegression
from .trainer import HeartDiseaseTrainer

__all__ = ["aggregator", "load_aggregator", "load_silo", "model", "trainer"]


def load_silo(args: Namespace) -> SiloData:
    train, test = data.load(args.silo, args.data)
    return SiloData(train=train, test=test, num_train=len(train.labels))


def load_aggregator(args: Namespace) -> None:
    """Return None: the aggregator has no patients, so the silos evaluate."""


def model(args: Namespace) -> LogisticRegression:
    return LogisticRegression()


def trainer(model: nn.Module, args: Namespace) -> HeartDiseaseTrainer:
    return HeartDiseaseTrainer(model, args)


def aggregator(model: nn.Module, args: Namespace) -> HeartDiseaseAggregator:
    return HeartDiseaseAggregator(model, args)
