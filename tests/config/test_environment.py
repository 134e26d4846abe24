"""A process reads who it is from its environment, or reports everything that is wrong with that."""

import os
from collections.abc import Mapping
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.config.environment import Settings
from fedsilo.errors import SpecError

WHO = Settings(
    federation="heart",
    party="cleveland",
    rank=1,
    hub_account="123456789012",
    hub_region="us-east-1",
    data="s3://heart-cleveland/data/2026",
)


def read(environment: Mapping[str, str]) -> Settings:
    with mock.patch.dict(os.environ, environment, clear=True):
        return Settings.from_environment()


def test_settings_survive_a_trip_through_the_environment() -> None:
    assert read(WHO.to_environment()) == WHO
    without_data = {name: value for name, value in WHO.to_environment().items() if name != "FEDSILO_DATA"}
    assert read(without_data).data == "packaged"


def test_constructor_reads_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSILO_DATA", "s3://others/")
    assert Settings(**WHO.model_dump(exclude={"data"})).data == "packaged"


def test_names_come_from_the_settings() -> None:
    assert WHO.role == "heart-cleveland-trainer"
    assert WHO.bucket == "heart-mail-123456789012-us-east-1"


def test_an_empty_environment_is_told_every_variable_that_is_missing() -> None:
    with pytest.raises(SpecError) as caught:
        read({"PATH": "/bin"})
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        f"FEDSILO_{name}" for name in ("FEDERATION", "PARTY", "RANK", "HUB_ACCOUNT", "HUB_REGION")
    ]
    assert all("is not set; the party's workload stack or the local launcher sets it" in line for line in lines)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("federation", "Heart"),
        ("federation", "heart\n"),
        ("federation", "../heart"),
        ("party", "c" * 21),
        ("party", ""),
        ("rank", "-1"),
        ("rank", "1_0"),
        ("rank", "١"),  # noqa: RUF001
        ("rank", "99999"),
        ("hub_account", "12345678901"),
        ("hub_account", "１２３４５６７８９０１２"),  # noqa: RUF001
        ("hub_region", "us-east-1\n"),
        ("hub_region", "evil.example.org"),
        ("data", "file:///etc"),
        ("data", "s3://x"),
        ("data", "packaged\n"),
        ("data", ""),
    ],
)
def test_a_malformed_variable_is_named_with_its_value(field: str, value: str) -> None:
    variable = f"FEDSILO_{field.upper()}"
    with pytest.raises(SpecError) as caught:
        read(WHO.to_environment() | {variable: value, "FEDSILO_PARTY": "NO" if field != "party" else value})
    assert f"{variable}: {value!r} does not match" in str(caught.value)
    assert "FEDSILO_PARTY: " in str(caught.value), "all problems at once"


# An environment can hold neither a NUL nor a lone surrogate.
_VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.dictionaries(st.sampled_from(sorted(WHO.to_environment())), _VALUES))
def test_any_environment_holds_settings_or_is_a_spec_error(environment: dict[str, str]) -> None:
    try:
        found = read(WHO.to_environment() | environment)
    except SpecError:
        return
    assert read(found.to_environment()) == found
