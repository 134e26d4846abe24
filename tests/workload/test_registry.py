"""Workloads are found by name, and hyperparameters have the types and the ranges that they declare."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.errors import SpecError
from fedsilo.text import clip
from fedsilo.workload import registry


def test_every_installed_workload_is_found_and_has_the_interface() -> None:
    assert registry.available() == ["heart_disease", "mlp"]
    for name in registry.available():
        found = registry.load(name)
        for function in ("load_silo", "load_aggregator", "model", "trainer", "aggregator"):
            assert callable(getattr(found, function))


@pytest.mark.parametrize("name", ["", "nosuch", "../mlp", "mlp.data", "mlp\n", "MLP", "__init__", "mlp/config", "."])
def test_an_unknown_workload_is_refused_with_the_names_of_all_workloads(name: str) -> None:
    for use in (
        registry.load,
        registry.declaration,
        registry.configuration,
        lambda name: registry.hyperparameters(name, {}),
    ):
        with pytest.raises(SpecError) as caught:
            use(name)
        assert str(caught.value) == f"workload: {name!r} is not one of heart_disease, mlp"


def test_the_defaults_come_from_the_declaration() -> None:
    assert registry.hyperparameters("heart_disease", {}) == {
        "epochs": 1,
        "batch_size": 4,
        "client_optimizer": "adam",
        "lr": 0.001,
        "weight_decay": 0.0,
        "mu": 0.0,
    }


@pytest.mark.parametrize(
    ("key", "given_", "taken"),
    [
        ("epochs", "7", 7),
        ("epochs", 7.0, 7),
        ("lr", "1e-5", 1e-5),
        ("lr", 1, 1.0),
        ("weight_decay", "0", 0.0),
        ("lr", ".5", 0.5),
        ("client_optimizer", "sgd", "sgd"),
    ],
)
def test_a_value_takes_the_type_of_its_default(key: str, given_: Any, taken: Any) -> None:
    value = registry.hyperparameters("heart_disease", {key: given_})[key]
    assert (value, type(value)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("epochs", "many", "int"),
        ("epochs", "1.5", "int"),
        ("epochs", 1.5, "int"),
        ("epochs", True, "int"),
        ("epochs", float("inf"), "int"),
        ("epochs", float("nan"), "int"),
        ("epochs", "9" * 5000, "int"),
        ("lr", "fast", "float"),
        ("lr", False, "float"),
        ("lr", 10**400, "float"),
        ("lr", "", "float"),
        ("lr", "nan", "float"),
        ("lr", "-inf", "float"),
        ("lr", float("inf"), "float"),
        ("lr", "1e999", "float"),
    ],
    ids=range(15),
)
def test_a_value_of_another_type_is_refused(key: str, value: Any, kind: str) -> None:
    with pytest.raises(SpecError) as caught:
        registry.hyperparameters("heart_disease", {key: value})
    assert str(caught.value) == f"hyperparameters.{key}: {clip(repr(value), 80)} is not of type {kind}"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("epochs", 0, "at least 1 and at most 100"),
        ("epochs", 101, "at least 1 and at most 100"),
        ("batch_size", -1, "at least 1 and at most 4096"),
        ("client_optimizer", "lion", "one of adam, sgd"),
        ("client_optimizer", 5, "one of adam, sgd"),
        ("lr", 0, "above 0 and at most 1"),
        ("lr", 1.5, "above 0 and at most 1"),
        ("weight_decay", 1024, "at least 0 and at most 0.1"),
        ("mu", "-0.1", "at least 0 and at most 0.1"),
    ],
)
def test_a_value_out_of_the_declared_range_is_refused(key: str, value: Any, allowed: str) -> None:
    with pytest.raises(SpecError) as caught:
        registry.hyperparameters("heart_disease", {key: value})
    kind = type(registry.hyperparameters("heart_disease", {})[key])
    assert str(caught.value) in {f"hyperparameters.{key}: {each!r} is not {allowed}" for each in (value, kind(value))}


def test_fedml_gets_the_declared_defaults_as_its_train_args() -> None:
    for name in registry.available():
        assert registry.configuration(name)["train_args"] == registry.hyperparameters(name, {})


def test_all_problems_are_reported_at_once_with_the_known_hyperparameters() -> None:
    with pytest.raises(SpecError) as caught:
        registry.hyperparameters("heart_disease", {"epochs": "x", "momentum": 0.9, "lr": "y", "run_id": "evil"})
    known = "batch_size, client_optimizer, epochs, lr, mu, weight_decay"
    assert str(caught.value).splitlines() == [
        "hyperparameters.epochs: 'x' is not of type int",
        f'unknown hyperparameter "momentum" of heart_disease; it has {known}',
        "hyperparameters.lr: 'y' is not of type float",
        f'unknown hyperparameter "run_id" of heart_disease; it has {known}',
    ]


@given(
    st.dictionaries(
        st.sampled_from(["epochs", "lr", "client_optimizer", "mu", "batch_size"]) | st.text(max_size=5),
        st.booleans() | st.integers() | st.floats() | st.text(),
    )
)
def test_every_override_has_the_type_of_the_default_or_is_a_spec_error(chosen: dict[str, Any]) -> None:
    defaults = registry.hyperparameters("heart_disease", {})
    try:
        values = registry.hyperparameters("heart_disease", chosen)
    except SpecError as error:
        assert str(error).startswith(("hyperparameters.", "unknown hyperparameter "))  # noqa: PT017
        return
    assert {key: type(value) for key, value in values.items()} == {key: type(value) for key, value in defaults.items()}
