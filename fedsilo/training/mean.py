"""The weighted mean of one tensor over the silos, as a running sum that neither overflows nor forgets integers."""

import torch

SPARE_BITS = 1
"""All weights together are scaled to at most 2**-SPARE_BITS, so that rounding can't lift a sum over the dtype's end."""

_HALF_BITS = 32
_LOW_HALF = 2**_HALF_BITS - 1


class FloatSum:
    """The running sum of a floating-point tensor.

    The weights are scaled by a power of two that is known before the first update, so that the sum of all is below
    the largest summand. The scaling is exact, but for sums so small that the dtype itself holds fewer digits of them.
    """

    def __init__(self, first: torch.Tensor, weight: float, most: int) -> None:
        """Begin with a first tensor, which is not kept.

        Args:
            first: Finite, of any shape.
            weight: Its weight, an integer above 0.
            most: The most that the weights of all tensors can add up to.
        """
        self._dtype = first.dtype
        self._scale = 2.0 ** -(most.bit_length() + SPARE_BITS)
        # In half precision, a sum would keep three digits, or two.
        sum_dtype = torch.promote_types(first.dtype, torch.float32)
        self._sum = first.to(sum_dtype, copy=True).mul_(weight * self._scale)

    def add(self, tensor: torch.Tensor, weight: int) -> None:
        """Add a tensor of the same dtype and shape with its weight."""
        self._sum.add_(tensor, alpha=weight * self._scale)

    def mean(self, weight: int) -> torch.Tensor:
        """The mean of the tensors, whose weights add up to ``weight``. Ends the sum, whose memory it takes."""
        limits = torch.finfo(self._dtype)
        # A mean is never beyond its tensors; only its rounding is.
        return self._sum.div_(weight * self._scale).clamp_(limits.min, limits.max).to(self._dtype)


class IntegerSum:
    """The running sum of a tensor of integers, or of truth values as 0 and 1.

    It adds up the differences from the first tensor, in float64. So what all silos sent alike stays as it is, bit for
    bit. Otherwise the mean is rounded to an integer of the dtype, and a tie of truth values goes to the first tensor.
    """

    def __init__(self, first: torch.Tensor, weight: int, most: int) -> None:
        """Begin with a first tensor. The arguments are those of ``FloatSum``."""
        self._first = first.clone()
        self._sum = torch.zeros(first.shape, dtype=torch.float64)

    def add(self, tensor: torch.Tensor, weight: int) -> None:
        """Add a tensor of the same dtype and shape with its weight."""
        # A difference of two int64 may need 65 bits, so it is taken in halves.
        high, low = (part - of_first for part, of_first in zip(_halves(tensor), _halves(self._first), strict=True))
        self._sum.add_(high.double().mul_(2.0**_HALF_BITS).add_(low.double()), alpha=weight)

    def mean(self, weight: int) -> torch.Tensor:
        """The mean of the tensors, whose weights add up to ``weight``. Ends the sum."""
        difference = self._sum.div_(weight).round_()
        high = (difference / 2.0**_HALF_BITS).floor_()
        low = difference.sub_(high * 2.0**_HALF_BITS)
        first_high, first_low = _halves(self._first)
        low = low.long().add_(first_low)
        high = high.long().add_(first_high).add_(low >> _HALF_BITS)
        return _joined(high, low & _LOW_HALF, self._first.dtype)


Sum = FloatSum | IntegerSum


def begin_sum(first: torch.Tensor, weight: int, most: int) -> Sum:
    """Begin the running sum of a tensor of any dtype that a model may have. The arguments are those of ``FloatSum``."""
    return (FloatSum if first.is_floating_point() else IntegerSum)(first, weight, most)


def _halves(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The upper and the lower half of integers, each as int64; the lower half is not negative."""
    wide = tensor.long()
    return wide >> _HALF_BITS, wide & _LOW_HALF


def _joined(high: torch.Tensor, low: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The integers of two halves, or the end of the dtype that is next to them."""
    if dtype == torch.bool:
        least, most = 0, 1
    else:
        least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    ends = torch.tensor([least, most])
    (least_high, most_high), (least_low, most_low) = _halves(ends)
    over = (high > most_high) | ((high == most_high) & (low > most_low))
    under = (high < least_high) | ((high == least_high) & (low < least_low))
    joined = (high << _HALF_BITS) | low
    return torch.where(over, ends[1], torch.where(under, ends[0], joined)).to(dtype)
