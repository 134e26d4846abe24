"""Sums travel without their zeros, and sums that no samples can have are found from the declaration alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsilo.errors import MailError
from fedsilo.training.sums import NONZERO, element_ranges, pack, read, samples, total
from fedsilo.workload.base import Sums
from fedsilo.workload.declaration import Declaration

DECLARED = Declaration.model_validate(
    {
        "hyperparameters": {},
        "metrics": {},
        "features": {"age": [0.0, 120.0], "oldpeak": [-10.0, 10.0]},
        "statistics": {
            "count": {"kind": "count"},
            "sum": {"kind": "sum", "of": "features"},
            "squares": {"kind": "sum_of_squares", "of": "features"},
        },
        "evaluation": {
            "count": {"kind": "count"},
            "loss": {"kind": "sum", "range": [0.0, 100.0]},
            "histogram": {"kind": "partition", "shape": [2, 3]},
        },
    }
)


def statistics(*patients: tuple[float, float]) -> Sums:
    values = torch.tensor(patients, dtype=torch.float64)
    return {"count": torch.tensor(len(values)), "sum": values.sum(0), "squares": values.square().sum(0)}


EVALUATION: Sums = {
    "count": torch.tensor(7),
    "loss": torch.tensor(3.5).double(),
    "histogram": torch.tensor([[0, 4, 0], [0, 0, 3]]),
}
PATIENTS = ((63.0, 2.3), (41.0, -1.0), (57.0, 0.6))
FLOAT8 = torch.zeros(2).to(torch.float8_e4m3fn)


def reason(sent: Sums, section: str) -> str:
    with pytest.raises(MailError) as error:
        read(sent, getattr(DECLARED, section), DECLARED)
    return str(error.value)


def floats(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_sums_that_samples_have_come_back_as_they_were() -> None:
    for sent, section in ((statistics(*PATIENTS), DECLARED.statistics), (EVALUATION, DECLARED.evaluation)):
        packed = pack(sent)
        for found in (read(sent, section, DECLARED), read(packed, section, DECLARED)):
            assert found.keys() == sent.keys()
            assert all(torch.equal(found[name], sent[name]) for name in sent)
    assert pack(EVALUATION)[f"histogram{NONZERO}"].tolist() == [[1, 5], [4, 3]]
    assert read({}, {}, DECLARED) == {}


def test_no_samples_have_sums_too() -> None:
    empty = {name: torch.zeros_like(tensor) for name, tensor in EVALUATION.items()}
    assert samples(read(pack(empty), DECLARED.evaluation, DECLARED), DECLARED.evaluation) == 0
    assert samples({}, {}) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 120), st.floats(-10, 10)), min_size=1, max_size=40))
def test_no_honest_statistic_is_refused(patients: list[tuple[float, float]]) -> None:
    assert read(statistics(*patients), DECLARED.statistics, DECLARED)


@pytest.mark.parametrize("patient", [(0.0, -10.0), (120.0, 10.0), (0.1, 0.1), (120.0, -10.0)])
def test_a_feature_that_all_patients_share_is_possible(patient: tuple[float, float]) -> None:
    assert read(statistics(*[patient] * 12345), DECLARED.statistics, DECLARED)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"count": torch.tensor(-3)}, "has an impossible count"),
        ({"count": torch.tensor(10**18)}, "has an impossible count"),
        ({"count": torch.tensor([3])}, "has a count of shape [1], not []"),
        ({"count": torch.tensor(3).int()}, "has a count of dtype torch.int32, not torch.int64"),
        ({"count": FLOAT8}, "has a count of dtype torch.float8_e4m3fn, not torch.int64"),
        ({"sum": torch.tensor(1 + 2j)}, "has a sum of dtype torch.complex64, not torch.float64"),
        ({"sum": floats(float("nan"), 0)}, "has a sum that is not finite"),
        ({"sum": floats(float("inf"), 0)}, "has a sum that is not finite"),
        ({"sum": floats(161e4, 1.9)}, "has a sum of age outside the declared range"),
        ({"sum": floats(-1e4, -31)}, "has a sum of age, oldpeak outside the declared range"),
        ({"squares": floats(9e3, 1e9)}, "has a squares of oldpeak outside the declared range"),
        ({"squares": floats(8000, 7)}, "has a squares of age that no samples with its sum have"),
        ({"squares": floats(19400, 7)}, "has a squares of age that no samples with its sum have"),
        ({"more": torch.tensor(1)}, "holds more, which the workload does not declare"),
        ({"a\n" + "b" * 999: torch.tensor(1)}, "holds a " + "b" * 57 + "…, which the workload does not declare"),
    ],
)
def test_a_statistic_that_no_samples_have_is_found(change: Sums, why: str) -> None:
    assert reason(statistics(*PATIENTS) | change, "statistics") == why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"histogram": torch.tensor([[0, 5, 0], [-1, 0, 3]])}, "has a histogram outside the declared range"),
        ({"histogram": torch.tensor([[0, 4, 0], [0, 0, 4]])}, "has a histogram that does not add up to its count"),
        ({"histogram": torch.tensor([[4, 3]])}, "has a histogram of shape [1, 2], not [2, 3]"),
        ({"count": torch.tensor(7000)}, "has a histogram that does not add up to its count"),
        ({"loss": torch.tensor(701.0).double()}, "has a loss outside the declared range"),
        ({"loss": torch.tensor(-0.1).double()}, "has a loss outside the declared range"),
    ],
)
def test_an_evaluation_that_no_samples_have_is_found(change: Sums, why: str) -> None:
    assert reason(EVALUATION | change, "evaluation").startswith(why)


@pytest.mark.parametrize(
    "packed",
    [
        torch.tensor([[1, 6], [4, 3]]),
        torch.tensor([[-1, 5], [4, 3]]),
        torch.tensor([[5, 1], [3, 4]]),
        torch.tensor([[1, 1], [4, 3]]),
        torch.tensor([[1, 5]]),
        torch.tensor([1, 5]),
        floats(1, 5),
    ],
)
def test_a_malformed_tensor_without_its_zeros_is_found(packed: torch.Tensor) -> None:
    sent = {name: tensor for name, tensor in EVALUATION.items() if name != "histogram"}
    assert reason(sent, "evaluation") == "has no histogram"
    assert reason(sent | {f"histogram{NONZERO}": packed}, "evaluation") == "has a malformed histogram"


def test_the_ranges_of_elements_follow_the_declaration() -> None:
    found = {name: element_ranges(each, DECLARED) for name, each in DECLARED.statistics.items()}
    assert [end.tolist() for end in found["count"]] == [1, 1]
    assert [end.tolist() for end in found["sum"]] == [[0, -10], [120, 10]]
    assert [end.tolist() for end in found["squares"]] == [[0, 0], [14400, 100]]
    assert [end.tolist() for end in element_ranges(DECLARED.evaluation["histogram"], DECLARED)] == [0, 1]


def test_sums_are_added_up_over_the_silos() -> None:
    both = total({"west": statistics(*PATIENTS[:1]), "east": statistics(*PATIENTS[1:])})
    assert {name: tensor.tolist() for name, tensor in both.items()} == {
        name: pytest.approx(tensor.tolist()) for name, tensor in statistics(*PATIENTS).items()
    }
    assert total({}) == total({"west": {}}) == {}
