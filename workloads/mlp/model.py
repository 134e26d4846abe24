"""A multilayer perceptron sized by its number of parameters."""

import math

import torch

from workloads.mlp.data import INPUTS

SMALLEST = INPUTS + 5
"""Parameters of the perceptron whose layers are one unit wide."""


class Mlp(torch.nn.Module):
    """Two hidden layers of equal width, the widest for which there are no more than ``parameters`` parameters.

    So nearly all of them are one square matrix: 25 million cost 25 million multiplications a sample and no more.
    """

    def __init__(self, parameters: int) -> None:
        super().__init__()
        # width**2 + slope * width + 1 parameters
        slope = INPUTS + 3
        width = (math.isqrt(slope**2 + 4 * (parameters - 1)) - slope) // 2
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(INPUTS, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, 1),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """float32 [n, INPUTS] to logits, float32 [n]."""
        logits: torch.Tensor = self.layers(inputs)
        return logits.squeeze(-1)
