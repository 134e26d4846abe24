"""A control message or a run.json is read or refused with a reason, whatever it holds."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedsilo.agent import policy
from fedsilo.config.policy import Policy
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.messaging.control import Request
from tests.support.strategies import JSON, REQUEST, RUN, changed

POLICY = Policy.model_validate(
    {
        "workloads": ["heart_disease"],
        "hyperparameters": {"lr": {"max": 1.0}, "epochs": {"any_of": [1, 2]}, "client_optimizer": {"any_of": ["sgd"]}},
        "hours": {"start": 22, "end": 5},
    }
)


def test_a_request_is_read_as_it_was_written() -> None:
    request = Request.model_validate(REQUEST)
    assert Request.parse(request.to_json()) == request
    assert json.loads(request.to_json()) == REQUEST


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"action": "delete"}, "action: Input should be 'start' or 'abort'"),
        ({"run": "../x"}, "run: String should match pattern"),
        ({"run": "heart-1\n"}, "run: String should match pattern"),
        ({"sha256": "0" * 63}, "sha256: String should match pattern"),
        ({"policy": {}}, "policy: Extra inputs are not permitted"),
    ],
)
def test_a_malformed_request_is_refused_with_the_problem(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match="not a run request: ") as raised:
        Request.parse(json.dumps(REQUEST | change))
    assert problem in str(raised.value)


@given(st.text() | JSON.map(json.dumps) | changed(REQUEST).map(json.dumps))
def test_any_message_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        Request.parse(text)


@example(json.dumps(RUN | {"hyperparameters": {"epochs": float("inf")}}))
@given(st.binary() | JSON.map(json.dumps) | changed(RUN).map(json.dumps))
def test_any_run_is_refused_or_checked_against_a_policy(text: str | bytes) -> None:
    with contextlib.suppress(SpecError):
        refusals = policy.check(Run.parse(text), POLICY, datetime.now(UTC))
        assert all(line.startswith("policy.") for line in refusals)
