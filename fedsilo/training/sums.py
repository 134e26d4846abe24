"""The sums that silos send: how they travel, and whether they can be true.

A workload declares its sums and the range of each feature. From that alone the aggregator knows the names, shapes and
dtypes, and what one sample can add to each element. No other silo's sums are needed to see that a silo's can't be.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsilo.errors import MailError
from fedsilo.states import SumKind
from fedsilo.text import QUOTE_LIMIT, members, plain
from fedsilo.training.roster import MAX_SAMPLES
from fedsilo.training.validation import finite
from fedsilo.workload.base import Sums
from fedsilo.workload.declaration import Declaration, Sum

NONZERO = ".nonzero"
"""The end of the name under which the elements of a tensor travel that are not zero: int64 [2, n], their places in the
flattened tensor, ascending, and their values."""

TOLERANCE = 1e-9
"""How far a sum may be outside its range, as a fraction of the largest value: what float64 rounds when it adds up."""

Section = Mapping[str, Sum]
"""The declared sums of ``Trainer.statistics`` or of ``Trainer.test``, by name."""


@dataclass(frozen=True)
class Expected:
    """What the aggregator expects of the silos' sums."""

    declaration: Declaration
    """The workload's sums and features."""
    least_samples: int
    """The fewest samples whose sums are used for the first model, or shown by silo: ``policy.min_samples``."""


def pack(sums: Sums) -> Sums:
    """The sums as they travel: of integers that are mostly zero, only the others. ``read`` undoes it."""
    packed = {}
    for name, tensor in sums.items():
        flat = tensor.reshape(-1)
        places = flat.nonzero()[:, 0]
        if tensor.dtype == torch.int64 and 2 * len(places) < len(flat) > 1:
            packed[f"{name}{NONZERO}"] = torch.stack([places, flat[places]])
        else:
            packed[name] = tensor
    return packed


def read(sent: Sums, section: Section, declaration: Declaration) -> Sums:
    """Read the sums that a silo sent, and check that they can be true.

    Args:
        sent: What the silo sent, of ``pack``.
        section: The sums that the workload declares.
        declaration: The workload's declaration, for the ranges of the features.

    Returns:
        The sums as the silo's workload made them.

    Raises:
        MailError: They are not the declared sums, or no samples have such sums. The message gives the reason, to be
            read after "its statistic" or "its evaluation", and no value of a sum.
    """
    sums = {name: _unpack(name, sent, each) for name, each in section.items()}
    unknown = sorted(sent.keys() - section.keys() - {f"{name}{NONZERO}" for name in section})
    if unknown:
        raise MailError(f"holds {plain(unknown[0], QUOTE_LIMIT)}, which the workload does not declare")
    for name, each in section.items():
        _check_form(name, sums[name], *form(each, declaration))
    count = samples(sums, section)
    if not 0 <= count <= MAX_SAMPLES:
        raise MailError("has an impossible count")
    for name, each in section.items():
        _check_range(name, sums[name], each, declaration, count)
    _check_moments(sums, section, declaration, count)
    return sums


def samples(sums: Sums, section: Section) -> int:
    """How many samples the sums are of; 0 if the workload declares none."""
    return next((int(sums[name]) for name, each in section.items() if each.kind == SumKind.COUNT), 0)


def total(sums: Mapping[str, Sums]) -> Sums:
    """Add the sums up over the silos, in the order of their names; empty without silos.

    Args:
        sums: The sums by the names of the silos, all of ``read``.
    """
    if not sums:
        return {}
    added = [sums[silo] for silo in sorted(sums)]
    return {name: torch.stack([each[name] for each in added]).sum(0) for name in added[0]}


def form(each: Sum, declaration: Declaration) -> tuple[torch.dtype, torch.Size]:
    """The dtype and the shape of a declared sum."""
    match each.kind:
        case SumKind.COUNT:
            return torch.int64, torch.Size()
        case SumKind.PARTITION:
            return torch.int64, torch.Size(each.shape)
        case _:
            return torch.float64, torch.Size([len(declaration.features)] if each.of else [])


