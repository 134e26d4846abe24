"""The report: one self-contained HTML page that shows one run, from what its parties wrote into the ledger.

``render`` is pure. What a party wrote comes through ``fedsilo.ledger.schema``, and is still not trusted: all text is
escaped, and lines whose times are not near the run are left out and counted on the page, with those that made no sense.
The page loads nothing and runs no script.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from fedsilo import __version__
from fedsilo.ledger.lenient import count, fields, moment, number
from fedsilo.ledger.schema import MAX_TIME, LedgerLine, Status
from fedsilo.names import AGGREGATOR
from fedsilo.report import charts
from fedsilo.report.charts import Html, Mark, Span, el, join
from fedsilo.states import TERMINAL, PartyState
from fedsilo.text import clip, duration

MAX_EVENTS = 200
"""Rows of the list of events."""

MAX_LEAD = 300
"""Characters of the aggregator's reason that the page opens with."""

MARGIN = 3600.0
"""Seconds before the run's creation, and after the aggregator's last word, in which a party's times are believed."""

NONE = "—"
"""What stands for a value that nobody recorded."""


@dataclass(frozen=True)
class RunRecord:
    """What the ledger holds of a run. Any field may be empty, and any key of run.json may be missing."""

    run: Mapping[str, Any]
    """run.json."""
    statuses: Mapping[str, Status]
    """What each party says of itself, by its name."""
    lines: Mapping[str, list[LedgerLine]]
    """The lines of metrics.jsonl of each party, by its name."""
    left_out: int = 0
    """How many lines made no sense."""


