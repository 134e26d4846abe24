"""A silo's side: local training, and the sums that leave the silo."""

import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from fedsilo.errors import SpecError
from fedsilo.workload import metrics
from fedsilo.workload.base import Sums, Trainer
from workloads.heart_disease.data import Patients


@dataclass(frozen=True)
class LocalTraining:
    """The hyperparameters, section ``train_args`` of the configuration, which says what each is."""

    epochs: int
    batch_size: int
    client_optimizer: str
    lr: float
    weight_decay: float
    mu: float

    @classmethod
    def of(cls, args: Namespace) -> "LocalTraining":
        """Those of ``args``. Raises ``SpecError`` with a line for each that is out of range."""
        chosen = cls(**{field.name: getattr(args, field.name) for field in fields(cls)})
        allowed = {
            "epochs": (chosen.epochs >= 1, "at least 1"),
            "batch_size": (chosen.batch_size >= 1, "at least 1"),
            "client_optimizer": (chosen.client_optimizer in ("adam", "sgd"), "adam or sgd"),
            "lr": (0 < chosen.lr < math.inf, "above 0"),
            "weight_decay": (0 <= chosen.weight_decay < math.inf, "0 or above"),
            "mu": (0 <= chosen.mu < math.inf, "0 or above"),
        }
        problems = [
            f"hyperparameters.{name}: {getattr(chosen, name)!r} is not {what}"
            for name, (holds, what) in allowed.items()
            if not holds
        ]
        if problems:
            raise SpecError("\n".join(problems))
        return chosen

    def optimizer(self, parameters: list[torch.Tensor]) -> Callable[[list[torch.Tensor]], None]:
        """A fresh optimizer: a function that takes the gradients and changes the parameters in place.

        It is the functional form of ``torch.optim.Adam`` or ``SGD``: making the class would import torch's compiler,
        which takes longer than all the training of the example.
        """
        if self.client_optimizer == "sgd":
            return partial(
                sgd,
                parameters,
                momentum_buffer_list=[None] * len(parameters),
                lr=self.lr,
                weight_decay=self.weight_decay,
                momentum=0.0,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                fused=True,
            )
        return partial(
            adam,
            parameters,
            exp_avgs=[torch.zeros_like(parameter) for parameter in parameters],
            exp_avg_sqs=[torch.zeros_like(parameter) for parameter in parameters],
            max_exp_avg_sqs=[],
            state_steps=[torch.zeros((), device=parameter.device) for parameter in parameters],
            lr=self.lr,
            weight_decay=self.weight_decay,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
            fused=True,
        )


class HeartDiseaseTrainer(Trainer):
    """Trains ``LogisticRegression`` on ``Patients``."""

    def __init__(self, model: torch.nn.Module, args: Namespace) -> None:
        super().__init__(model, args)
        self.training = LocalTraining.of(args)

    def statistics(self, train_data: Patients) -> Sums:
        """``count`` int64 [], ``sum`` and ``sum_of_squares`` float64 [13] of the raw features."""
        features = train_data.features.double()
        return {
            "count": torch.tensor(len(features)),
            "sum": features.sum(0),
            "sum_of_squares": features.square().sum(0),
        }

    def train(self, train_data: Patients, device: torch.device, args: Namespace) -> None:
        """One round: ``epochs`` passes in mini-batches, in an order that random_seed, rank and round decide.

        Logs ``Training:Loss``, the mean over an epoch's steps as they were, and ``Validation:AUC`` of the local test
        set after it, for each epoch; their step is the epoch's number in the run.
        """
        chosen = self.training
        features = self.model.standardise(train_data.features.to(device))
        labels = train_data.labels.to(device)
        weight, bias = self.model.linear.weight, self.model.linear.bias
        parameters = [weight, bias]
        origin = [parameter.detach().clone() for parameter in parameters]
        step = chosen.optimizer(parameters)
        order = np.random.default_rng((args.random_seed, args.rank, args.round_idx))
        for epoch in range(chosen.epochs):
            permutation = torch.from_numpy(order.permutation(len(labels)))
            shuffled = labels[permutation]
            logits = torch.empty_like(shuffled)
            batches = (tensor.split(chosen.batch_size) for tensor in (features[permutation], shuffled, logits))
            with torch.no_grad():
                for x, y, logit in zip(*batches, strict=True):
                    # The loss's gradient is written out: autograd would take most of the time of a step this small.
                    torch.addmv(bias, x, weight[0], out=logit)
                    error = (logit.sigmoid() - y) / len(y)
                    gradients = [(error @ x)[None], error.sum(0, keepdim=True)]
                    if chosen.mu:
                        for gradient, parameter, start in zip(gradients, parameters, origin, strict=True):
                            gradient.add_(parameter - start, alpha=chosen.mu)
                    step(gradients)
            epoch_of_run = args.round_idx * chosen.epochs + epoch
            loss = functional.binary_cross_entropy_with_logits(logits, shuffled)
            args.tracker.log_metric("Training:Loss", float(loss), epoch_of_run)
            args.tracker.log_metric("Validation:AUC", self._auc(self.local_test_dataset, device), epoch_of_run)

    def test(self, test_data: Patients, device: torch.device, args: Any) -> Sums:
        """``binary_sums`` of the local test set; the score of the mean patient is the reference."""
        return metrics.binary_sums(self._logits(test_data, device), test_data.labels, self.model.linear.bias.item())

    @torch.no_grad()
    def _logits(self, patients: Patients, device: torch.device) -> torch.Tensor:
        logits: torch.Tensor = self.model(patients.features.to(device))
        return logits.cpu()

    def _auc(self, patients: Patients, device: torch.device) -> float:
        return metrics.roc_auc(self._logits(patients, device), patients.labels)