def element_ranges(each: Sum, declaration: Declaration) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the most that one sample adds to each element: both float64, of the sum's shape or []."""
    least, most = each.range or (0.0, 1.0)
    if each.kind == SumKind.COUNT:
        least = most
    ranges = torch.tensor(list(declaration.features.values()) if each.of else [least, most], dtype=torch.float64)
    low, high = ranges.unbind(-1)
    if each.kind == SumKind.SUM_OF_SQUARES:
        nearest = torch.where((low <= 0) & (high >= 0), 0.0, torch.minimum(low.abs(), high.abs()))
        return nearest.square(), torch.maximum(low.abs(), high.abs()).square()
    return low, high


def _unpack(name: str, sent: Sums, each: Sum) -> torch.Tensor:
    if name in sent:
        return sent[name]
    if f"{name}{NONZERO}" not in sent:
        raise MailError(f"has no {name}")
    packed = sent[f"{name}{NONZERO}"]
    size = torch.Size(each.shape).numel()
    if packed.dtype != torch.int64 or packed.dim() != 2 or len(packed) != 2:
        raise MailError(f"has a malformed {name}")
    places, values = packed
    if bool((places.diff() <= 0).any()) or (len(places) and not 0 <= int(places[0]) <= int(places[-1]) < size):
        raise MailError(f"has a malformed {name}")
    return torch.zeros(size, dtype=torch.int64).index_put((places,), values).reshape(each.shape)


def _check_form(name: str, tensor: torch.Tensor, dtype: torch.dtype, shape: torch.Size) -> None:
    if tensor.dtype != dtype:
        raise MailError(f"has a {name} of dtype {tensor.dtype}, not {dtype}")
    if tensor.shape != shape:
        raise MailError(f"has a {name} of shape {list(tensor.shape)}, not {list(shape)}")
    if not finite(tensor):
        raise MailError(f"has a {name} that is not finite")


def _check_range(name: str, tensor: torch.Tensor, each: Sum, declaration: Declaration, count: int) -> None:
    """Check each element, and that counts of which each sample is in one add up to all samples."""
    least, most = element_ranges(each, declaration)
    slack = TOLERANCE * count * torch.maximum(least.abs(), most.abs())
    outside = (tensor < count * least - slack) | (tensor > count * most + slack)
    if bool(outside.any()):
        where = f" of {_features(outside, declaration)}" if each.of else ""
        raise MailError(f"has a {name}{where} outside the declared range")
    if each.kind == SumKind.PARTITION and int(tensor.sum()) != count:
        raise MailError(f"has a {name} that does not add up to its count")


def _check_moments(sums: Sums, section: Section, declaration: Declaration, count: int) -> None:
    """Check that a sum of squares is possible beside the sum.

    The variance is not negative, and at most (most - mean) * (mean - least): Bhatia and Davis, 2000.
    """
    total = next((sums[n] for n, each in section.items() if each.kind == SumKind.SUM and each.of), None)
    squares = next((n for n, each in section.items() if each.kind == SumKind.SUM_OF_SQUARES), None)
    if total is None or squares is None or not count:
        return
    least, most = torch.tensor(list(declaration.features.values()), dtype=torch.float64).unbind(-1)
    slack = TOLERANCE * count * torch.maximum(least.abs(), most.abs()).square()
    smallest, largest = total.square() / count, (least + most) * total - count * least * most
    impossible = (sums[squares] < smallest - slack) | (sums[squares] > largest + slack)
    if bool(impossible.any()):
        where = _features(impossible, declaration)
        raise MailError(f"has a {squares} of {where} that no samples with its sum have")


def _features(chosen: torch.Tensor, declaration: Declaration) -> str:
    return members([name for name, each in zip(declaration.features, chosen.tolist(), strict=True) if each])