def render(run: RunRecord) -> str:
    """The page. Never raises for what a ledger says or leaves out."""
    story = _Story(run)
    main = el("main", *(show(story) for show in (_header, _curves, _silos, _timeline, _events, _settings)))
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
{el("title", story.run_id, ": ", story.outcome)}<style>{_STYLE}</style></head>
<body>{main}</body></html>
"""
    return page.encode("utf-8", "replace").decode("utf-8")  # JSON can hold lone surrogates, a file can't


def _short(line: LedgerLine) -> bool:
    """Whether a round was closed without all silos."""
    found = re.search(r"(\d{1,6}) of (\d{1,6})", line.text) if line.name == "round_closed" else None
    return line.name == "deadline" or (found is not None and int(found[1]) < int(found[2]))


def _notable(line: LedgerLine) -> bool:
    """Whether this is an event, and not just a round that went its way."""
    return line.kind == "event" and (_short(line) or line.name not in ("opened", "round_closed"))


def _told(line: LedgerLine) -> str:
    """An event in words."""
    return line.name.replace("_", " ").capitalize() + (f": {line.text}" if line.text else "")


def _seconds(time: datetime | None) -> float | None:
    """The Unix time; None where it is not one that can be."""
    seconds = -1.0 if time is None else time.timestamp()
    return seconds if 0 <= seconds <= MAX_TIME else None


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


class _Story:
    """What happened in the run, as far as its ledger tells. Times are Unix times, lines in the order of time."""

    def __init__(self, record: RunRecord) -> None:
        self.run = record.run
        self.run_id = str(record.run.get("run") or "Unknown run")
        named = record.run.get("silos")
        parties = [AGGREGATOR, *map(str, named if isinstance(named, list) else []), *record.statuses, *record.lines]
        self.statuses = {party: record.statuses.get(party, Status()) for party in dict.fromkeys(parties)}
        self.written = set(record.statuses)
        self.silos = [party for party in self.statuses if party != AGGREGATOR]
        self.created = _seconds(moment(record.run.get("created")))
        lines = sorted((line for lines in record.lines.values() for line in lines), key=lambda x: x.time)
        first = 0.0 if self.created is None else self.created - MARGIN
        last = max((x.time for x in lines if x.party == AGGREGATOR), default=MAX_TIME) + MARGIN
        self.lines = [x for x in lines if first <= x.start and x.time <= last]
        self.left_out = record.left_out + len(lines) - len(self.lines)
        known = [] if self.created is None else [self.created]
        self.start = min([*known, *(x.start for x in self.lines)], default=0.0)
        self.seconds = max([*known, *(x.time for x in self.lines)], default=0.0) - self.start

        self.over = self.state(AGGREGATOR) in TERMINAL
        self.outcome = self.state(AGGREGATOR).capitalize() or "No outcome"
        self.lost = {x for x in self.statuses if self.over and self.state(x) not in TERMINAL}
        going = {x for x in self.silos if self.state(x) and self.state(x) not in TERMINAL}
        self.stayed = sum(self.state(x) == PartyState.FINISHED for x in self.silos) if self.over else len(going)
        # A round that is opened, trained in or closed is told by its place, from 0; a metric by the rounds done before.
        self.closed: dict[int, float] = {}
        for x in self.of("event", AGGREGATOR):
            done = (x.round or 0) + (x.name in ("deadline", "round_closed"))
            if done > 0 and x.name in ("opened", "deadline", "round_closed"):
                self.closed.setdefault(done, x.time)
        self.rounds = sorted({*self.closed, *self.metric("Test:AUC"), *self.metric("Test:Loss")})
        self.done = max(self.rounds, default=0)

    def state(self, party: str) -> str:
        """The party's own last word on its state; empty where there is none."""
        return self.statuses[party].state if party in self.written else ""

    def of(self, kind: str, party: str) -> list[LedgerLine]:
        """The party's lines of a kind."""
        return [line for line in self.lines if line.kind == kind and line.party == party]

    def metric(self, name: str) -> dict[int, float]:
        """A metric of the global model by round; the last word counts where a round was repeated."""
        found = {x.round: x.value for x in self.of("metric", AGGREGATOR) if x.name == name and x.silo is None}
        return dict(sorted((step, value) for step, value in found.items() if step is not None))

    def last(self, name: str) -> float | None:
        """A metric of the global model after the last round that has one."""
        return next(reversed(self.metric(name).values()), None)

    def evaluated(self) -> dict[int, int]:
        """How many silos evaluated the global model, by the rounds done, where any did."""
        found = {(x.round, x.silo) for x in self.of("metric", AGGREGATOR) if x.silo is not None}
        return Counter(step for step, _ in found if step is not None)

    def heard(self, party: str) -> float | None:
        """When the party gave its last sign of life, in seconds since the run's start; None where it never did."""
        beat = _seconds(self.statuses[party].heartbeat)
        times = [x.time for x in self.lines if x.party == party] + ([] if beat is None else [beat])
        return min(max(times) - self.start, self.seconds) if times else None

    def by_silo(self, name: str) -> dict[str, LedgerLine]:
        """A metric of the global model on each silo's data, as last evaluated."""
        return {x.silo: x for x in self.of("metric", AGGREGATOR) if x.name == name and x.silo is not None}

    def local(self, name: str) -> dict[str, charts.Points]:
        """A metric of each silo's training as (rounds done, value), for the rounds that the aggregator knows of.

        The step of such a line is an epoch; the round is that of the span in which the silo last began to train.
        """
        found: dict[str, charts.Points] = {}
        for silo in self.silos:
            points, current = dict[int, float](), None
            for line in sorted(self.of("span", silo) + self.of("metric", silo), key=lambda x: x.start):
                if line.kind == "span" and line.name == "train":
                    current = None if line.round is None else line.round + 1
                elif line.name == name and current in self.rounds:
                    points[current] = line.value
            if points:
                found[silo] = sorted((float(x), y) for x, y in points.items())
        return found

    def problems(self) -> dict[str, list[str]]:
        """What went wrong, and with which parties."""
        found: dict[str, list[str]] = {}
        for party, status in self.statuses.items():
            state, reason = self.state(party), status.reason
            said = f"{state.capitalize() or 'No state'}: {reason or 'no reason given'}"
            if party in self.lost:
                heard = self.heard(party)
                when = "" if heard is None else f" after {duration(heard)}"
                where = "" if status.round is None else f" in round {status.round}"
                found.setdefault(f"No word{when}, last state {state or 'unknown'}{where}. {reason}", []).append(party)
            elif party == AGGREGATOR:
                if len(reason) > MAX_LEAD:  # else the page opens with all of it
                    found.setdefault(said, []).append(party)
            elif reason and reason == self.statuses[AGGREGATOR].reason:
                found.setdefault(f"{state.capitalize()} for the same reason.", []).append(party)
            elif reason or (state in TERMINAL and state != PartyState.FINISHED):
                found.setdefault(said, []).append(party)
            if status.tracking_failures:
                text = f"{status.tracking_failures} tracking calls failed; the record in SageMaker has gaps."
                found.setdefault(text, []).append(party)
        if self.left_out:
            found[f"leaves out {self.left_out} lines of the ledger that make no sense."] = ["This page"]
        return found


