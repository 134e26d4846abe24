"""The aggregator's side: the standardisation of all silos' features, and the metrics."""

from collections import OrderedDict

import torch

from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Estimate, Sums

CONSTANT = 1e-12
"""A feature whose variance is below this fraction of its mean square is constant; the rest is rounding."""


class HeartDiseaseAggregator(Aggregator):
    """Standardises with the moments of all patients, and evaluates with the sums of all silos."""

    def apply_statistics(self, totals: Sums) -> None:
        """Set the model's standardisation. A constant feature is only centred.

        Args:
            totals: ``HeartDiseaseTrainer.statistics``, added up over the silos.
        """
        mean = totals["sum"] / totals["count"]
        mean_square = totals["sum_of_squares"] / totals["count"]
        variance = mean_square - mean**2
        varies = variance > CONSTANT * mean_square
        self.model.mean.copy_(mean)
        self.model.std.copy_(torch.where(varies, variance, 1.0).sqrt())

    def on_after_aggregation(
        self, aggregated_model_or_grad: "OrderedDict[str, torch.Tensor]"
    ) -> "OrderedDict[str, torch.Tensor]":
        """Put the aggregator's own standardisation back: averaging the silos' copies of it only adds rounding."""
        aggregated: OrderedDict[str, torch.Tensor] = super().on_after_aggregation(aggregated_model_or_grad)
        aggregated.update(mean=self.model.mean, std=self.model.std)
        return aggregated

    def metrics(self, totals: Sums) -> dict[str, float | Estimate]:
        return metrics.binary_metrics(totals, self.bins)

    def contradiction(self, sums: Sums) -> str | None:
        return metrics.binary_contradiction(sums, self.bins)

    def next_bins(self, totals: Sums) -> torch.Tensor | None:
        return metrics.binary_bins(totals, self.bins)
