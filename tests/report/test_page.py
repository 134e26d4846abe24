"""The report says what the ledger says, loads nothing, and survives whatever a party wrote."""

import copy
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsilo.ledger.schema import LedgerLine, Status
from fedsilo.report import charts
from fedsilo.report import page as report
from fedsilo.text import duration

START = 1795335300.0  # 2026-11-22 08:15:00 UTC
SILOS = ["cleveland", "hungary", "switzerland", "long-beach"]
TAGS = re.findall(
    r"\w+",
    "html head meta title style body main header section footer h1 h2 p b strong ul li dl dt dd div span i s "
    "figure figcaption details summary table caption thead tbody tr th td svg desc path rect circle text",
)
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "style", "scope"),
    *("viewbox", "role", "d", "x", "y", "cx", "cy", "r", "width", "height", "transform"),
}


@dataclass(frozen=True)
class Raw:
    """A ledger as it was written."""

    run: Any
    statuses: dict[str, Any]
    lines: dict[str, list[Any]]


def render(raw: Raw) -> str:
    """The report of it, read as the command reads it."""
    statuses = {party: Status.of(json.dumps(status).encode()) for party, status in raw.statuses.items()}
    read = {
        party: [LedgerLine.of(party, json.dumps(line).encode()) for line in lines] for party, lines in raw.lines.items()
    }
    lines = {party: [line for line in of if line is not None] for party, of in read.items()}
    left_out = sum(line is None for of in read.values() for line in of)
    return report.render(report.RunRecord(raw.run, statuses, lines, left_out))


