"""The model: a logistic regression that takes raw features and standardises them itself."""

import torch
from torch import nn

from .data import FEATURES


class LogisticRegression(nn.Module):
    """Predicts the logit of heart disease from the 13 ``FEATURES`` in their own units.

    The standardisation is part of the model, as buffers, so a prediction needs nothing but the model. It is the
    identity until ``HeartDiseaseAggregator.apply_statistics`` sets it.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("std", torch.ones(len(FEATURES)))
        self.linear = nn.Linear(len(FEATURES), 1)

    def standardise(self, features: torch.Tensor) -> torch.Tensor:
        """Scale raw features to mean 0 and standard deviation 1 over all silos: float32 [n, 13] to the same."""
        return (features - self.mean) / self.std

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map raw features, float32 [n, 13], to logits, float32 [n]."""
        logits: torch.Tensor = self.linear(self.standardise(features))
        return logits.squeeze(-1)
