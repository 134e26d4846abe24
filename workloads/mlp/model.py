"""A multilayer perceptron sized by its number of parameters."""

import math

import torch
from torch import nn

from .data import INPUTS


class Mlp(nn.Module):
    """Two hidden layers of equal width, as wide as ``parameters`` parameters allow.

    Nearly all parameters are in one square matrix, so a sample costs about one multiplication per parameter.
    """

    def __init__(self, parameters: int) -> None:
        super().__init__()
        # The model has width**2 + slope * width + 1 parameters.
        slope = INPUTS + 3
        width = (math.isqrt(slope**2 + 4 * (parameters - 1)) - slope) // 2
        self.layers = nn.Sequential(
            nn.Linear(INPUTS, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs, float32 [n, INPUTS], to logits, float32 [n]."""
        logits: torch.Tensor = self.layers(inputs)
        return logits.squeeze(-1)
