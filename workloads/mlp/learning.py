"""Both sides of the workload: plain mini-batch SGD at the silos, and the metrics of their sums."""

import math
from argparse import Namespace

import numpy as np
import torch
from torch.nn import functional

from fedsilo.errors import SpecError
from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Sums, Trainer
from workloads.mlp.data import INPUTS, Samples
from workloads.mlp.model import SMALLEST

RANGES = {
    "parameters": (SMALLEST, 200_000_000),
    "samples": (1, 1_000_000),
    "epochs": (1, 10_000),
    "batch_size": (1, 4096),
    "holdout": (0, 1_000_000),
}
"""The least and the most of each. The largest model takes 0.8 GB a copy, of which an aggregator holds three; the
largest batch's activations, in the largest model, take as much again."""


def check(args: Namespace) -> None:
    """Raises ``SpecError`` with a line for each hyperparameter that is out of range."""
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
        """One round: ``epochs`` passes in mini-batches, in an order that random_seed, rank and round decide.

        Logs ``Training:Loss``, the mean over an epoch's steps as they were, and ``Validation:AUC`` of the local test
        set after it, for each epoch; their step is the epoch's number in the run.
        """
        inputs, labels = train_data.inputs.to(device), train_data.labels.to(device)
        parameters = list(self.model.parameters())
        order = np.random.default_rng((args.random_seed, args.rank, args.round_idx))
        for epoch in range(args.epochs):
            loss_sum = torch.zeros((), device=device)
            for batch in torch.from_numpy(order.permutation(len(labels))).split(args.batch_size):
                loss = functional.binary_cross_entropy_with_logits(self.model(inputs[batch]), labels[batch])
                gradients = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter.sub_(gradient, alpha=args.lr)
                loss_sum += loss.detach() * len(batch)
            step = args.round_idx * args.epochs + epoch
            args.tracker.log_metric("Training:Loss", float(loss_sum) / len(labels), step)
            test = self.local_test_dataset
            args.tracker.log_metric(
                "Validation:AUC", metrics.roc_auc(logits(self.model, test.inputs, device), test.labels), step
            )

    def test(self, test_data: Samples, device: torch.device, args: Namespace) -> Sums:
        return sums(self.model, test_data, device)


class MlpAggregator(Aggregator):
    def test(self, test_data: Samples, device: torch.device, args: Namespace) -> Sums:
        return sums(self.model, test_data, device)

    def metrics(self, totals: Sums) -> dict[str, float]:
        return metrics.binary_metrics(totals)


def sums(model: torch.nn.Module, samples: Samples, device: torch.device) -> Sums:
    """``fedsilo.workload.metrics.binary_sums`` of the samples; the score of the zero input is the reference."""
    reference = logits(model, torch.zeros(1, INPUTS), device)
    return metrics.binary_sums(logits(model, samples.inputs, device), samples.labels, reference.item())


@torch.no_grad()
def logits(model: torch.nn.Module, inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """float32 [n, INPUTS] to the model's logits, float32 [n] on the CPU; the largest batch at a time."""
    return torch.cat([model(batch.to(device)).cpu() for batch in inputs.split(RANGES["batch_size"][1])])
