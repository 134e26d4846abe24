"""Checks of tensors: what a model may consist of, and what another party sent, before it is used."""

import math
from collections.abc import Mapping

import torch

from fedsilo.errors import MailError, ModelError
from fedsilo.messaging.codec import Tensors
from fedsilo.text import QUOTE_LIMIT, members, plain
from fedsilo.workload.base import has_values

DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64),
)
"""The dtypes of parameters and buffers that can be mailed and averaged.

Of the others, safetensors has no uint64 that torch can compute with, and no complex128. No mean of float8 or of
quantized values would keep what they stand for."""


def check_model(parameters: Mapping[str, object]) -> None:
    """Check that the parameters and buffers of a model can be mailed, averaged and loaded again.

    Args:
        parameters: What a workload's ``get_model_params`` returns.

    Raises:
        ModelError: One of them can't; the message has its name, what it is, and what is allowed.
    """
    for name, value in parameters.items():
        problem = _problem(value)
        if problem:
            raise ModelError(f"the model can't be exchanged: {name} {problem}")


def _problem(value: object) -> str:
    """What is wrong with a parameter; nothing if it can be exchanged."""
    if not isinstance(value, torch.Tensor):
        return f"is not a tensor but of type {type(value).__name__}; get_extra_state has to return a tensor"
    if not has_values(value):
        return "has no values yet; initialise it in the workload's model(), such as by a call with one batch"
    if value.dtype not in DTYPES:
        allowed = ", ".join(_name(dtype) for dtype in DTYPES)
        return f"has dtype {_name(value.dtype)}; allowed are {allowed}"
    if value.layout != torch.strided:
        return f"has layout {_name(value.layout)}; allowed is strided, which to_dense() makes"
    if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape, strict=True)):
        return "is expanded, so several of its elements are one place in memory; register a clone() of it"
    if not finite(value):
        return "has values that are not finite; a finite model has to be made at the start"
    return ""


def _name(part: torch.dtype | torch.layout) -> str:
    return str(part).removeprefix("torch.")


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
