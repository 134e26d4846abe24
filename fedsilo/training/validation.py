"""Checks of tensors that another party sent, before they are used."""

import math

import torch

from fedsilo.errors import MailError
from fedsilo.messaging.codec import Tensors
from fedsilo.text import QUOTE_LIMIT, members, plain

MOST_BINS = 10_000
"""The most numbers that may describe the bins of an evaluation."""


def check_parameters(tensors: Tensors, expected: Tensors, where: str) -> None:
    """Check that tensors can be the parameters of a model.

    Args:
        tensors: What was received, by the names of the parameters.
        expected: The model's own parameters; names, shapes and dtypes have to be the same.
        where: What the tensors are, for the message.

    Raises:
        MailError: A name, a shape or a dtype differs, or a value is not finite.
    """
    if tensors.keys() != expected.keys():
        different = [plain(name, QUOTE_LIMIT) for name in sorted(tensors.keys() ^ expected.keys())]
        raise MailError(f"{where}: the tensors are not the model's; {members(different)} missing or unknown")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise MailError(f"{where}: {name} has shape {list(tensor.shape)}, the model's {list(expected[name].shape)}")
        if tensor.dtype != expected[name].dtype:
            raise MailError(f"{where}: {name} has dtype {tensor.dtype}, the model's {expected[name].dtype}")
    for name, tensor in tensors.items():
        if not finite(tensor):
            raise MailError(f"{where}: {name} has values that are not finite")


def check_bins(bins: object) -> torch.Tensor | None:
    """The bins that a broadcast hands out for the evaluation, float64 [n]; None if it hands out none.

    Raises:
        MailError: They are not a list of up to ``MOST_BINS`` finite numbers.
    """
    if bins is None:
        return None
    numbers = bins if isinstance(bins, list) and 1 <= len(bins) <= MOST_BINS else [None]
    if not all(type(each) is float and math.isfinite(each) for each in numbers):
        raise MailError("the bins of the evaluation are not a list of finite numbers")
    return torch.tensor(numbers, dtype=torch.float64)


def finite(tensor: torch.Tensor) -> bool:
    """Whether every value is finite."""
    # The sum is not finite if a value is not, and takes a fifth of the time of looking at each value.
    if math.isfinite(tensor.sum()):
        return True
    # Finite values may have a sum that is not finite. In pieces, so that the answer takes no memory.
    return all(bool(torch.isfinite(piece).all()) for piece in torch.split(tensor.reshape(-1), 2**20))
