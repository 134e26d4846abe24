"""The aggregator's side: the global standardisation from the silos' sums, and the metrics."""

from collections import OrderedDict

import torch

from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Sums

CONSTANT = 1e-12
"""A variance below this fraction of the mean square is rounding: the feature is the same for everybody."""


class HeartDiseaseAggregator(Aggregator):
    def apply_statistics(self, totals: Sums) -> None:
        """Set the model's standardisation. ``totals``: as ``HeartDiseaseTrainer.statistics``, added up.

        A feature that never varies is only centred.
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
        """Keep the standardisation as it is: it is the aggregator's, and an average of it would only add rounding."""
        aggregated: OrderedDict[str, torch.Tensor] = super().on_after_aggregation(aggregated_model_or_grad)
        aggregated.update(mean=self.model.mean, std=self.model.std)
        return aggregated

    def metrics(self, totals: Sums) -> dict[str, float]:
        return metrics.binary_metrics(totals)
