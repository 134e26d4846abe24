"""federation.yaml is read, or everything that is wrong with it is reported without a traceback."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo import names
from fedsilo.config.federation import Silo
from fedsilo.config.load import load_federation, parse_federation
from fedsilo.errors import SpecError
from tests.support.federation_yaml import problems, two_silos, with_setting

ROOT = Path(__file__).parents[2]


def test_example_is_valid_and_short() -> None:
    federation = load_federation(ROOT / "federation.yaml")
    assert [party.name for party in federation.parties] == [
        "aggregator", "cleveland", "hungary", "switzerland", "long-beach",
    ]  # fmt: skip
    assert [party.rank for party in federation.parties] == [0, 1, 2, 3, 4]
    assert len((ROOT / "federation.yaml").read_text().splitlines()) < 30


def test_silo_has_the_aggregators_region_unless_it_names_one() -> None:
    raw = two_silos()
    raw["silos"][1] |= {"region": "eu-west-1", "egress": "nat"}
    federation = parse_federation(raw)
    assert [silo.region for silo in federation.silos] == ["us-east-1", "eu-west-1"]
    assert federation.silos[1].availability_zones == ("eu-west-1a", "eu-west-1b")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "silo",
            [],
            "silo: unknown key; known here: name, control_plane, alarm_email, mlops_secret, tags, aggregator, silos",
        ),
        ("aggregator.name", "server", "aggregator.name: unknown key; known here: account, region"),
        (
            "silos.0.compute.gpus",
            1,
            "silos[0].compute.gpus: unknown key; known here: cpu, memory_gib, gpu, gpu_families, gpu_memory_gib, model",
        ),
        (
            "silos.0.access",
            [{"principle": "root"}],
            "silos[0].access[0].principle: unknown key; known here: principal, level",
        ),
        (
            "silos.0.policy.hyperparameters",
            {"lr": {"most": 1}},
            "silos[0].policy.hyperparameters.lr.most: unknown key; known here: min, max, any_of",
        ),
        (
            "silos.0.policy.hours",
            {"from": 1},
            "silos[0].policy.hours.from: unknown key; known here: start, end, time",
        ),
        ("silos.0.policy.hours", {"start": 1}, "silos[0].policy.hours.end: is missing"),
        ("silos", {}, "silos: should be a list"),
        ("aggregator", [], "aggregator: should be a mapping"),
    ],
)
def test_mistake_in_the_files_structure_is_reported_with_what_is_allowed(path: str, value: Any, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(with_setting(path, value)))


def test_one_mistake_is_one_problem() -> None:
    """A setting with a problem of its own takes no part in the rules that concern several settings."""
    assert len(problems(with_setting("silos.0.region", "cn-north-1"))) == 1
    assert len(problems(with_setting("aggregator.region", ["us-east-1"]))) == 3
    assert len(problems(with_setting("silos.1.name", "cleveland"))) == 1


def test_all_problems_are_reported_at_once() -> None:
    raw = with_setting("silos.1.vpc_cidr", "10.0.0.0/16")
    raw["nmae"] = raw.pop("name")
    raw["silos"][0]["compute"] = {"cpu": 0}
    assert sorted(problem.split(":")[0] for problem in problems(raw)) == [
        "name", "nmae", "silos[0].compute.cpu", "silos[1].vpc_cidr",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "line 1: not YAML: "),
        ("name: a\nname: b", "line 2: not YAML: 'name' is given twice"),
        ("name: 2024-99-99", "not YAML: "),
        ("[" * 5000, "not YAML: "),
        ("", "federation: should be a mapping with name, aggregator and silos"),
    ],
)
def test_file_that_is_not_a_federation_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "federation.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        load_federation(path)


def test_missing_or_binary_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_federation(tmp_path / "federation.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="not YAML"):
        load_federation(tmp_path / "binary")


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("us-east-1")
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(
    setting=st.sampled_from([*Silo.model_fields, "unknown"]),
    party=st.sampled_from(["aggregator", "silo", "federation"]),
    value=_VALUES,
)
def test_any_value_of_a_setting_is_valid_or_reported_in_words(setting: str, party: str, value: Any) -> None:
    raw = copy.deepcopy(two_silos())
    target = {"aggregator": raw["aggregator"], "silo": raw["silos"][0], "federation": raw}[party]
    target[setting] = value
    reasons: list[str] = []
    try:
        assert parse_federation(raw).aggregator.name == names.AGGREGATOR
    except SpecError as error:
        reasons = str(error).splitlines()
    assert all(": " in reason for reason in reasons)
