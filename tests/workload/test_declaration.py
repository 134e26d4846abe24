"""A workload's declaration is read, or each of its mistakes is reported, and nobody can change it."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from fedsilo import yaml_files
from fedsilo.errors import SpecError
from fedsilo.states import Role
from fedsilo.workload import registry
from fedsilo.workload.declaration import Declaration, Hyperparameter, within

RAW: dict[str, Any] = {
    "hyperparameters": {
        "lr": {"default": 0.1, "above": 0, "below": 2, "safe": True, "help": "Learning rate."},
        "batch_size": {"default": 4, "min": 1, "max": 64, "unit": "samples", "role": "batch_size"},
        "augment": {"default": False},
        "norm": {"default": "batch", "choices": ["batch", "group"]},
    },
    "metrics": {"Test:RMSE": {"better": "lower", "range": [0, None], "unit": "mmHg"}},
    "features": {"age": [0, 120], "bmi": [5, 90]},
    "statistics": {
        "count": {"kind": "count"},
        "sum": {"kind": "sum", "of": "features"},
        "sum_of_squares": {"kind": "sum_of_squares", "of": "features"},
    },
    "evaluation": {"count": {"kind": "count"}, "squared_error": {"kind": "sum", "range": [0, 1e6]}},
}


def problems(section: str, name: str, change: Any) -> list[str]:
    """What is wrong with the declaration above after a change in a section; a mapping changes parts of an entry."""
    raw = copy.deepcopy(RAW)
    entry = raw[section].get(name)
    raw[section][name] = (
        {**(entry if isinstance(entry, dict) else {}), **change} if isinstance(change, dict) else change
    )
    with pytest.raises(SpecError) as caught:
        yaml_files.validate(Declaration, raw, "workload.yaml")
    return str(caught.value).splitlines()


def test_a_declaration_is_read_in_its_order_and_nobody_can_change_it() -> None:
    declared = Declaration.model_validate(RAW)
    assert list(declared.features) == ["age", "bmi"]
    assert declared.with_role(Role.BATCH_SIZE) == "batch_size"
    assert registry.declaration("mlp") is registry.declaration("mlp")
    for section in ("hyperparameters", "metrics", "features", "statistics", "evaluation"):
        with pytest.raises(TypeError):
            getattr(declared, section)["new"] = None
    with pytest.raises(ValidationError, match="frozen"):
        declared.hyperparameters["lr"].default = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        declared.features = {}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "name", "change", "problem"),
    [
        ("hyperparameters", "lr", {"most": 1}, "hyperparameters.lr.most: unknown key; known here: default, min, "),
        ("hyperparameters", "lr", {"default": None}, "hyperparameters.lr.default"),
        (
            "hyperparameters",
            "lr",
            {"default": 2},
            "hyperparameters.lr: should have a default that is above 0 and below",
        ),
        ("hyperparameters", "lr", {"default": float("nan")}, "hyperparameters.lr: should have a default that is above"),
        ("hyperparameters", "lr", {"below": None}, "hyperparameters.lr: should have choices, or a range with two ends"),
        ("hyperparameters", "lr", {"min": 0}, "hyperparameters.lr: should have min or above, and max or below"),
        ("hyperparameters", "lr", {"above": True}, "hyperparameters.lr.above"),
        ("hyperparameters", "lr", {"choices": [0.1]}, "hyperparameters.lr: should have either choices or the ends of"),
        ("hyperparameters", "lr", {"role": "batch_size"}, "hyperparameters.lr: should have a whole number"),
        (
            "hyperparameters",
            "size",
            {"default": 1, "min": 1, "max": 2, "role": "batch_size"},
            "hyperparameters: batch_",
        ),
        ("hyperparameters", "norm", {"choices": []}, "hyperparameters.norm: should have choices, because its default"),
        (
            "hyperparameters",
            "norm",
            {"choices": ["batch", 1]},
            "hyperparameters.norm: should have choices of the defau",
        ),
        ("hyperparameters", "augment", {"max": 1}, "hyperparameters.augment: should have either choices or the ends"),
        ("hyperparameters", "Lr", {"default": True}, "hyperparameters.Lr"),
        (
            "metrics",
            "Test:RMSE",
            {"better": "bigger"},
            "metrics.Test:RMSE.better: bigger should be 'higher' or 'lower'",
        ),
        ("metrics", "Test:RMSE", {"range": [2, 1]}, "metrics.Test:RMSE.range: should have a first end that is not"),
        ("metrics", "Test:RMSE", {"range": [0, "1"]}, "metrics.Test:RMSE.range[1]"),
        ("metrics", "Test:\n", {"better": "lower", "range": [0, 1]}, "metrics.Test:\n"),
        ("features", "age", [0, None], "features.age[1]"),
        ("features", "age", [0, float("inf")], "features.age[1]: inf should be a finite number"),
        ("statistics", "sum", {"of": None}, "statistics.sum: should have either of: features or a range"),
        ("statistics", "sum", {"of": "labels"}, "statistics.sum.of: labels should be of features"),
        ("statistics", "sum", {"of": None, "range": [0, 1]}, "statistics: should have a sum of the features"),
        ("statistics", "sum_of_squares", {"range": [0, 1]}, "statistics.sum_of_squares: should have of: features"),
        ("evaluation", "count", {"kind": "partition", "shape": [2]}, "evaluation: should have one sum of kind count"),
        (
            "evaluation",
            "count",
            {"kind": "partition"},
            "evaluation.count: should have a shape",
        ),
        ("evaluation", "count", {"kind": "partition", "shape": [0]}, "evaluation.count.shape[0]: 0 should be greater"),
        (
            "evaluation",
            "count",
            {"kind": "partition", "shape": [999, 999]},
            "evaluation.count: should have a shape of",
        ),
        ("evaluation", "count", {"range": [0, 1]}, "evaluation.count: should have no range, because its kind is count"),
    ],
)
def test_a_mistake_is_reported_with_its_place(section: str, name: str, change: Any, problem: str) -> None:
    assert "\n".join(problems(section, name, change)).startswith(f"workload.yaml: {problem}")


def test_all_mistakes_are_reported_at_once() -> None:
    raw = {**RAW, "evaluation": {"count": {"kind": "number"}}, "labels": {}}
    raw["metrics"] = {"Test:AUC": {"better": "higher"}}
    with pytest.raises(SpecError) as caught:
        yaml_files.validate(Declaration, raw, "workload.yaml")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "metrics.Test:AUC.range",
        "evaluation.count.kind",
        "labels",
    ]


@pytest.mark.parametrize(("value", "taken"), [("true", True), ("False", False), (True, True), ("yes", None), (1, None)])
def test_a_switch_is_true_or_false(value: Any, taken: bool | None) -> None:
    switch = Hyperparameter(default=False)
    if taken is None:
        with pytest.raises(ValueError, match="is not of type bool"):
            switch.read(value)
    else:
        assert switch.read(value) is taken


def test_an_open_range_has_no_end_and_no_range_holds_nan() -> None:
    assert [within(value, (0, None)) for value in (-1.0, 0.0, 1e300, float("nan"))] == [False, True, True, False]
    assert [within(value, (None, 1)) for value in (-1e300, 1.0, 1.1, float("nan"))] == [True, True, False, False]
