"""Ledgers of runs as parties write them, and the report's page of them, parsed."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from fedsilo.config.run import Run
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import LedgerLine, Status
from fedsilo.report.page import render

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
RUN: dict[str, Any] = {
    "run": "heart-20261122-081500",
    "federation": "heart",
    "workload": "heart_disease",
    "silos": SILOS,
    "rounds": 20,
    "hyperparameters": {"lr": 0.01},
    "seed": 0,
    "quorum": 3,
    "deadline_seconds": 60.0,
    "join_seconds": 60.0,
    "created": "2026-11-22T08:15:00Z",
}
"""The run.json of a run of 20 rounds."""


@dataclass(frozen=True)
class WrittenLedger:
    """What the operator and the parties wrote of a run."""

    run: dict[str, Any] = field(default_factory=lambda: RUN)
    statuses: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[Any]] = field(default_factory=dict)

    def record(self) -> Record:
        """The ledger as a command reads it."""
        statuses = {party: Status.of(json.dumps(status).encode()) for party, status in self.statuses.items()}
        lines: dict[str, list[LedgerLine]] = {}
        left_out: dict[str, int] = {}
        for party, written in self.lines.items():
            read = [LedgerLine.of(party, json.dumps(line).encode()) for line in written]
            lines[party] = [line for line in read if line is not None]
            left_out[party] = len(read) - len(lines[party])
        return Record(Run.model_validate(self.run), statuses, lines, left_out)

    def page(self) -> "Page":
        """The report, parsed."""
        return Page(render(self.record()))


class Page(HTMLParser):
    """A parsed page. Fails for each tag or attribute that a report does not need."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.html = page
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
        """How many elements have the class, those of the legend included."""
        return sum(attrs.get("class") == style for _, attrs in self.elements)


def span(name: str, start: float, end: float, round_idx: int) -> dict[str, Any]:
    return {"kind": "span", "time": end, "name": name, "start": start, "end": end, "round": round_idx}


def metric(name: str, value: float, step: int, time: float, **more: str | float) -> dict[str, Any]:
    return {"kind": "metric", "time": time, "name": name, "value": value, "step": step, **more}


def event(name: str, round_idx: int, time: float, text: str) -> dict[str, Any]:
    return {"kind": "event", "time": time, "name": name, "round": round_idx, "text": text}


def finished(rounds: int, dead_from: int | None = None) -> WrittenLedger:
    """A finished run of 2 s a round with 2 epochs each. From round ``dead_from`` on, long-beach writes nothing."""
    lines: dict[str, list[dict[str, Any]]] = {party: [] for party in ["aggregator", *SILOS]}
    aggregator = lines["aggregator"]
    for k in range(rounds + 1):
        opened, closed = START + 2 * k, START + 2 * k + 1.5
        present = SILOS if dead_from is None or k < dead_from else SILOS[:3]
        aggregator += [event("opened", k, opened, "4 silos")]
        metrics = (("Test:AUC", 0.875, {"bound": 0.0012}), ("Test:Loss", 0.4321, {}), ("Test:Accuracy", 0.8125, {}))
        for name, value, bound in metrics if k else ():
            aggregator += [metric(name, value, k, closed, **bound)]
            aggregator += [metric(name, value - 0.01, k, closed, silo=silo, **bound) for silo in present]
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
    return WrittenLedger(RUN | {"rounds": rounds}, statuses, lines)
