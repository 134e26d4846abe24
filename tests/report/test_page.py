"""The page loads nothing, runs nothing, and survives whatever a party wrote."""

import copy
import re
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsilo.report.page import TEMPLATES, render
from tests.support.ledgers import RUN, SILOS, START, WrittenLedger, finished, metric, span


def test_every_drawing_has_a_title_a_description_and_a_table() -> None:
    page = finished(5).page()
    drawings = [at for at, (tag, _) in enumerate(page.elements) if tag == "svg"]
    assert [[tag for tag, _ in page.elements[at + 1 : at + 3]] for at in drawings] == [["title", "desc"]] * 3
    assert sum(tag == "details" for tag, _ in page.elements) == 2


def test_the_page_loads_and_runs_nothing() -> None:
    page = finished(5).page().html
    assert """content="default-src 'none'; style-src 'unsafe-inline'">""" in page
    assert not re.search(r"url\(|@import|https?:|//", page)


def test_every_class_on_the_page_has_a_style() -> None:
    page = finished(10, dead_from=4).page()
    used = {name for _, attrs in page.elements for name in (attrs.get("class") or "").split()}
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert used - set(re.findall(r"\.([a-z-]+)", style)) == {"open", "event", "silo-name"} & used


HOSTILE = "</title></style></p>\"'><script>alert(1)</script><img src=x onerror=alert(1)>\ud800"


def test_what_parties_wrote_never_becomes_markup() -> None:
    lines = [
        {**span(HOSTILE, START, START + 1, 0)},
        {"kind": "event", "time": START, "name": HOSTILE, "text": HOSTILE},
        {**metric("Validation:AUC", 0.5, 0, START + 1)},
        {**metric("Test:AUC", 0.5, 0, START + 1)},
        {**metric("Test:AUC", 0.5, 0, START + 1, silo=HOSTILE)},
        {**span("train", START, START + 1, 0)},
    ]
    status = {"state": HOSTILE, "reason": HOSTILE, "experiment": HOSTILE, "round": HOSTILE}
    status["parameters"] = {HOSTILE: HOSTILE, "train data size": HOSTILE}  # type: ignore[assignment]
    run = RUN | {"hyperparameters": {HOSTILE.rstrip("\ud800"): HOSTILE.rstrip("\ud800")}}
    page = WrittenLedger(run, dict.fromkeys(["aggregator", *SILOS], status), {"aggregator": lines, "hungary": lines})
    parsed = page.page()
    assert "<script>alert(1)" in parsed.text
    assert "<script" not in parsed.html
    assert "<img" not in parsed.html
    parsed.html.encode("utf-8")


def test_an_attribute_is_escaped_as_text_is() -> None:
    template = TEMPLATES.from_string("<p{{ {'class': words} | xmlattr }}>{{ words }}</p>")
    assert template.render(words='"><b') == '<p class="&#34;&gt;&lt;b">&#34;&gt;&lt;b</p>'


def test_a_template_that_names_what_is_not_there_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        TEMPLATES.from_string("{{ missing }}").render()


def test_rendering_changes_nothing_and_repeats() -> None:
    once = finished(3, dead_from=1).record()
    before = copy.deepcopy(once)
    assert render(once) == render(once)
    assert once == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
TIMES = st.floats(START, START + 100) | JSON
NAMES = st.sampled_from(["Test:AUC", "Test:Loss", "Validation:AUC", "Training:Loss", "train", "deadline", "opened"])
LINES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["metric", "span", "event"]) | JSON,
        "name": NAMES | JSON,
        "time": TIMES,
        "start": TIMES,
        "end": TIMES,
        "value": st.floats() | st.floats(0, 1) | JSON,
        "step": st.integers(0, 3) | JSON,
        "round": st.integers(0, 3) | JSON,
        "silo": st.sampled_from(SILOS) | JSON,
        "text": st.just("closed with 3 of 4") | JSON,
    },
)
PARTIES = st.sampled_from(["aggregator", *SILOS])
STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["FINISHED", "FAILED", "TRAINING"]) | JSON,
        **dict.fromkeys(("round", "reason", "experiment", "tracking_failures", "parameters", "heartbeat"), JSON),
    },
)
RUNS = st.builds(
    lambda created, hyperparameters: RUN | {"created": created, "hyperparameters": hyperparameters},
    st.sampled_from(["2026-11-22T08:15:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.booleans(), max_size=3),
)


@settings(max_examples=80)
@given(
    RUNS,
    st.dictionaries(PARTIES, STATUSES | JSON, max_size=3),
    st.dictionaries(PARTIES, st.lists(LINES | JSON, max_size=12), max_size=3),
)
def test_no_ledger_breaks_the_page(run: Any, statuses: Any, lines: Any) -> None:
    page = WrittenLedger(run, statuses, lines).page()
    drawn = [value or "" for _, attrs in page.elements for name, value in attrs.items() if name != "content"]
    assert not re.search(r"nan|inf", " ".join(drawn))
    page.html.encode("utf-8")
