"""Predict heart disease from 13 clinical features, over the four hospitals of the UCI data.

Data, preprocessing and split are those of Fed-Heart-Disease in FLamby (Ogier du Terrail et al., NeurIPS 2022): a
logistic regression on 740 patients. ``fedsilo.workload.registry.Workload`` documents the functions. Read
``trainer.py`` first.
"""

from argparse import Namespace

import numpy as np
import torch
from torch import nn

from fedsilo.workload.registry import SiloData

from . import data
from .aggregator import HeartDiseaseAggregator
from .model import LogisticRegression
from .trainer import HeartDiseaseTrainer

__all__ = [
    *("aggregator", "load_aggregator", "load_silo", "model", "trainer"),
    *("labels", "load_pooled", "subset"),
]


def load_silo(args: Namespace) -> SiloData:
    train, test = data.load(args.silo, args.data)
    return SiloData(train=train, test=test, num_train=len(train.labels))


def load_pooled(args: Namespace) -> SiloData:
    """The patients of the four hospitals, each split as it is for itself."""
    hospitals = [data.load(hospital, "packaged") for hospital in data.hospitals()]
    train, test = data.pool([train for train, _ in hospitals]), data.pool([test for _, test in hospitals])
    return SiloData(train=train, test=test, num_train=len(train.labels))


def labels(patients: data.Patients) -> torch.Tensor:
    return patients.labels


def subset(patients: data.Patients, rows: np.ndarray) -> data.Patients:
    return data.Patients(patients.features[rows], patients.labels[rows])


def load_aggregator(args: Namespace) -> None:
    """Return None: the aggregator has no patients, so the silos evaluate."""


def model(args: Namespace) -> LogisticRegression:
    return LogisticRegression()


def trainer(model: nn.Module, args: Namespace) -> HeartDiseaseTrainer:
    return HeartDiseaseTrainer(model, args)


def aggregator(model: nn.Module, args: Namespace) -> HeartDiseaseAggregator:
    return HeartDiseaseAggregator(model, args)
