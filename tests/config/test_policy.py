"""A policy is read as its owner wrote it, or everything that is wrong with it is reported."""

from pathlib import Path

import pytest

from fedsilo.config import policy
from fedsilo.config.policy import Policy
from fedsilo.errors import SpecError


@pytest.mark.parametrize("text", ["", "[]", "{", "max_rounds: 0", "max_round: 3", "workloads: {a: b}", "&a [*a]"])
def test_file_that_is_no_policy_says_why(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"policy\.json"):
        policy.load(path)
    with pytest.raises(SpecError, match="No such file"):
        policy.load(tmp_path / "none")


def test_policy_is_read_as_the_config_map_and_as_a_person_writes_it(tmp_path: Path) -> None:
    written = Policy.model_validate({"max_rounds": 7, "workloads": ["mlp"], "hyperparameters": {"lr": {"max": 0.1}}})
    as_json, as_yaml = tmp_path / "policy.json", tmp_path / "policy.yaml"
    as_json.write_text(written.model_dump_json(indent=2))
    as_yaml.write_text("max_rounds: 7\nworkloads: [mlp]\nhyperparameters: {lr: {max: 0.1}}\n")
    assert policy.load(as_json) == policy.load(as_yaml) == written
