"""The base classes of a workload's two sides, on top of FedML's ``ClientTrainer`` and ``ServerAggregator``.

Three things leave a silo: the model's parameters, the number of samples, and *sums*. Sums are named tensors that can
be added up over silos, as counts, totals and histograms. No sample is in them.
"""

import logging
import math
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import is_lazy

if "fedml" not in sys.modules:  # a process that wants FedML with its cloud client has imported it first
    import fedsilo.fedml_shim  # noqa: F401

from fedsilo.errors import SpecError
from fedsilo.workload.disclosure import disclosed

from fedml.core import ClientTrainer, ServerAggregator

Sums = dict[str, torch.Tensor]
"""Named tensors, float64 or int64, that are added up over silos element by element."""


class Estimate(NamedTuple):
    """A metric that is known up to a bound."""

    value: float
    bound: float = 0.0
    """How far the exact value can be from ``value``; 0 if the value is exact."""

    @property
    def known(self) -> bool:
        """Whether the value says enough to be shown."""
        return self.bound <= LARGEST_BOUND

    def left_out(self, name: str) -> str:
        """Why the metric ``name`` is not shown, for a reader."""
        return f"{name} is left out: it is known to ± {self.bound:.2g} only; ± {LARGEST_BOUND} is the most"


LARGEST_BOUND = 0.01
"""A metric with a larger bound is neither recorded nor shown."""

BAD_SUMS_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What a workload may raise for sums of the right shape whose values are impossible."""

log = logging.getLogger(__name__)

UNSUPPORTED = {
    "enable_fhe": "FedML 0.9.6 encrypts nothing and trains nothing with it",
    "enable_dp": "two of FedML 0.9.6's four solutions add no noise, and none clips updates",
    "enable_defense": "FedML 0.9.6's defenses need every silo's update in memory at once",
    "enable_attack": "it is for simulations",
}
"""Switches of FedML that don't do what they promise, or don't work with streaming aggregation."""


def refuse_unsupported(settings: Mapping[str, Any]) -> None:
    """Raise ``SpecError`` with a line for each setting that FedML 0.9.6 does not honour."""
    problems = [f"{name}: not supported; {why}" for name, why in UNSUPPORTED.items() if settings.get(name)]
    if settings.get("federated_optimizer", "FedAvg") != "FedAvg":
        problems.append("federated_optimizer: FedML 0.9.6 runs FedAvg only across silos; set mu for FedProx")
    if problems:
        raise SpecError("\n".join(problems))


def state(model: torch.nn.Module) -> "OrderedDict[str, torch.Tensor]":
    """The model's parameters and buffers on the CPU, by name. Tensors that are there already are not copied.

    What has no values, as a tensor that is not initialised, is left as it is; no model with it can be in a run.
    """
    return OrderedDict(
        (name, value.detach().cpu() if has_values(value) else value) for name, value in model.state_dict().items()
    )


def has_values(value: object) -> bool:
    """Whether an entry of a model's state is a tensor with values, and not one that is yet to be initialised."""
    return isinstance(value, torch.Tensor) and not value.is_meta and not is_lazy(value)


class Trainer(ClientTrainer):  # type: ignore[misc]
    """A silo's side of a workload. Subclasses define ``train`` and ``test``, and ``statistics`` if they need it.

    FedML calls ``train(train_data, device, args)`` once a round with ``SiloData.train``. A trainer logs metrics with
    ``args.tracker.log_metric(name, value, step)``. fedsilo sets train mode with gradients for ``train``, and eval mode
    without gradients for ``test`` and ``statistics``, and restores both (``fedsilo.workload.modes``).
    """

    bins: torch.Tensor | None = None
    """The bins for the histograms of ``test``, as ``Aggregator.next_bins`` describes them; None in a run's first test.
    fedsilo sets them before each test."""

    def get_model_params(self) -> "OrderedDict[str, torch.Tensor]":
        """The model's parameters and buffers, by name."""
        return state(self.model)

    def set_model_params(self, model_parameters: "OrderedDict[str, torch.Tensor]") -> None:
        """Load parameters and buffers into the model, by name."""
        self.model.load_state_dict(model_parameters)

    def statistics(self, train_data: Any) -> Sums:
        """The sums over the training data that the aggregator needs before round 0; none by default."""
        return {}

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        """The sums over ``test_data`` from which ``Aggregator.metrics`` computes the metrics."""
        raise NotImplementedError


class Aggregator(ServerAggregator):  # type: ignore[misc]
    """The aggregator's side of a workload. Subclasses define ``metrics``, and ``test`` if there is a hold-out set."""

    bins: torch.Tensor | None = None
    """The bins with which the model was tested: those of the silos' ``Trainer.bins``."""

    def get_model_params(self) -> "OrderedDict[str, torch.Tensor]":
        """The model's parameters and buffers, by name."""
        return state(self.model)

    def set_model_params(self, model_parameters: "OrderedDict[str, torch.Tensor]") -> None:
        """Load parameters and buffers into the model, by name."""
        self.model.load_state_dict(model_parameters)

    def apply_statistics(self, totals: Sums) -> None:
        """Use ``Trainer.statistics``, added up over the silos, before round 0. Does nothing by default."""

    def test(self, test_data: Any, device: torch.device, args: Any) -> Sums:
        """The sums over the aggregator's own hold-out set."""
        raise NotImplementedError

    def metrics(self, totals: Sums) -> Mapping[str, float | Estimate]:
        """Compute metrics from the sums of ``Trainer.test``.

        Args:
            totals: The sums of one silo, or those of all silos added up.

        Returns:
            The metrics by name. The usual names are ``Test:AUC``, ``Test:Loss`` and ``Test:Accuracy``. A metric that
            is not exact is an ``Estimate``.
        """
        raise NotImplementedError

    def contradiction(self, sums: Sums) -> str | None:
        """Find what can't be true in the sums of one silo's ``Trainer.test``. Looks at nothing by default.

        Args:
            sums: The sums, each of them possible by itself by what the workload declares.

        Returns:
            The reason, to be read after "its evaluation", and without any value; None if the sums agree.
        """
        return None

    def next_bins(self, totals: Sums) -> torch.Tensor | None:
        """Choose the bins for the histograms of the next test; none by default.

        Every silo gets them with the next model, so they may tell what is true of all samples, and nothing of one.

        Args:
            totals: The sums of ``Trainer.test``, all silos added up.

        Returns:
            What describes the bins, float64 [n]; None if the workload has no histograms.
        """
        return None


def metrics_of(aggregator: Aggregator, sums: Sums) -> dict[str, Estimate]:
    """Compute the metrics of ``sums``, without those that are not finite; none if the sums are impossible."""
    try:
        metrics = aggregator.metrics(sums)
    except BAD_SUMS_ERRORS as error:
        log.warning("no metrics can be computed from an evaluation: %s", disclosed(error))
        return {}
    estimates = {name: found if isinstance(found, Estimate) else Estimate(found) for name, found in metrics.items()}
    return {name: estimate for name, estimate in estimates.items() if all(map(math.isfinite, estimate))}
