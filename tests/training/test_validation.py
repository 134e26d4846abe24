"""Tensors of another party are checked before they are used."""

import pytest
import torch

from fedsilo.errors import MailError
from fedsilo.training.validation import check_parameters, finite


def test_parameters_are_checked_by_names_shapes_dtypes_and_values() -> None:
    model = {"w": torch.zeros(2, 3), "b": torch.zeros(1), "n": torch.tensor(3)}
    check_parameters({name: tensor.clone() for name, tensor in model.items()}, model, "the update")
    nan = torch.tensor([[0.0, 0, 0], [0, 0, float("nan")]])
    for change, words in (
        ({"x": torch.zeros(1)}, "the tensors are not the model's; x missing or unknown"),
        ({"w": torch.zeros(3, 2)}, r"w has shape \[3, 2\], the model's \[2, 3\]"),
        ({"w": torch.zeros(6)}, r"w has shape \[6\]"),
        ({"w": torch.zeros(2, 3).double()}, "w has dtype torch.float64, the model's torch.float32"),
        ({"n": torch.tensor(3, dtype=torch.int32)}, "n has dtype torch.int32"),
        ({"w": nan}, "w has values that are not finite"),
        ({"b": torch.tensor([float("-inf")])}, "b has values that are not finite"),
    ):
        with pytest.raises(MailError, match=f"^the update: {words}"):
            check_parameters(model | change, model, "the update")
    with pytest.raises(MailError, match=r"b, n, w missing or unknown"):
        check_parameters({}, model, "the update")


def test_a_tensors_name_is_quoted_in_one_short_line() -> None:
    name = "x\n2026-11-22 10:08:31,123 INFO fedsilo.training.rounds: round 1: refused: hungary" + "x" * 1_500_000
    with pytest.raises(MailError) as raised:
        check_parameters({name: torch.zeros(1)}, {}, "the update")
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("place", [0, 2**20 - 1, 2**20, 3 * 2**20 + 4])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(place: int) -> None:
    tensor = torch.zeros(3 * 2**20 + 6)
    assert finite(tensor)
    assert finite(tensor[:0])
    tensor[place] = float("inf")
    assert not finite(tensor)
    assert not finite(tensor.view(6, -1))