class Page(HTMLParser):
    """A parsed page: its text, and a failure for each tag or attribute that a report has no use for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag != "style")

    def count(self, style: str) -> int:
        """The drawn elements of a class, those of the legend included."""
        return sum(attrs.get("class") == style for _, attrs in self.elements)


def span(name: str, start: float, end: float, round_idx: int) -> dict[str, Any]:
    return {"kind": "span", "time": end, "name": name, "start": start, "end": end, "round": round_idx}


def metric(name: str, value: float, step: int, time: float, **more: str) -> dict[str, Any]:
    return {"kind": "metric", "time": time, "name": name, "value": value, "step": step, **more}


def event(name: str, round_idx: int, time: float, text: str) -> dict[str, Any]:
    return {"kind": "event", "time": time, "name": name, "round": round_idx, "text": text}


def record(rounds: int, dead_from: int | None = None) -> Raw:
    """A finished run of 2 s a round with 2 epochs each; long-beach is never heard of from round ``dead_from`` on."""
    lines: dict[str, list[dict[str, Any]]] = {party: [] for party in ["aggregator", *SILOS]}
    aggregator = lines["aggregator"]
    for k in range(rounds + 1):
        opened, closed = START + 2 * k, START + 2 * k + 1.5
        present = SILOS if dead_from is None or k < dead_from else SILOS[:3]
        aggregator += [event("opened", k, opened, "4 silos")]
        for name, value in (("Test:AUC", 0.875), ("Test:Loss", 0.4321), ("Test:Accuracy", 0.8125)) if k else ():
            aggregator += [metric(name, value, k, closed)]
            aggregator += [metric(name, value - 0.01, k, closed, silo=silo) for silo in present]
        if k == rounds:
            break
        for silo in present:
            lines[silo] += [span("train", opened, opened + 1, k), span("mail", opened + 1, opened + 1.1, k)]
            lines[silo] += [span("wait", opened + 1.1, closed, k)]
            lines[silo] += [
                metric("Validation:AUC", 0.4 + e / 10 + k % 9 / 100, 2 * k + e, opened + 0.4 + e / 2) for e in (0, 1)
            ]
        if len(present) < 4:
            aggregator += [event("deadline", k, closed, "closed with 3; missing long-beach")]
        aggregator += [span("wait", opened, closed, k), span("aggregate", closed, closed + 0.1, k)]
    statuses: dict[str, Any] = {
        party: {"party": party, "state": "FINISHED", "round": rounds, "reason": "", "experiment": f"heart-{party}"}
        for party in lines
    }
    statuses["cleveland"]["parameters"] = {"train data size": 199}
    if dead_from is not None:
        statuses["long-beach"].update(state="TRAINING", round=dead_from)
    run = {
        "run": "heart-20261122-081500",
        "federation": "heart",
        "workload": "heart_disease",
        "rounds": rounds,
        "silos": SILOS,
        "hyperparameters": {"lr": 0.01},
        "seed": 0,
        "quorum": 3,
        "deadline_seconds": 60.0,
        "created": "2026-11-22T08:15:00Z",
    }
    return Raw(run=run, statuses=statuses, lines=lines)


def test_a_finished_run_opens_with_its_outcome() -> None:
    text = Page(render(record(20))).text
    told = "20 of 20 rounds in 41.5 s, 4 of 4 silos finished; test AUC 0.875, accuracy 0.812, loss 0.432."
    assert f"Finished: {told}" in text
    assert "2026-11-22 08:15:00 UTC" in text
    assert "heart-aggregator (aggregator)" in text
    assert "lr0.01" in text
    assert "Not listed: openings and closings of rounds (21)." in text
    assert "best 0.875 after 1 rounds" in text


def test_silos_show_their_last_scores_and_samples() -> None:
    page = Page(render(record(3)))
    cells = [text for tag, text in page.texts if tag == "span"]
    assert cells[:3] == ["0.865", "0.802", "199"]
    assert [attrs["style"] for tag, attrs in page.elements if tag == "i"][:3] == [
        "width:86.5%",
        "width:80.2%",
        "width:100.0%",
    ]


def test_a_dead_silo_is_named_and_the_rounds_without_it_are_marked() -> None:
    page = Page(render(record(10, dead_from=4)))
    assert "3 of 4 silos finished" in page.text
    assert "No word after 7.5 s, last state TRAINING in round 4." in page.text
    assert "Training, no word since, scores after 3 rounds" in page.text
    assert "Deadline: closed with 3; missing long-beach (6 times)" in page.text
    assert "7 rounds after which not all silos evaluated the model" in page.text
    assert page.count("mark closed") == 6 + 1
    assert page.count("mark lost") == 1 + 1


def test_a_heartbeat_is_a_word() -> None:
    dead = record(10, dead_from=4)
    dead.statuses["long-beach"]["heartbeat"] = "2026-11-22T08:15:11.250Z"
    assert "No word after 11.2 s, last state TRAINING" in Page(render(dead)).text


@pytest.mark.parametrize(("text", "marks"), [("closed with 3 of 4; missing hungary", 1 + 1), ("closed with 4 of 4", 0)])
def test_a_closing_that_tells_its_counts_is_marked_where_silos_are_missing(text: str, marks: int) -> None:
    told = record(3)
    told.lines["aggregator"] += [event("round_closed", 1, START + 3.5, text)]
    assert Page(render(told)).count("mark closed") == marks


def test_a_round_that_was_closed_counts_as_done() -> None:
    lines = {"aggregator": [event("opened", 0, START, ""), event("deadline", 0, START + 60, "closed with 3")]}
    assert "1 of 20 rounds in 1 min," in Page(render(Raw(record(20).run, {}, lines))).text


def test_a_failed_run_gives_its_reason_first() -> None:
    no_quorum = {"state": "FAILED", "reason": "no quorum in round 0: missing hungary"}
    failed = Raw(
        run=record(20).run,
        statuses={
            "aggregator": no_quorum,
            "cleveland": no_quorum,
            "switzerland": no_quorum,
            "hungary": {"state": "REFUSED", "reason": "policy.max_rounds: 20 is more than 10"},
        },
        lines={"aggregator": [span("wait", START + 1, START + 61, 0)]},
    )
    text = Page(render(failed)).text
    assert "Failed: no quorum in round 0: missing hungary. 0 of 20 rounds in 1 min 1 s, 0 of 4 silos finished." in text
    assert "hungaryRefused: policy.max_rounds: 20 is more than 10" in text
    assert "cleveland, switzerlandFailed for the same reason." in text
    assert "No round was closed" in text


def test_a_run_that_goes_on_is_not_called_finished() -> None:
    going = record(3)
    for status in going.statuses.values():
        status["state"] = "TRAINING"
    text = Page(render(going)).text
    assert "Training: the run has not ended. 3 of 3 rounds" in text
    assert "4 of 4 silos taking part" in text
    assert "No word" not in text


def test_an_empty_ledger_gives_a_page_that_says_so() -> None:
    text = Page(render(Raw({}, {}, {}))).text
    assert "No outcome: the aggregator has no status. 0 rounds in 0 s, 0 of 0 silos taking part." in text
    assert "No party recorded what it did." in text


def test_every_drawing_has_a_title_a_description_and_a_table() -> None:
    page = Page(render(record(5)))
    drawings = [at for at, (tag, _) in enumerate(page.elements) if tag == "svg"]
    assert [[tag for tag, _ in page.elements[at + 1 : at + 3]] for at in drawings] == [["title", "desc"]] * 3
    assert sum(tag == "details" for tag, _ in page.elements) == 2


@pytest.mark.parametrize("dead_from", [None, 37])
def test_500_rounds_stay_small_and_the_page_says_what_it_sums_up(dead_from: int | None) -> None:
    page = render(record(500, dead_from))
    assert len(page.encode()) < 400_000
    text = Page(page).text
    assert "spans are too many to draw one by one: each column stands for 4.2 s" in text
    assert re.search(r"5000\.8750\.4320\.812[34] of 4\d+\.\d", text)  # the last row of the table


def test_the_page_loads_and_runs_nothing() -> None:
    page = render(record(5))
    assert """content="default-src 'none'; style-src 'unsafe-inline'">""" in page
    assert not re.search(r"url\(|@import|https?:|//", page)


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
    status = {"state": HOSTILE, "reason": HOSTILE, "experiment": HOSTILE, "round": HOSTILE, "train_samples": HOSTILE}
    run = dict.fromkeys(record(1).run, HOSTILE) | {"silos": [HOSTILE], "hyperparameters": {HOSTILE: HOSTILE}}
    page = render(Raw(run, {"aggregator": status, HOSTILE: status}, {"aggregator": lines, HOSTILE: lines}))
    assert "<script>alert(1)" in Page(page).text
    page.encode("utf-8")


def test_an_attribute_is_escaped_as_text_is() -> None:
    assert charts.el("p", "<", class_='"><b') == '<p class="&quot;&gt;&lt;b">&lt;</p>'


def test_a_silo_can_not_speak_for_the_global_model() -> None:
    forged = record(3)
    forged.lines["hungary"] += [metric("Test:AUC", 0.999, 3, START + 8)]
    forged.lines["hungary"] += [metric("Test:AUC", 0.999, 3, START + 8, silo="cleveland")]
    assert "0.999" not in render(forged)


def test_lines_that_make_no_sense_are_left_out_and_counted() -> None:
    odd = record(3)
    odd.lines["hungary"] += [
        span("train", START, START + 1e8, 0),
        span("train", START + 2, START + 1, 0),
        metric("Validation:AUC", float("nan"), 0, START),
        {"kind": "metric", "name": "Validation:AUC", "value": 10**400, "time": START},
        {"kind": "riddle", "time": START},
    ]
    text = Page(render(odd)).text
    assert "leaves out 5 lines" in text
    assert "3 of 3 rounds in 7.5 s" in text


@pytest.mark.parametrize("time", [1e11, 1e300, -5.0])
@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "soon", None])
def test_times_that_can_not_be_leave_the_run_without_a_start(time: float, created: str | None) -> None:
    lines = {"aggregator": [metric("Test:AUC", 0.5, 0, time), span("train", time, time, 0)]}
    text = Page(render(Raw({"created": created}, {}, lines))).text
    assert "leaves out 2 lines" in text
    assert "UTC" not in text


def test_an_epoch_belongs_to_the_round_in_which_it_was_trained() -> None:
    hints = [
        text for tag, text in Page(render(record(3))).texts if tag == "title" and text.startswith("2 rounds done\n")
    ]
    assert hints[0].splitlines() == ["2 rounds done", "global: 0.875", *(f"{silo}: 0.510" for silo in SILOS)]


def test_a_silo_can_not_make_up_rounds() -> None:
    told = record(3)
    told.lines["hungary"] += [span("train", START + 5, START + 5.1, 10**6)]
    told.lines["hungary"] += [metric("Validation:AUC", 0.1, 9, START + 5.2)]
    assert max(float(text) for tag, text in Page(render(told)).texts if tag == "text" and text.isdigit()) == 3


def test_rendering_changes_nothing_and_repeats() -> None:
    once = record(3, dead_from=1)
    before = copy.deepcopy(once)
    assert render(once) == render(once)
    assert once == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
TIMES = st.floats(START, START + 100) | JSON
NAMES = st.sampled_from(["Test:AUC", "Test:Loss", "Validation:AUC", "Training:Loss", "train", "round_closed", "opened"])
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
        **dict.fromkeys(("round", "reason", "experiment", "tracking_failures", "train_samples"), JSON),
    },
)
RUNS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(record(1).run, JSON) | {"created": st.just("2026-11-22T08:15:00Z") | JSON}
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    RUNS,
    st.dictionaries(PARTIES, STATUSES | JSON, max_size=3),
    st.dictionaries(PARTIES, st.lists(LINES | JSON, max_size=12), max_size=3),
)
def test_no_ledger_breaks_the_page(run: Any, statuses: Any, lines: Any) -> None:
    page = render(Raw(run, statuses, lines))
    drawn = [value or "" for _, attrs in Page(page).elements for name, value in attrs.items() if name != "content"]
    assert not re.search(r"nan|inf", " ".join(drawn))
    page.encode("utf-8")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.04, "40 ms"),
        (0.44, "0.4 s"),
        (59.97, "1 min"),
        (60, "1 min"),
        (545.2, "9 min 5 s"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations_are_told_as_people_would(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("low", "high", "steps", "expected"),
    [
        (0.38, 0.91, (), [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (0, 19, (1, 2, 5), [0, 5, 10, 15]),
        (0, 90, (15, 30), [0, 15, 30, 45, 60, 75, 90]),
        (3, 3, (1,), [3]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, steps: tuple[float, ...], expected: list[float]) -> None:
    assert charts.ticks(low, high, steps) == pytest.approx(expected)
