"""What a workload's trainer and aggregator build on: FedML's ``ClientTrainer`` and ``ServerAggregator``.

What crosses a silo's boundary is made here, and it is three things: parameters, a sample count, and *sums*. Sums are
named tensors that mean the same when added up over silos (counts, totals, histograms); nothing in them is a sample.
"""

import logging
import math
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

if "fedml" not in sys.modules:  # a process that wants FedML with its cloud client has imported it first
    import fedsilo.fedml_shim  # noqa: F401

from fedsilo.errors import SpecError

from fedml.core import ClientTrainer, ServerAggregator

Sums = dict[str, torch.Tensor]
"""Named tensors to be added up over silos, element by element; float64 or int64."""

BAD_SUMS_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What a workload may raise for sums of the right form with values that can't be."""

log = logging.getLogger(__name__)

UNSUPPORTED = {
    "enable_fhe": "FedML 0.9.6 encrypts nothing and trains nothing with it",
    "enable_dp": "two of FedML 0.9.6's four solutions add no noise, and none clips updates",
    "enable_defense": "FedML 0.9.6's defenses need every silo's update in memory at once",
    "enable_attack": "it is for simulations",
}
"""Switches of FedML that don't do what they say, or can't be had together with streaming aggregation."""


def refuse_unsupported(settings: Mapping[str, Any]) -> None:
    """Raise ``SpecError`` for settings that FedML 0.9.6 does not honour, a line for each."""
    problems = [f"{name}: not supported; {why}" for name, why in UNSUPPORTED.items() if settings.get(name)]
    if settings.get("federated_optimizer", "FedAvg") != "FedAvg":
        problems.append("federated_optimizer: FedML 0.9.6 runs FedAvg only across silos; set mu for FedProx")
    if problems:
        raise SpecError("\n".join(problems))


def state(model: torch.nn.Module) -> "OrderedDict[str, torch.Tensor]":
    """The model's parameters and buffers on the CPU, by name; no copies are made of what lies there already."""
    return OrderedDict((name, tensor.detach().cpu()) for name, tensor in model.state_dict().items())


class Trainer(ClientTrainer):  # type: ignore[misc]
    """A silo's side of a workload. Subclasses define ``train`` and ``test``, and ``statistics`` if they need one.

    FedML calls ``train(train_data, device, args)`` once a round with ``SiloData.train``. ``args.tracker`` takes
    metrics: ``args.tracker.log_metric(name, value, step)``.
    """

    def get_model_params(self) -> "OrderedDict[str, torch.Tensor]":
        """The model's parameters and buffers, by name."""
        return state(self.model)

    def set_model_params(self, model_parameters: "OrderedDict[str, torch.Tensor]") -> None:
        """Load parameters and buffers into the model, by name."""
        self.model.load_state_dict(model_parameters)

    def statistics(self, train_data: Any) -> Sums:
        """Sums over the training data that the aggregator needs before round 0; none by default."""
        return {}

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        """The model's sums over ``test_data``, from which ``Aggregator.metrics`` computes."""
        raise NotImplementedError


class Aggregator(ServerAggregator):  # type: ignore[misc]
    """The aggregator's side of a workload. Subclasses define ``metrics``; ``test`` if it has a hold-out set."""

    def get_model_params(self) -> "OrderedDict[str, torch.Tensor]":
        """The model's parameters and buffers, by name."""
        return state(self.model)

    def set_model_params(self, model_parameters: "OrderedDict[str, torch.Tensor]") -> None:
        """Load parameters and buffers into the model, by name."""
        self.model.load_state_dict(model_parameters)

    def apply_statistics(self, totals: Sums) -> None:
        """Take ``Trainer.statistics``, added up over the silos, into the model before round 0."""

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        """The model's sums over the aggregator's own hold-out set."""
        raise NotImplementedError

    def metrics(self, totals: Sums) -> dict[str, float]:
        """The metrics that ``Trainer.test``'s sums give: of one silo or, added up, of all.

        Names are ``Test:AUC``, ``Test:Loss``, ``Test:Accuracy`` where the workload has them.
        """
        raise NotImplementedError


def metrics_of(aggregator: Aggregator, sums: Sums) -> dict[str, float]:
    """Those that the sums determine: not the AUC of one class, and none of sums that make no sense."""
    try:
        metrics = aggregator.metrics(sums)
    except BAD_SUMS_ERRORS as error:
        log.warning("an evaluation makes no metrics: %s: %s", type(error).__name__, error)
        return {}
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
