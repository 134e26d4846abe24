"""A process takes who it is from its environment, or says everything that is wrong with that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.config.environment import Settings
from fedsilo.errors import SpecError

WHO = Settings("heart", "cleveland", 1, "123456789012", "us-east-1", "s3://heart-cleveland/data/2026")


def test_settings_go_through_the_environment_as_they_are() -> None:
    assert Settings.from_environment(WHO.to_environment()) == WHO
    without_data = {name: value for name, value in WHO.to_environment().items() if name != "FEDSILO_DATA"}
    assert Settings.from_environment(without_data).data == "packaged"


def test_names_come_from_the_settings() -> None:
    assert WHO.role == "heart-cleveland-trainer"
    assert WHO.bucket == "heart-mail-123456789012-us-east-1"


def test_an_empty_environment_is_told_every_variable_that_is_missing() -> None:
    with pytest.raises(SpecError) as caught:
        Settings.from_environment({"PATH": "/bin"})
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
        ("rank", "١"),  # noqa: RUF001
        ("rank", "99999"),
        ("hub_account", "12345678901"),
        ("hub_account", "１２３４５６７８９０１２"),  # noqa: RUF001
        ("hub_region", "us-east-1\n"),
        ("hub_region", "evil.example.org"),
        ("data", "file:///etc"),
        ("data", "s3://x"),
        ("data", "packaged\n"),
    ],
)
def test_a_malformed_variable_is_named_with_its_value(field: str, value: str) -> None:
    variable = f"FEDSILO_{field.upper()}"
    with pytest.raises(SpecError) as caught:
        Settings.from_environment(
            WHO.to_environment() | {variable: value, "FEDSILO_PARTY": "NO" if field != "party" else value}
        )
    assert f"{variable}: {value!r} does not match" in str(caught.value)
    assert "FEDSILO_PARTY: " in str(caught.value), "all problems at once"


@given(st.dictionaries(st.sampled_from(sorted(WHO.to_environment())), st.text()))
def test_whatever_the_environment_says_is_settings_or_a_spec_error(environment: dict[str, str]) -> None:
    try:
        found = Settings.from_environment(WHO.to_environment() | environment)
    except SpecError:
        return
    assert Settings.from_environment(found.to_environment()) == found