def _value(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def _section(title: str, *children: object) -> Html:
    return el("section", el("h2", title), *children)


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Html:
    """A table whose rows are headed by their first cell."""
    body = [el("tr", el("th", first, scope="row"), *(el("td", x) for x in rest)) for first, *rest in rows]
    head = el("thead", el("tr", *(el("th", x, scope="col") for x in heads)))
    return el("div", el("table", el("caption", caption), head, el("tbody", *body)), class_="scroll")


def _header(story: _Story) -> Html:
    """What came of the run, the reason first, and six numbers."""
    status, planned = story.statuses[AGGREGATOR], count(story.run.get("rounds"))
    unknown = (
        "" if story.over else "the run has not ended" if story.state(AGGREGATOR) else "the aggregator has no status"
    )
    reason = clip(status.reason, MAX_LEAD).rstrip(".")
    rounds = f"{story.done} rounds" if planned is None else f"{story.done} of {planned} rounds"
    part, silos = "finished" if story.over else "taking part", len(story.silos)
    scores = [("test AUC", "Test:AUC"), ("accuracy", "Test:Accuracy"), ("loss", "Test:Loss")]
    told = ", ".join(f"{name} {_value(story.last(key))}" for name, key in scores if story.last(key) is not None)
    why = "; ".join(filter(None, (reason, unknown)))
    what = f"{rounds} in {duration(story.seconds)}, {story.stayed} of {silos} silos {part}"
    sentence = (f": {why}. " if why else ": ") + "; ".join(filter(None, (what, told))) + "."
    problems = [el("li", el("b", ", ".join(parties)), text) for text, parties in story.problems().items()]
    tone = "open" if not story.over else "good" if story.outcome == "Finished" else "bad"

    auc = story.metric("Test:AUC")
    best = max(auc, key=lambda x: auc[x], default=None)
    highest = "" if best is None else f"best {_value(auc[best])} after {best} rounds"
    tiles = [
        ("Test AUC", _value(story.last("Test:AUC")), highest),
        ("Accuracy", _value(story.last("Test:Accuracy")), "of the global model"),
        ("Test loss", _value(story.last("Test:Loss")), "of the global model"),
        ("Rounds", story.done, "" if planned is None else f"of {planned} planned"),
        ("Silos", story.stayed, f"of {silos} {part}"),
        ("Duration", duration(story.seconds), f"from {_utc(story.start)}" if story.start else ""),
    ]
    return el(
        "header",
        el("p", " · ".join(str(story.run.get(key) or "unknown " + key) for key in ("federation", "workload"))),
        el("h1", story.run_id),
        el("div", el("p", el("strong", story.outcome), sentence), el("ul", *problems), class_=f"outcome {tone}"),
        el("dl", *(el("div", el("dt", x), el("dd", y), el("dd", z, class_="note")) for x, y, z in tiles)),
    )


def _curves(story: _Story) -> Html:
    """The global model's AUC and loss over rounds, the silos' own behind."""
    evaluated, silos = story.evaluated(), len(story.silos)
    flagged = [float(x) for x, count in evaluated.items() if count < silos]
    if not story.rounds:
        return _section("Learning", el("p", "No round was closed, and no metric of the global model recorded."))
    figures, greys = [], list[str]()
    for name, metric, own, most, better in (
        ("Test AUC", "Test:AUC", "Validation:AUC", 1.0, "higher is better"),
        ("Test loss", "Test:Loss", "Training:Loss", float("inf"), "lower is better"),
    ):
        points = [(float(x), y) for x, y in story.metric(metric).items()]
        title = el("figcaption", el("b", name), f" of the global model; {better}")
        if points:
            behind = story.local(own)
            told = f"{metric} of the global model over {len(points)} rounds, from {_value(points[0][1])} to "
            told += f"{_value(points[-1][1])}; {better}. Behind it {own} of {len(behind)} silos."
            greys += [own] if behind else []
            drawing = charts.line_chart(f"{name} by round", told, points, behind, flagged, most)
        else:
            drawing = el("p", f"No {metric} was recorded.")
        figures.append(el("figure", title, drawing))
    notes = [f"Grey: {' and '.join(greys)} of each silo's own model after its local training."] if greys else []
    notes += [f"Triangles: {len(flagged)} rounds after which not all silos evaluated the model."] if flagged else []

    names = ("Test:AUC", "Test:Loss", "Test:Accuracy")
    columns = [story.metric(name) for name in names]
    rows = []
    for x in story.rounds:
        count = f"{evaluated[x]} of {silos}" if x in evaluated else NONE
        closed = f"{story.closed[x] - story.start:.1f}" if x in story.closed else NONE
        rows.append([x, *(_value(column.get(x)) for column in columns), count, closed])
    table = _table("The global model", ["Rounds done", *names, "Silos that evaluated", "After (s)"], rows)
    return _section(
        "Learning",
        el("div", *figures, class_="pair"),
        el("p", " ".join(notes), class_="note"),
        el("details", el("summary", "The rounds in numbers"), table),
    )


def _bar(value: float | None, most: float, style: str, reference: float | None) -> Html:
    """A number with its bar from 0 to ``most``, and a tick at ``reference``."""
    if value is None:
        return el("span", NONE)
    tick = "" if reference is None else el("s", style=f"left:{reference / most:.1%}")
    bar = el("div", el("i", style=f"width:{value / most:.1%}"), tick, class_="bar")
    return el("div", el("span", format(value, style)), bar, class_="cell")


def _silos(story: _Story) -> Html:
    """A row per silo: its state, how good the global model is on its data, and how much it trained on."""
    scores = [(story.by_silo(name), story.last(name)) for name in ("Test:AUC", "Test:Accuracy")]
    latest = max((line.round or 0 for values, _ in scores for line in values.values()), default=0)
    samples = {silo: story.statuses[silo].samples for silo in story.silos}
    most = max([1, *(trained for trained in samples.values() if trained)])
    rows = []
    for silo, trained in samples.items():
        lines = [values.get(silo) for values, _ in scores]
        rounds = sorted({line.round or 0 for line in lines if line})
        state = [story.state(silo).capitalize() or "No status"]
        state += ["no word since"] if silo in story.lost and story.state(silo) else []
        state += [f"scores after {rounds[0]} rounds"] if rounds and rounds[0] < latest else []
        bars = [
            _bar(x.value if x else None, 1.0, ".3f", overall) for x, (_, overall) in zip(lines, scores, strict=True)
        ]
        rows.append([silo, ", ".join(state), *bars, _bar(trained, most, ",.0f", None)])
    caption = "The last global model on each silo's own test data; ticks: on all of it. An AUC of 0.5 is chance."
    return _section("Silos", _table(caption, ["Silo", "State", "AUC", "Accuracy", "Training samples"], rows))


def _timeline(story: _Story) -> Html:
    """What every party did when, and a table of how long."""
    spans: dict[str, list[Span]] = {party: [] for party in story.statuses}
    marks: dict[str, list[Mark]] = {party: [] for party in story.statuses}
    spent = {party: dict.fromkeys(charts.KINDS, 0.0) for party in story.statuses}
    for x in story.lines:
        start, end = x.start - story.start, x.time - story.start
        where = "" if x.round is None else f", round {x.round}"
        if x.kind == "span":
            kind = x.name if x.name in charts.KINDS else "other"
            hint = f"{x.name}{where}: {duration(end - start)}, from {duration(start)}"
            spans[x.party].append(Span(kind, start, end, hint))
            spent[x.party][kind] += end - start
        elif _notable(x):
            glyph = "closed" if _short(x) else "event"
            marks[x.party].append(Mark(end, glyph, f"{duration(end)}{where}: {_told(x)}"))
    for party in story.lost:
        heard = story.heard(party)
        if heard is not None:
            marks[party].append(Mark(heard, "lost", f"{duration(heard)}: last word of {party}"))
    count = sum(map(len, spans.values()))
    if not count or not story.seconds:
        return _section("Timeline", el("p", "No party recorded what it did."))
    dense = count > charts.MAX_SPANS
    note = "Time since the start of the run. Point at a bar for its round and length."
    if dense:
        note = f"Time since the start of the run. {count:,} spans are too many to draw one by one: each column stands "
        note += f"for {duration(story.seconds / charts.COLUMNS)}, and the heights in it are the shares of that time."
    kinds = [kind for kind in charts.KINDS if any(took[kind] for took in spent.values())]
    rows = [[party, *(f"{took[kind]:.1f}" for kind in kinds)] for party, took in spent.items()]
    table = _table("Seconds spent by each party", ["Party", *kinds], rows)
    told = f"{len(spans)} parties over {duration(story.seconds)}; the table that follows has the sums."
    drawing = charts.timeline("Who did what when", told, spans, marks, story.seconds, dense)
    return _section(
        "Timeline",
        el("figure", el("div", drawing, class_="scroll wide"), el("figcaption", note)),
        el("details", el("summary", "The timeline in numbers"), table),
    )


def _events(story: _Story) -> Html:
    """What the parties noted, repetitions as one row, without the rounds that went their way."""
    notable = [x for x in story.lines if _notable(x)]
    groups = [list(group) for _, group in groupby(notable, lambda x: (x.party, _told(x)))]
    rows = []
    for first, *more in groups[:MAX_EVENTS]:
        rounds = NONE if first.round is None else f"{first.round} to {more[-1].round}" if more else first.round
        told = f"{_told(first)} ({len(more) + 1} times)" if more else _told(first)
        rows.append([_utc(first.time), f"{first.time - story.start:.1f}", first.party, rounds, told])
    routine = sum(x.kind == "event" for x in story.lines) - len(notable)
    notes = [f"Not listed: openings and closings of rounds ({routine})."] if routine else []
    notes += [] if groups else ["Nothing else was noted."]
    notes += [f"{len(groups) - MAX_EVENTS} later rows are left out."] if len(groups) > MAX_EVENTS else []
    table = _table("In the order of time", ["Time", "After (s)", "Party", "Round", "What"], rows)
    return _section("Events", table if rows else "", el("p", " ".join(notes), class_="note"))


def _settings(story: _Story) -> Html:
    """What the run was asked to do, and where its record is."""
    run, deadline = story.run, number(story.run.get("deadline_seconds"))
    asked = {key: run.get(key) for key in ("federation", "workload", "rounds", "quorum", "seed")}
    asked["deadline"] = None if deadline is None else duration(deadline)
    asked["silos"] = ", ".join(story.silos)
    asked["created"] = None if story.created is None else _utc(story.created)
    chosen, recorded = fields(run.get("hyperparameters")), story.statuses[AGGREGATOR].parameters
    named = {"Run": asked, "Hyperparameters chosen for it": chosen, "As recorded by the aggregator": recorded}
    tables = [
        _table(title, [], [[key, NONE if value in (None, "") else value] for key, value in values.items()])
        for title, values in named.items()
        if values
    ]
    tracked = {party: status.experiment for party, status in story.statuses.items()}
    names = ", ".join(f"{name} ({party})" for party, name in tracked.items() if name) or "none recorded"
    footer = f"Run {story.run_id}. SageMaker experiments: {names}. Page written by fedsilo {__version__}."
    return join([_section("Parameters", el("div", *tables, class_="pair")), el("footer", footer)])


_STYLE = """
:root{--ink:#16191d;--muted:#59616b;--rule:#d9dde2;--paper:#fff;--faint:#9aa2ac;--track:#eceef1;
--good:#00694a;--bad:#b23c00;--start:#9a7fb0;--train:#0072b2;--aggregate:#d55e00;--evaluate:#009e73;--mail:#e69f00}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e8eaed;--muted:#a2aab4;--rule:#343a42;--paper:#14171a;
--faint:#767f8a;--track:#262b31;--good:#4cc9a0;--bad:#ff9257;--start:#8d77a3;--train:#4ba3dd;--aggregate:#f07f2f;
--evaluate:#1fb58c;--mail:#f0b429}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",
Arial,sans-serif;font-variant-numeric:tabular-nums;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:1040px;margin:0 auto;padding:40px 24px 48px;overflow-wrap:break-word}
header>p{margin:0;color:var(--muted)}
h1{margin:2px 0 20px;font-size:28px;line-height:1.2;font-weight:600;letter-spacing:-.01em}
h2{margin:44px 0 12px;padding-top:12px;border-top:1px solid var(--rule);font-size:18px;font-weight:600}
.outcome{padding-left:14px;border-left:4px solid var(--muted)}
.outcome p{margin:0;font-size:18px}.outcome strong{font-weight:600}
.good{border-color:var(--good)}.good strong{color:var(--good)}.bad{border-color:var(--bad)}.bad strong{color:var(--bad)}
.outcome ul{margin:0;padding:0;list-style:none;white-space:pre-wrap}.outcome li{margin-top:6px}
.outcome b{font-weight:600;margin-right:8px}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:20px 24px;margin:28px 0 0}
dt,.note,figcaption,caption,footer,summary{color:var(--muted);font-size:13px}
dd{margin:0;font-size:24px;white-space:nowrap;line-height:1.25;font-weight:600;letter-spacing:-.01em}
dd.note{white-space:normal;font-size:13px;line-height:1.4;font-weight:400;letter-spacing:0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:24px 40px;align-items:start}
figure{margin:0}figcaption b{color:var(--ink);font-weight:600;font-size:15px}
svg{display:block;width:100%;height:auto;margin:6px 0}svg text{fill:var(--muted);font-size:12px}
.end{text-anchor:end}.mid{text-anchor:middle}svg .name{fill:var(--ink)}
.grid{stroke:var(--rule);fill:none}.silo{stroke:var(--faint);stroke-width:1.1;fill:none;opacity:.75}
.global{stroke:var(--train);stroke-width:2.2;fill:none;stroke-linejoin:round}.global-dot{fill:var(--train)}
.silo-dot{fill:var(--faint)}
svg .global-name{fill:var(--train);font-weight:600}.flag{fill:var(--aggregate)}
.hover{fill:var(--ink);opacity:0}.hover:hover{opacity:.08}
rect.start,path.start{fill:var(--start)}rect.train,path.train{fill:var(--train)}rect.mail,path.mail{fill:var(--mail)}
rect.aggregate,path.aggregate{fill:var(--aggregate)}rect.evaluate,path.evaluate{fill:var(--evaluate)}
rect.wait{fill:var(--faint)}path.wait{fill:var(--rule)}rect.other,path.other{fill:var(--ink)}
.mark{fill:var(--ink);stroke:var(--paper);stroke-width:1}.mark.closed{fill:var(--bad)}
.mark.lost{fill:none;stroke:var(--bad);stroke-width:2.4}.deadline{stroke:var(--bad);stroke-dasharray:2 3;fill:none}
.scroll{overflow-x:auto}.wide svg{min-width:680px}
table{width:100%;border-collapse:collapse;font-size:14px}caption{text-align:left;padding:0 0 6px}
th,td{padding:6px 16px 6px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);font-weight:400}
thead th{color:var(--muted)}tbody th{white-space:nowrap}
.cell{display:flex;align-items:center;gap:10px;min-width:140px}.cell span{min-width:44px}
.bar{position:relative;flex:1;height:10px;background:var(--track)}
.bar i{display:block;height:100%;background:var(--train)}
.bar s{position:absolute;top:-3px;bottom:-3px;width:2px;margin-left:-1px;background:var(--ink)}
summary{cursor:pointer;padding:6px 0}details table{max-width:760px}
footer{margin-top:44px;padding-top:12px;border-top:1px solid var(--rule)}
@media print{@page{margin:14mm}main{padding:0;max-width:none}body,table{font-size:11px}.cell{min-width:100px}
dl{grid-template-columns:repeat(6,1fr);gap:8px}dd{font-size:17px}dt,dd.note,.note,figcaption,caption{font-size:10px}
.pair{grid-template-columns:1fr 1fr;gap:20px}h2{margin-top:24px;break-after:avoid}.wide svg{min-width:0}
figure,tr,header{break-inside:avoid}}
"""
