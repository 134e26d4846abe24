"""The silo's side: local training, and the sums that leave the silo."""

from argparse import Namespace

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedsilo.workload import metrics, modes
from fedsilo.workload.base import Sums, Trainer

from .data import Patients

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class HeartDiseaseTrainer(Trainer):
    """Trains ``LogisticRegression`` on ``Patients``."""

    def statistics(self, train_data: Patients) -> Sums:
        """What the aggregator computes the standardisation from.

        Args:
            train_data: The silo's training set.

        Returns:
            ``count`` int64 [], ``sum`` and ``sum_of_squares`` float64 [13], all of the raw features.
        """
        features = train_data.features.double()
        return {
            "count": torch.tensor(len(features)),
            "sum": features.sum(0),
            "sum_of_squares": features.square().sum(0),
        }

    def train(self, train_data: Patients, device: torch.device, args: Namespace) -> None:
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
        global_parameters = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = OPTIMIZERS[args.client_optimizer](model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
        loss_function = nn.BCEWithLogitsLoss()
        generator = _generator(args)
        loader = DataLoader(TensorDataset(*train_data), args.batch_size, shuffle=True, generator=generator)
        for epoch in args.checkpoint.epochs(args.epochs, model=model, optimizer=optimizer, generator=generator):
            loss_sum = 0.0
            for features, labels in loader:
                loss = loss_function(model(features.to(device)), labels.to(device))
                loss_sum += loss.item() * len(labels)
                if args.mu:  # FedProx
                    loss = loss + args.mu / 2 * _squared_distance(model, global_parameters)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            step = args.round_idx * args.epochs + epoch
            args.tracker.log_metric("Training:Loss", loss_sum / len(train_data.labels), step)
            args.tracker.log_metric("Validation:AUC", self._auc(self.local_test_dataset, device), step)

    def test(self, test_data: Patients, device: torch.device, args: Namespace) -> Sums:
        """The sums of ``binary_sums`` over the local test set."""
        return metrics.binary_sums(self._logits(test_data, device), test_data.labels, self.bins)

    def _auc(self, patients: Patients, device: torch.device) -> float:
        return metrics.roc_auc(self._logits(patients, device), patients.labels)

    def _logits(self, patients: Patients, device: torch.device) -> torch.Tensor:
        model = self.model.to(device)
        with modes.evaluating(model):  # training calls this, too
            logits: torch.Tensor = model(patients.features.to(device))
        return logits.cpu()


def _generator(args: Namespace) -> torch.Generator:
    """The random numbers of one silo in one round, so that a run repeats itself."""
    seed = np.random.SeedSequence((args.random_seed, args.rank, args.round_idx)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0]))


def _squared_distance(model: nn.Module, others: list[torch.Tensor]) -> torch.Tensor:
    """The squared Euclidean distance of the model's parameters from ``others``."""
    distances = [(own - other).square().sum() for own, other in zip(model.parameters(), others, strict=True)]
    return torch.stack(distances).sum()
