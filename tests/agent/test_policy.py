"""A party's policy: every rule with the value that it refuses and the one that it lets pass."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fedsilo.agent import policy
from fedsilo.config.federation import Policy
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from tests.support.strategies import RUN

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def refusals(rules: dict[str, Any], at: datetime = NOON, **choices: Any) -> list[str]:
    return policy.check(Run.checked(RUN | choices), Policy.model_validate(rules), at)


def lr(value: Any) -> dict[str, Any]:
    return {"hyperparameters": {"lr": value}}


@pytest.mark.parametrize(
    ("rules", "refused", "reason", "allowed"),
    [
        (
            {"workloads": ["heart_disease"]},
            {"workload": "mlp", "hyperparameters": {}},
            "policy.workloads: mlp is not one of heart_disease",
            {},
        ),
        ({"workloads": []}, {}, "policy.workloads: heart_disease is not one of none", None),
        ({"max_rounds": 10}, {"rounds": 11}, "policy.max_rounds: 11 rounds are more than 10", {"rounds": 10}),
        ({"min_silos": 3}, {}, "policy.min_silos: 2 silos are fewer than 3", None),
        (
            {"min_silos": 2},
            {"quorum": 1},
            "policy.min_silos: a quorum of 1 silos is less than 2",
            {"quorum": 2},
        ),
        ({"require_privacy": True}, {}, "policy.require_privacy: this version of fedsilo offers neither", None),
        (lr({"max": 0.1}), lr(0.2), "policy.hyperparameters.lr: 0.2 is not between -inf and 0.1", lr(0.1)),
        (lr({"min": 0.1}), {}, "policy.hyperparameters.lr: 0.01 is not between 0.1 and inf", lr(0.1)),
        (lr({"min": 0.1}), {"hyperparameters": {}}, "policy.hyperparameters.lr: 0.001 is not between", lr(0.1)),
        (lr({"max": 0.1}), lr("0.2"), "policy.hyperparameters.lr: 0.2 is not between -inf and 0.1", lr("0.05")),
        (lr({"any_of": [0.1, 1]}), lr(0.2), "policy.hyperparameters.lr: 0.2 is not one of 0.1, 1", lr(1.0)),
        (
            {"hyperparameters": {"client_optimizer": {"max": 1}}},
            {},
            "policy.hyperparameters.client_optimizer: 'adam' is not between -inf and 1",
            None,
        ),
        ({"hyperparameters": {"samples": {"max": 100}}}, None, "", {}),
        (
            {"hyperparameters": {"learning_rate": {"max": 0.1}}},
            {},
            "policy.hyperparameters.learning_rate: unknown hyperparameter; the allowed workloads have",
            None,
        ),
        (
            {"workloads": ["heart_disease"], "hyperparameters": {"samples": {"max": 100}}},
            {},
            "policy.hyperparameters.samples: unknown hyperparameter; the allowed workloads have",
            None,
        ),
    ],
)
def test_refusal_names_rule_value_and_bound(
    rules: dict[str, Any], refused: dict[str, Any] | None, reason: str, allowed: dict[str, Any] | None
) -> None:
    if refused is not None:
        (line,) = refusals(rules, **refused)
        assert line.startswith(reason)
    if allowed is not None:
        assert refusals(rules, **allowed) == []


@pytest.mark.parametrize(
    ("start", "end", "allowed"), [(12, 13, True), (13, 12, False), (9, 12, False), (22, 13, True), (22, 5, False)]
)
def test_hours_are_utc_and_may_span_midnight(start: int, end: int, allowed: bool) -> None:
    rules = {"hours": {"start": start, "end": end}}
    elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
    for at in (NOON, elsewhere):
        found = refusals(rules, at)
        assert found == ([] if allowed else [f"policy.hours: 12:30 UTC is not from {start}:00 to {end}:00 UTC"])


def test_an_agent_that_checks_a_run_has_loaded_nothing_that_learns() -> None:
    """A workload is imported by its name, which no contract on imports sees."""
    script = (
        "import sys, fedsilo.agent.service, fedsilo.agent.kubernetes; from datetime import *\n"
        "from fedsilo.agent import policy; from fedsilo.config import federation, run\n"
        "asked = run.plan('heart', 'heart_disease', ['cleveland', 'hungary'], overrides={})\n"
        "assert not policy.check(asked, federation.Policy(), datetime.now(UTC))\n"
        "print([name for name in ('torch', 'fedml', 'numpy', 'sagemaker', 'aws_cdk') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_all_refusals_come_at_once() -> None:
    assert len(refusals({"max_rounds": 1, "min_silos": 3, **lr({"max": 0.001})})) == 3


@pytest.mark.parametrize("text", ["", "[]", "{", "max_rounds: 0", "max_round: 3", "workloads: {a: b}", "&a [*a]"])
def test_file_that_is_no_policy_says_why(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"policy\.json"):
        policy.load(path)
    with pytest.raises(SpecError, match="No such file"):
        policy.load(tmp_path / "none")


def test_policy_is_read_as_the_config_map_and_as_a_person_writes_it(tmp_path: Path) -> None:
    written = Policy.model_validate({"max_rounds": 7, "workloads": ["mlp"], **lr({"max": 0.1})})
    as_json, as_yaml = tmp_path / "policy.json", tmp_path / "policy.yaml"
    as_json.write_text(written.model_dump_json(indent=2))
    as_yaml.write_text("max_rounds: 7\nworkloads: [mlp]\nhyperparameters: {lr: {max: 0.1}}\n")
    assert policy.load(as_json) == policy.load(as_yaml) == written
