"""Workloads are found by name, and hyperparameters have the types of their defaults."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.errors import SpecError
from fedsilo.workload import registry


def test_every_installed_workload_is_found_and_has_the_interface() -> None:
    assert registry.available() == ["heart_disease", "mlp"]
    for name in registry.available():
        found = registry.load(name)
        for function in ("load_silo", "load_aggregator", "model", "trainer", "aggregator"):
            assert callable(getattr(found, function))


@pytest.mark.parametrize("name", ["", "nosuch", "../mlp", "mlp.data", "mlp\n", "MLP", "__init__", "mlp/config", "."])
def test_an_unknown_workload_is_refused_with_the_names_of_all_workloads(name: str) -> None:
    for use in (registry.load, registry.configuration, lambda name: registry.hyperparameters(name, {})):
        with pytest.raises(SpecError) as caught:
            use(name)
        assert str(caught.value) == f"workload: {name!r} is not one of heart_disease, mlp"


def test_the_defaults_come_from_the_configuration() -> None:
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
        ("lr", ".5", 0.5),
        ("client_optimizer", "sgd", "sgd"),
        ("client_optimizer", 5, "5"),
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
    assert str(caught.value) == f"hyperparameters.{key}: {value!r} is not of type {kind}"


@pytest.mark.parametrize(("value", "taken"), [("true", True), ("False", False), (True, True), ("yes", None), (1, None)])
def test_a_switch_is_true_or_false(value: Any, taken: bool | None) -> None:
    if taken is None:
        with pytest.raises(ValueError, match=str(value)):
            registry.convert(value, bool)
    else:
        assert registry.convert(value, bool) is taken


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
