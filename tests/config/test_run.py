"""run.json is read as it was written, or each of its problems is reported."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsilo.config.run import Run, default_quorum, fraction_of, new_id
from fedsilo.errors import SpecError
from fedsilo.keys import RunKeys
from tests.support.strategies import NAMES

VALUES: dict[str, Any] = {
    "run": "heart-20261122-081500-3f",
    "federation": "heart",
    "workload": "heart_disease",
    "silos": ["cleveland", "hungary"],
    "rounds": 50,
    "hyperparameters": {"lr": 0.01, "epochs": 2},
    "seed": 0,
    "quorum": 2,
    "deadline_seconds": 30.0,
    "join_seconds": 120.0,
    "created": "2026-11-22T08:15:00Z",
}


def test_run_is_read_as_it_was_written() -> None:
    run = Run.checked(VALUES)
    assert Run.parse(run.model_dump_json()) == run
    assert [run.rank(silo) for silo in run.silos] == [1, 2]
    assert run.keys == RunKeys("heart-20261122-081500-3f")
    assert run.created == datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
    with pytest.raises(SpecError, match=r"^silos: boston is not in run heart-.*, which has cleveland, hungary$"):
        run.rank("boston")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rounds": 0}, "rounds: "),
        ({"rounds": "many"}, "rounds: "),
        ({"rounds": 100_001}, "rounds: "),
        ({"quorum": 3}, "quorum: 3 is more than the 2 silos of the run"),
        ({"quorum": 0}, "quorum: "),
        ({"silos": []}, "silos: "),
        ({"silos": ["cleveland", "cleveland"]}, "silos: a silo is named twice"),
        ({"silos": ["cleveland", "aggregator"]}, "silos: aggregator and all are reserved names"),
        ({"silos": ["cleveland", "all"]}, "silos: aggregator and all are reserved names"),
        ({"silos": ["cleveland", "../x"]}, "silos.1: "),
        ({"silos": ["cleveland", "hungary\n"]}, "silos.1: "),
        ({"hyperparameters": {"lr": float("nan")}}, "hyperparameters.lr"),
        ({"run": "../../x"}, "run: "),
        ({"run": "heart-1\n"}, "run: "),
        ({"run": "x" * 41}, "run: "),
        ({"federation": "Heart"}, "federation: "),
        ({"workload": "heart-disease"}, "workload: "),
        ({"workload": "os"}, "workload: 'os' is not one of heart_disease, mlp"),
        ({"seed": -1}, "seed: "),
        ({"seed": 2**31}, "seed: "),
        ({"deadline_seconds": 0}, "deadline_seconds: "),
        ({"deadline_seconds": float("nan")}, "deadline_seconds: "),
        ({"join_seconds": float("inf")}, "join_seconds: "),
        ({"created": "yesterday"}, "created: "),
        ({"hyperparameters": {"lr": "fast"}}, "hyperparameters.lr: 'fast' is not of type float"),
        ({"hyperparameters": {"lr": [1]}}, "hyperparameters.lr"),
        ({"hyperparameters": {"image": "evil"}}, 'unknown hyperparameter "image" of heart_disease; it has '),
        ({"hyperparameters": {"epochs": float("inf")}}, "hyperparameters.epochs"),
        ({"image": "evil"}, "image: "),
    ],
)
def test_problem_of_a_run_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        Run.parse(json.dumps(VALUES | change))
    assert str(caught.value).startswith(words)


def test_every_problem_has_a_line_of_its_own() -> None:
    missing = {name: value for name, value in VALUES.items() if name != "seed"}
    with pytest.raises(SpecError) as caught:
        Run.checked(missing | {"rounds": 0, "silos": ["A"], "extra": 1})
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {"seed", "rounds", "silos.0", "extra"}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"run"', "[" * 200_000, b"\xff\xfe", b"PK\x03\x04"])
def test_text_that_is_not_a_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(SpecError, match=r"^run\.json is not"):
        Run.parse(text)


@given(
    field=st.sampled_from(sorted(VALUES)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=5,
    ),
)
@settings(max_examples=300)
def test_any_value_of_a_field_gives_a_run_or_a_spec_error(field: str, value: Any) -> None:
    try:
        run = Run.parse(json.dumps(VALUES | {field: value}))
    except SpecError:
        return
    assert Run.parse(run.model_dump_json()) == run


@given(NAMES)
def test_new_id_is_valid_for_every_name_of_a_federation(federation: str) -> None:
    assert Run.checked(VALUES | {"federation": federation, "run": new_id(federation)}).id.startswith(f"{federation}-20")


def test_quorum_is_more_than_half_by_default_or_what_the_policies_ask_for() -> None:
    assert [default_quorum(silos) for silos in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
    assert [default_quorum(5, least_silos=least) for least in (2, 4, 5, 9)] == [3, 4, 5, 5]
    assert [default_quorum(1000, 2, fraction) for fraction in (0.001, 0.1, 1)] == [2, 51, 501]


def test_a_fraction_of_the_silos_is_rounded_up() -> None:
    assert [fraction_of(fraction, 100) for fraction in (0.001, 0.07, 0.071, 1)] == [1, 7, 8, 100]
