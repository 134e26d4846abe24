"""What a party might write to break a reader or a terminal, as strategies for hypothesis."""

import json
import re
from typing import Any

from hypothesis import strategies as st

from fedsilo.states import TERMINAL
from tests.support.operator_harness import SILOS

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\x\x9b31m\r\b\x7f\u202egnp\u2066\u200b\ud800\x00\n"
    "[bold red]b[/] [/] [link=x]y :boom: \\"
)
ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may act on, but the end of a line."""

TEXT = st.text(max_size=8) | st.just(HOSTILE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([*TERMINAL, "TRAINING", "WAITING", HOSTILE]) | JSON,
        **dict.fromkeys(("round", "rounds", "reason", "version", "experiment", "parameters", "started"), JSON),
        "finished": st.sampled_from(["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]) | JSON,
        "answered": st.lists(st.sampled_from(SILOS)) | JSON,
        "present": st.lists(st.sampled_from(SILOS)) | JSON,
        "refused": st.dictionaries(st.sampled_from(SILOS), TEXT) | JSON,
        "metrics": st.dictionaries(st.sampled_from(["Test:AUC", HOSTILE]), JSON) | JSON,
        "parameters": st.dictionaries(st.just("train data size"), JSON) | JSON,
    },
)
LINES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["event", "metric", "span"]),
            "name": st.sampled_from(["opened", "Test:AUC"]) | JSON,
            **dict.fromkeys(("round", "time", "value", "silo", "text"), JSON),
        },
    )
    | JSON,
    max_size=5,
)
BROKEN = st.sampled_from(
    [b"", b"\xff\xfe", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"9" * 5000, b'{"round": ' + b"9" * 5000 + b"}"]
)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


BODIES = st.builds(dumped, STATUSES) | st.builds(dumped, JSON) | BROKEN
LEDGERS = st.builds(lambda lines: b"\n".join(map(dumped, lines)), LINES) | BROKEN


def assert_harmless(output: str) -> None:
    assert not ACTS.search(output), repr(output)
    assert "Traceback" not in output
