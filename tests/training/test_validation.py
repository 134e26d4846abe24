"""A model that can't travel is refused, and tensors of another party are checked before they are used."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fedsilo.errors import MailError, ModelError
from fedsilo.messaging.codec import save
from fedsilo.training.mean import begin_sum
from fedsilo.training.validation import DTYPES, check_model, check_parameters, finite
from fedsilo.workload.base import state


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


def test_finite_values_whose_sum_is_not_are_finite() -> None:
    """As an attention mask of the least float32."""
    least = torch.full((3,), torch.finfo(torch.float32).min)
    assert finite(least)
    least[1] = float("nan")
    assert not finite(least)


class ExtraState(torch.nn.Module):
    def __init__(self, extra: object) -> None:
        super().__init__()
        self.extra = extra

    def get_extra_state(self) -> object:
        return self.extra


def with_buffer(value: torch.Tensor) -> torch.nn.Module:
    model = torch.nn.Module()
    model.register_buffer("w", value)
    return model


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch will not make them for ever
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


DTYPES_NAMED = "float16, bfloat16, float32, float64, bool, uint8, uint16, uint32, int8, int16, int32, int64"

CAN_NOT_TRAVEL: dict[str, tuple[torch.nn.Module, str]] = {
    "complex": (
        with_buffer(torch.zeros(2, dtype=torch.complex64)),
        f"w has dtype complex64; allowed are {DTYPES_NAMED}",
    ),
    "float8": (with_buffer(torch.zeros(2).to(torch.float8_e4m3fn)), "w has dtype float8_e4m3fn; allowed are float16"),
    "quantized": (
        with_buffer(quantized()),
        "w has dtype qint8; allowed are float16",
    ),
    "sparse": (with_buffer(torch.eye(2).to_sparse()), "w has layout sparse_coo; allowed is strided"),
    "lazy": (torch.nn.LazyLinear(3), "weight has no values yet; initialise it in the workload's model()"),
    "meta": (torch.nn.Linear(2, 1, device="meta"), "weight has no values yet"),
    "extra state": (ExtraState({"steps": 3}), "_extra_state is not a tensor but of type dict; get_extra_state"),
    "nan": (with_buffer(torch.tensor([1.0, float("nan")])), "w has values that are not finite"),
    "expanded": (with_buffer(torch.zeros(1).expand(3)), "w is expanded"),
}


@pytest.mark.parametrize("case", CAN_NOT_TRAVEL)
def test_a_model_that_can_not_travel_is_named_with_what_is_allowed(case: str) -> None:
    model, words = CAN_NOT_TRAVEL[case]
    with pytest.raises(ModelError) as raised:
        check_model(state(model))
    message = str(raised.value)
    assert message.startswith(f"the model can't be exchanged: {words}")
    assert "\n" not in message


def test_any_other_model_can_travel() -> None:
    tied = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)])
    tied[1].weight = tied[0].weight
    for model in (tied, ExtraState(torch.tensor(3)), with_buffer(torch.zeros(2, 3).t()), with_buffer(torch.zeros(0))):
        check_model(state(model))


ALL_DTYPES = sorted(
    {each for each in vars(torch).values() if isinstance(each, torch.dtype) and not str(each).startswith("torch.q")},
    key=str,
)
"""All dtypes but the quantized ones, of which there are no plain tensors."""


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
def test_a_dtype_is_refused_or_is_mailed_averaged_and_loaded(dtype: torch.dtype, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of complex32
        model = with_buffer(torch.zeros(3, dtype=dtype))
    if dtype not in DTYPES:
        with pytest.raises(ModelError, match="w has dtype"):
            check_model(state(model))
        return
    check_model(state(model))
    sent = torch.tensor([0, 1, 1]).to(dtype)
    save(tmp_path / "mail", {"w": sent})
    received = load_file(tmp_path / "mail")["w"]
    check_parameters({"w": received}, state(model), "the update")
    running = begin_sum(received, 3, most=10)
    running.add(received, 7)
    model.load_state_dict({"w": running.mean(10)})
    assert state(model)["w"].dtype == dtype
    assert state(model)["w"].equal(sent)
