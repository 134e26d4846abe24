"""The weighted mean is right for every value that a dtype holds, and integers stay integers."""

import itertools
from fractions import Fraction

import pytest
import torch

from fedsilo.training.mean import begin_sum

LIFTED = (319205469, 53198683, 857138309, 169438090, 991813978)
"""Weights for which float32 rounds the mean of its largest number to infinity."""

WEIGHTS = [(1, 1), (1000, 1000), (333, 777, 1), (10**12, 1), (50,) * 100, LIFTED]
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32]


def mean(tensors: list[torch.Tensor], weights: tuple[int, ...]) -> torch.Tensor:
    total = sum(weights)
    running = begin_sum(tensors[0], weights[0], most=total)
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        running.add(tensor, weight)
    return running.mean(total)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weights", WEIGHTS, ids=range(len(WEIGHTS)))
def test_the_mean_of_equal_numbers_is_the_number_up_to_the_ends_of_the_dtype(
    dtype: torch.dtype, weights: tuple[int, ...]
) -> None:
    limits = torch.finfo(dtype)
    numbers = torch.tensor([limits.min, limits.max, limits.tiny, 0.0, 0.1, -50.0], dtype=dtype)
    found = mean([numbers] * len(weights), weights)
    assert found.dtype == dtype
    torch.testing.assert_close(found, numbers, rtol=2 * limits.eps, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_mean_of_the_ends_of_a_dtype_is_nearly_zero(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    found = mean([torch.tensor([limits.max], dtype=dtype), torch.tensor([limits.min], dtype=dtype)], (1000, 1000))
    assert abs(found.item()) <= 2 * limits.eps * limits.max


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_no_sum_on_the_way_to_a_mean_is_over_the_end_of_the_dtype(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    values = torch.tensor([limits.max, limits.max, 0], dtype=dtype)
    found = mean(list(values[:, None]), (1000, 1000, 47))
    assert found.item() / limits.max == pytest.approx(2000 / 2047, rel=2 * limits.eps)


def test_the_mean_is_as_exact_as_float64_gives_it_in_float32() -> None:
    torch.manual_seed(1)
    weights = (199, 172, 30, 84)
    tensors = [torch.randn(100_000) for _ in weights]
    exact = sum(tensor.double() * weight for tensor, weight in zip(tensors, weights, strict=True)) / sum(weights)
    error = (mean(tensors, weights).double() - exact).abs()
    assert error.max() < 2.0**-21
    assert error.mean() < 2.0**-25


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_that_are_alike_stay_and_others_have_a_rounded_mean_within_the_dtype(dtype: torch.dtype) -> None:
    limits = torch.iinfo(dtype)
    numbers = [limits.min, limits.max, 0, 1, limits.max - 1, limits.max - 3, limits.max // 2 + 3]
    pairs = torch.tensor(list(itertools.product(numbers, repeat=2))).to(dtype)
    for weights in ((1, 1), (199, 172), (10**12, 1), (1, 2**60)):
        found = mean([pairs[:, 0], pairs[:, 1]], weights)
        assert found.dtype == dtype
        for (one, other), got in zip(pairs.tolist(), found.tolist(), strict=True):
            exact = Fraction(one * weights[0] + other * weights[1], sum(weights))
            if one == other:
                assert got == one
            assert abs(got - exact) <= max(Fraction(1, 2), abs(one - other) * Fraction(1, 2**51))


def test_a_large_integer_is_the_same_to_the_last_bit() -> None:
    number = torch.tensor(2**60 + 1)
    assert mean([number] * 3, (199, 172, 30)).equal(number)


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [([True, False], (3, 2), True), ([True, False], (2, 3), False), ([True, False], (1, 1), True),
     ([False, True], (1, 1), False)],
)  # fmt: skip
def test_truth_values_go_by_majority_and_at_a_tie_as_the_first(
    values: list[bool], weights: tuple[int, ...], expected: bool
) -> None:
    found = mean([torch.tensor([value]) for value in values], weights)
    assert found.equal(torch.tensor([expected]))
