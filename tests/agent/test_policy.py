"""A party's policy: every rule with the value that it refuses and the one that it lets pass."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fedsilo.agent import policy
from fedsilo.config.policy import Policy
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
        ({"require": ["private"]}, {}, "policy.require: private: this version of fedsilo has no differential", None),
        ({"require": ["secure"]}, {}, "policy.require: secure: this version of fedsilo has no secure aggre", None),
        (
            {},
            {"hyperparameters": {"weight_decay": 0.05}},
            "policy.hyperparameters.weight_decay: 0.05 is not the default, 0.0, and heart_disease does not leave "
            "weight_decay to operators; the party's owner may allow it: hyperparameters: {weight_decay: {max: 0.05}}",
            {"hyperparameters": {"weight_decay": 0, "mu": 0.1, "lr": 1, "epochs": 100, "client_optimizer": "sgd"}},
        ),
        ({}, {"hyperparameters": {"batch_size": 3}}, "policy.hyperparameters.batch_size: 3 is not the default, 4", {}),
        (
            {"hyperparameters": {"batch_size": {"max": 64}}},
            {"hyperparameters": {"batch_size": 1}},
            "policy.min_batch_size: batch_size 1 is less than 2",
            {"hyperparameters": {"batch_size": 64}},
        ),
        ({"min_batch_size": 5}, {}, "policy.min_batch_size: batch_size 4 is less than 5", None),
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
def test_hours_are_utc_by_default_and_may_span_midnight(start: int, end: int, allowed: bool) -> None:
    rules = {"hours": {"start": start, "end": end}}
    elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
    for at in (NOON, elsewhere):
        found = refusals(rules, at)
        assert found == ([] if allowed else [f"policy.hours: 12:30 is not from {start}:00 to {end}:00 (UTC)"])


def test_hours_of_a_time_zone_do_not_move_with_daylight_saving_time() -> None:
    rules = {"hours": {"start": 20, "end": 6, "time_zone": "Europe/Berlin"}}
    winter, summer = datetime(2026, 1, 15, 18, 30, tzinfo=UTC), datetime(2026, 7, 15, 18, 30, tzinfo=UTC)
    assert refusals(rules, winter) == ["policy.hours: 19:30 is not from 20:00 to 6:00 (Europe/Berlin)"]
    assert refusals(rules, summer) == []
    assert refusals(rules, winter + timedelta(hours=1)) == []
    assert refusals(rules, winter.replace(hour=4)) == []  # 5:30 in Berlin
    assert refusals(rules, summer.replace(hour=4)) != []  # 6:30 in Berlin


ATTACK = {"client_optimizer": "sgd", "batch_size": 1, "lr": 2**-10, "weight_decay": 1024.0}
"""With plain SGD and lr * weight_decay = 1, what a silo sends is its last patient."""


def test_an_operator_can_not_make_an_update_a_single_patient() -> None:
    written_by_hand = RUN | {"hyperparameters": ATTACK}
    for read in (Run.checked, lambda values: Run.parse(json.dumps(values))):
        with pytest.raises(SpecError, match=r"weight_decay: 1024\.0 is not at least 0 and at most 0\.1"):
            read(written_by_hand)
    within_the_ranges = ATTACK | {"weight_decay": 0.1, "lr": 1.0}
    assert [line.split(":")[0] for line in refusals({}, hyperparameters=within_the_ranges)] == [
        "policy.hyperparameters.batch_size",
        "policy.hyperparameters.weight_decay",
        "policy.min_batch_size",
    ]


def test_an_agent_that_checks_a_run_has_loaded_nothing_that_learns() -> None:
    """A workload is imported by its name, which no contract on imports sees."""
    script = (
        "import sys, fedsilo.agent.service, fedsilo.agent.kubernetes; from datetime import *\n"
        "from fedsilo.agent import policy; from fedsilo.config import run\n"
        "asked = run.plan('heart', 'heart_disease', ['cleveland', 'hungary'], overrides={})\n"
        "assert not policy.check(asked, policy.Policy(), datetime.now(UTC))\n"
        "print([name for name in ('torch', 'fedml', 'numpy', 'sagemaker', 'aws_cdk') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_all_refusals_come_at_once() -> None:
    assert len(refusals({"max_rounds": 1, "min_silos": 3, **lr({"max": 0.001})})) == 3
