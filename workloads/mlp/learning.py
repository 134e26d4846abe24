"""Both sides of the workload: mini-batch SGD at the silos, and the metrics from their sums."""

import math
from argparse import Namespace

import numpy as np
import torch
from torch import nn

from fedsilo.errors import SpecError
from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Sums, Trainer

from .data import INPUTS, Samples
from .model import SMALLEST

RANGES = {
    "parameters": (SMALLEST, 200_000_000),
    "samples": (1, 1_000_000),
    "epochs": (1, 10_000),
    "batch_size": (1, 4096),
    "holdout": (0, 1_000_000),
}
"""The smallest and the largest value of each hyperparameter. The largest model takes 0.8 GB a copy, and an aggregator
holds three; the activations of the largest batch in the largest model take as much again."""


def check(args: Namespace) -> None:
    """Check the ranges of the hyperparameters.

    Raises:
        SpecError: With a line for each value that is out of range.
    """
    problems = [
        f"hyperparameters.{name}: {getattr(args, name)!r} is not from {least} to {most}"
        for name, (least, most) in RANGES.items()
        if not least <= getattr(args, name) <= most
    ]
    if not 0 < args.lr < math.inf:
        problems.append(f"hyperparameters.lr: {args.lr!r} is not above 0")
    if problems:
        raise SpecError("\n".join(problems))


class MlpTrainer(Trainer):
    """Trains ``Mlp`` on ``Samples``."""

    def train(self, train_data: Samples, device: torch.device, args: Namespace) -> None:
        """Train for one round: ``epochs`` passes over the data in shuffled mini-batches.

        Logs two metrics after each epoch: ``Training:Loss``, the mean over the epoch's samples at the time of their
        steps, and ``Validation:AUC`` on the local test set. Their step is the number of the epoch in the whole run.

        Args:
            train_data: The silo's training set.
            device: Where to train.
            args: ``random_seed``, ``rank`` and ``round_idx`` together decide the order of the samples.
        """
        model = self.model.to(device)
        inputs, labels = train_data.inputs.to(device), train_data.labels.to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
        loss_function = nn.BCEWithLogitsLoss()
        # A million samples fit into tensors, and a DataLoader would collect them one by one.
        order = np.random.default_rng((args.random_seed, args.rank, args.round_idx))
        for epoch in range(args.epochs):
            loss_sum = 0.0
            for batch in torch.from_numpy(order.permutation(len(labels))).split(args.batch_size):
                loss = loss_function(model(inputs[batch]), labels[batch])
                loss_sum += loss.item() * len(batch)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            step = args.round_idx * args.epochs + epoch
            test = self.local_test_dataset
            auc = metrics.roc_auc(logits(model, test.inputs, device), test.labels)
            args.tracker.log_metric("Training:Loss", loss_sum / len(labels), step)
            args.tracker.log_metric("Validation:AUC", auc, step)

    def test(self, test_data: Samples, device: torch.device, args: Namespace) -> Sums:
        return sums(self.model, test_data, device)


class MlpAggregator(Aggregator):
    """Evaluates with the sums of all silos, or with those of its own hold-out set."""

    def test(self, test_data: Samples, device: torch.device, args: Namespace) -> Sums:
        return sums(self.model, test_data, device)

    def metrics(self, totals: Sums) -> dict[str, float]:
        return metrics.binary_metrics(totals)


def sums(model: nn.Module, samples: Samples, device: torch.device) -> Sums:
    """The sums of ``binary_sums`` over the samples. The reference is the logit of the zero input."""
    reference = logits(model, torch.zeros(1, INPUTS), device)
    return metrics.binary_sums(logits(model, samples.inputs, device), samples.labels, reference.item())


@torch.no_grad()
def logits(model: nn.Module, inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Map inputs, float32 [n, INPUTS], to logits, float32 [n] on the CPU, in batches of the largest size."""
    return torch.cat([model(batch.to(device)).cpu() for batch in inputs.split(RANGES["batch_size"][1])])
