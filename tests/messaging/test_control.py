"""Whatever arrives as a control message or as run.json: it is read, or there is a reason, and never a traceback."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedsilo.agent import policy
from fedsilo.config.federation import Policy
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.messaging.control import Request

REQUEST: dict[str, Any] = {
    "action": "start",
    "run": "heart-1",
    "sha256": "0" * 64,
    "requested": "2026-11-22T08:15:00Z",
}
RUN: dict[str, Any] = {
    "run": "heart-1",
    "federation": "heart",
    "workload": "heart_disease",
    "silos": ["cleveland", "hungary"],
    "rounds": 4,
    "hyperparameters": {"lr": 0.01},
    "seed": 1,
    "quorum": 2,
    "deadline_seconds": 30.0,
    "join_seconds": 30.0,
    "created": "2026-11-22T08:15:00Z",
}
POLICY = Policy.model_validate(
    {
        "workloads": ["heart_disease"],
        "hyperparameters": {"lr": {"max": 1.0}, "epochs": {"any_of": [1, 2]}, "client_optimizer": {"any_of": ["sgd"]}},
        "hours": {"start": 22, "end": 5},
    }
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def changed(message: dict[str, Any]) -> Any:
    """The message with some of its fields replaced by anything, and perhaps fields that it does not have."""
    replaced = st.dictionaries(st.sampled_from(sorted(message)), values)
    numbers = st.fixed_dictionaries({}, optional={"hyperparameters": st.dictionaries(NAMES, scalars)})
    return st.builds(lambda *parts: message | parts[0] | parts[1] | parts[2], replaced, OTHERS, numbers)


NAMES = st.sampled_from(["lr", "epochs", "client_optimizer", "batch_size", "none"])
OTHERS = st.dictionaries(st.text(), values, max_size=1)


def test_request_comes_out_as_it_went_in() -> None:
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
        ({"requested": "2026-11-22T08:15:00"}, "requested: Input should have timezone info"),
        ({"policy": {}}, "policy: Extra inputs are not permitted"),
    ],
)
def test_request_that_is_none_says_what_is_wrong(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match="not a run request: ") as raised:
        Request.parse(json.dumps(REQUEST | change))
    assert problem in str(raised.value)


@given(st.text() | values.map(json.dumps) | changed(REQUEST).map(json.dumps))
def test_any_message_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        Request.parse(text)


@example(json.dumps(RUN | {"hyperparameters": {"epochs": float("inf")}}))
@given(st.binary() | values.map(json.dumps) | changed(RUN).map(json.dumps))
def test_any_run_is_read_or_refused_and_held_against_a_policy(text: str | bytes) -> None:
    with contextlib.suppress(SpecError):
        refusals = policy.check(Run.parse(text), POLICY, datetime.now(UTC))
        assert all(line.startswith("policy.") for line in refusals)
