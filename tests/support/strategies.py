"""Examples and Hypothesis strategies of what parties send and write, for the tests of several rooms."""

from typing import Any

from hypothesis import strategies as st

from fedsilo.keys import RUN_PATTERN
from fedsilo.names import NAME_PATTERN

_ASCII = st.characters(codec="ascii")

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True, alphabet=_ASCII)
"""Names of federations and parties."""

RUN_IDS = st.from_regex(RUN_PATTERN, fullmatch=True, alphabet=_ASCII)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()

JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
"""Any JSON value, and the numbers that are not JSON but that Python reads and writes."""

REQUEST: dict[str, Any] = {"action": "start", "run": "heart-1", "sha256": "0" * 64, "version": ""}
"""A run request."""

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
"""A run's run.json."""


def changed(message: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The message with any values in some of its fields, perhaps with a field that it should not have."""
    replaced = st.dictionaries(st.sampled_from(sorted(message)), JSON)
    added = st.dictionaries(st.text(), JSON, max_size=1)
    names = st.sampled_from(["lr", "epochs", "client_optimizer", "batch_size", "none"])
    numbers = st.fixed_dictionaries({}, optional={"hyperparameters": st.dictionaries(names, SCALARS)})
    return st.builds(lambda *parts: message | parts[0] | parts[1] | parts[2], replaced, added, numbers)
