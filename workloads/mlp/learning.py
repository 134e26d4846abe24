"""Both sides of the workload: mini-batch SGD at the silos, and the metrics from their sums."""

from argparse import Namespace

import numpy as np
import torch
from torch import nn

from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Estimate, Sums, Trainer

from .data import Samples

BATCH = 4096
"""Samples that an evaluation takes at once, as many as the largest batch of training."""


class MlpTrainer(Trainer):
    """Trains ``Mlp`` on ``Samples``."""

    def train(self, train_data: Samples, device: torch.device, args: Namespace) -> None:
        """Train for one round: ``epochs`` passes over the data in shuffled mini-batches.

        Logs two metrics after each epoch: ``Training:Loss``, the mean over the epoch's samples at the time of their
        steps, and ``Validation:AUC`` on the local test set. Their step is the number of the epoch in the whole run.

        Args:
            train_data: The silo's training set.
            device: Where to train.
            args: The hyperparameters of ``workload.yaml``. ``random_seed``, ``rank`` and ``round_idx`` together
                decide the order of the samples.
        """
        model = self.model.to(device)
        inputs, labels = train_data.inputs.to(device), train_data.labels.to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
        loss_function = nn.BCEWithLogitsLoss()
        # A million samples fit into tensors, and a DataLoader would collect them one by one.
        order = np.random.default_rng((args.random_seed, args.rank, args.round_idx))
        for epoch in args.checkpoint.epochs(args.epochs, model=model, optimizer=optimizer, order=order):
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
        return metrics.binary_sums(logits(self.model, test_data.inputs, device), test_data.labels, self.bins)


class MlpAggregator(Aggregator):
    """Evaluates with the sums of all silos, or with those of its own hold-out set."""

    def test(self, test_data: Samples, device: torch.device, args: Namespace) -> Sums:
        return metrics.binary_sums(logits(self.model, test_data.inputs, device), test_data.labels, self.bins)

    def metrics(self, totals: Sums) -> dict[str, float | Estimate]:
        return metrics.binary_metrics(totals, self.bins)

    def contradiction(self, sums: Sums) -> str | None:
        return metrics.binary_contradiction(sums, self.bins)

    def next_bins(self, totals: Sums) -> torch.Tensor | None:
        return metrics.binary_bins(totals, self.bins)


@torch.no_grad()
def logits(model: nn.Module, inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Map inputs, float32 [n, INPUTS], to logits, float32 [n] on the CPU, in batches."""
    return torch.cat([model(batch.to(device)).cpu() for batch in inputs.split(BATCH)])
