"""What the page shows of a run, section by section: the texts, the numbers and the drawings, without any markup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from fedsilo.ledger.contributions import contributions_in_words
from fedsilo.ledger.published import local_models
from fedsilo.ledger.schema import LedgerLine
from fedsilo.names import AGGREGATOR
from fedsilo.report.charts import Drawing, line_chart
from fedsilo.report.history import ACCURACY, AUC, LOSS, Points, RunHistory
from fedsilo.report.timeline import COLUMNS, OTHER, THICKNESS, Bar, Glyph, Mark, is_dense, timeline
from fedsilo.states import TERMINAL, Event, LineKind, PartyState
from fedsilo.text import clip, duration, score

MAX_EVENTS = 200
"""Rows of the list of events."""

MAX_LEAD = 300
"""Characters of the aggregator's reason that the page opens with."""

NONE = "—"
"""Stands for a value that nobody recorded."""


@dataclass(frozen=True)
class Table:
    """A table whose rows are headed by their first cell."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]


# --- the header


@dataclass(frozen=True)
class Tile:
    """A number in the header."""

    name: str
    value: object
    note: str


@dataclass(frozen=True)
class Header:
    """What came of the run, what went wrong, and six numbers."""

    outcome: str
    sentence: str
    tone: str
    """A class of the style sheet: ``good``, ``bad`` or ``open``."""
    problems: Sequence[tuple[str, str]]
    """What went wrong, each with the names of its parties before it."""
    tiles: Sequence[Tile]


def header(history: RunHistory) -> Header:
    """The header; its sentence gives the reason first."""
    state = history.state(AGGREGATOR)
    reason = clip(history.status(AGGREGATOR).reason, MAX_LEAD).rstrip(".")
    unknown = "" if history.over else "the run has not ended" if state else "the aggregator has no status"
    why = "; ".join(filter(None, (reason, unknown)))
    rounds = f"{history.rounds_done} of {history.run.rounds} rounds"
    what = (
        f"{rounds} in {duration(history.seconds)}, {history.remaining} of {len(history.silos)} silos {_part(history)}"
    )
    contributed = contributions_in_words(history.run, history.status(AGGREGATOR))
    metrics = [("test AUC", AUC), ("accuracy", ACCURACY), ("loss", LOSS)]
    found = [(name, history.last(metric)) for name, metric in metrics]
    scores = ", ".join(f"{name} {_score(line)}" for name, line in found if line is not None)
    return Header(
        outcome=("Simulated. " if history.run.simulated else "") + (_words(state) or "No outcome"),
        sentence=(f": {why}. " if why else ": ") + "; ".join(filter(None, (contributed, what, scores))) + ".",
        tone="open" if not history.over else "good" if state is PartyState.FINISHED else "bad",
        problems=[(", ".join(parties), problem) for problem, parties in _problems(history).items()],
        tiles=_tiles(history),
    )


def _part(history: RunHistory) -> str:
    """What the remaining silos have done, or do."""
    return "finished" if history.over else "taking part"


def _tiles(history: RunHistory) -> list[Tile]:
    auc = history.metric(AUC)
    best = max(auc, key=lambda rounds_done: auc[rounds_done].value, default=None)
    highest = "" if best is None else f"best {score(auc[best].value)} after {best} rounds"
    return [
        Tile("Test AUC", _score(history.last(AUC)), highest),
        Tile("Accuracy", _score(history.last(ACCURACY)), "of the global model"),
        Tile("Test loss", _score(history.last(LOSS)), "of the global model"),
        Tile("Rounds", history.rounds_done, f"of {history.run.rounds} planned"),
        Tile("Silos", history.remaining, f"of {len(history.silos)} {_part(history)}"),
        Tile("Duration", duration(history.seconds), f"from {_utc(history.start)}" if history.start else ""),
    ]


def _problems(history: RunHistory) -> dict[str, list[str]]:
    """What went wrong, and with which parties."""
    found: dict[str, list[str]] = {}
    for party in history.run.parties:
        failures, left_out = history.status(party).tracking_failures, history.left_out[party]
        told = (_problem(history, party), history.status(party).unreadable, history.unreadable.get(party))
        counted = (
            f"{failures} tracking calls failed; the record in SageMaker has gaps." if failures else None,
            f"This page leaves out {left_out} lines of its ledger that make no sense." if left_out else None,
        )
        for problem in filter(None, (*told, *counted)):
            found.setdefault(problem, []).append(party)
    return found


def _problem(history: RunHistory, party: str) -> str | None:
    """How the party's part went wrong; None if it did not."""
    state, status = history.state(party), history.status(party)
    told = f"{_words(state) or 'No state'}: {status.reason or 'no reason given'}"
    if party in history.lost:
        heard = history.last_word(party)
        when = "" if heard is None else f" after {duration(heard)}"
        where = "" if status.round is None else f" in round {status.round}"
        return f"No word{when}, last state {state or 'unknown'}{where}. {status.reason}"
    if party == AGGREGATOR:  # the page opens with the reason, or with its beginning
        return told if len(status.reason) > MAX_LEAD else None
    if status.reason and status.reason == history.status(AGGREGATOR).reason:
        return f"{_words(state)} for the same reason."
    failed = state in TERMINAL and state is not PartyState.FINISHED
    return told if status.reason or failed else None


# --- learning


@dataclass(frozen=True)
class Figure:
    """A metric of the global model by round."""

    name: str
    note: str
    metric: str
    drawing: Drawing | None
    """None if no value was recorded."""
    training_metric: str | None
    """The metric of the silos' training in the background; None if there is none."""


@dataclass(frozen=True)
class Learning:
    """How good the global model was after each round."""

    figures: Sequence[Figure]
    note: str
    table: Table


def learning(history: RunHistory) -> Learning | None:
    """The curves of the global model; None if no round was closed and no metric recorded."""
    if not history.rounds:
        return None
    silos = len(history.silos)
    flagged = [float(rounds_done) for rounds_done, count in history.evaluations().items() if count < silos]
    figures = [
        _figure(history, "Test AUC", AUC, "Validation:AUC", "higher is better", flagged, most=1.0),
        _figure(history, "Test loss", LOSS, "Training:Loss", "lower is better", flagged, most=math.inf),
    ]
    grey = " and ".join(figure.training_metric for figure in figures if figure.training_metric)
    notes = [f"Grey: {grey} of each silo's own model after its local training."] if grey else []
    notes += [f"Triangles: {len(flagged)} rounds after which not all silos evaluated the model."] if flagged else []
    return Learning(figures, " ".join(notes), _rounds(history))


def _figure(
    history: RunHistory,
    name: str,
    metric: str,
    training_metric: str,
    better: str,
    flagged: Sequence[float],
    most: float,
) -> Figure:
    points: Points = [(float(rounds_done), line.value) for rounds_done, line in history.metric(metric).items()]
    note = f"of the global model; {better}"
    if not points:
        return Figure(name, note, metric, None, None)
    behind = history.training_metric(training_metric)
    description = (
        f"{metric} of the global model over {len(points)} rounds, from {score(points[0][1])} to "
        f"{score(points[-1][1])}; {better}. Behind it {training_metric} of {len(behind)} silos."
    )
    drawing = line_chart(f"{name} by round", description, points, behind, flagged, most)
    return Figure(name, note, metric, drawing, training_metric if behind else None)


def _rounds(history: RunHistory) -> Table:
    metrics = (AUC, LOSS, ACCURACY)
    columns, evaluations = [history.metric(name) for name in metrics], history.evaluations()
    rows = []
    for rounds_done in history.rounds:
        count = evaluations.get(rounds_done)
        evaluated = NONE if count is None else f"{count} of {len(history.silos)}"
        closed = history.closed.get(rounds_done)
        after = NONE if closed is None else f"{closed - history.start:.1f}"
        rows.append([rounds_done, *(_score(column.get(rounds_done)) for column in columns), evaluated, after])
    return Table("The global model", ["Rounds done", *metrics, "Silos that evaluated", "After (s)"], rows)


# --- silos


@dataclass(frozen=True)
class Gauge:
    """A number with its bar."""

    text: str
    width: str
    """The length of the bar, in percent of the longest."""
    tick: str | None = None
    """Where the value of all silos is, in percent."""


@dataclass(frozen=True)
class Silo:
    """A row of the table of silos: its name, its state, and its numbers, None for one that nobody recorded."""

    name: str
    state: str
    gauges: Sequence[Gauge | None]


def silos(history: RunHistory) -> list[Silo]:
    """A row for each silo: how good the newest global model is on its data, and how much it trained on."""
    metrics = [(history.metric_by_silo(name), history.last(name)) for name in (AUC, ACCURACY)]
    newest = max((line.round or 0 for by_silo, _ in metrics for line in by_silo.values()), default=0)
    samples = {silo: history.status(silo).samples for silo in history.silos}
    most = max([1, *(count for count in samples.values() if count)])
    rows = []
    for silo, count in samples.items():
        gauges = [_share(by_silo.get(silo), overall) for by_silo, overall in metrics]
        gauges.append(None if count is None else Gauge(f"{count:,.0f}", f"{count / most:.1%}"))
        rounds = [by_silo[silo].round or 0 for by_silo, _ in metrics if silo in by_silo]
        rows.append(Silo(silo, _silo_state(history, silo, min(rounds, default=newest), newest), gauges))
    return rows


def _share(line: LedgerLine | None, overall: LedgerLine | None) -> Gauge | None:
    """The gauge of a metric that lies between 0 and 1."""
    if line is None:
        return None
    return Gauge(_score(line), f"{line.value:.1%}", None if overall is None else f"{overall.value:.1%}")


def _silo_state(history: RunHistory, silo: str, evaluated: int, newest: int) -> str:
    """The silo's state in words; ``evaluated`` is the number of rounds done before its oldest score."""
    state = [_words(history.state(silo)) or "No status"]
    state += ["no word since"] if silo in history.lost and history.state(silo) else []
    state += [f"scores after {evaluated} rounds"] if evaluated < newest else []
    return ", ".join(state)


# --- the timeline


@dataclass(frozen=True)
class Timeline:
    """Who did what when, and for how long."""

    drawing: Drawing
    note: str
    table: Table


def activity(history: RunHistory) -> Timeline | None:
    """The timeline of all parties; None if no party recorded what it did."""
    bars, marks = _bars(history), _marks(history)
    count = sum(map(len, bars.values()))
    if not count or not history.seconds:
        return None
    note = "Time since the start of the run. Point at a bar for its round and length."
    if is_dense(bars):
        note = f"Time since the start of the run. {count:,} spans are too many to draw one by one: each column stands "
        note += f"for {duration(history.seconds / COLUMNS)}, and the heights in it are the shares of that time."
    description = f"{len(bars)} parties over {duration(history.seconds)}; the table that follows has the sums."
    drawing = timeline("Who did what when", description, bars, marks, history.seconds)
    return Timeline(drawing, note, _spent(bars))


def _bars(history: RunHistory) -> dict[str, list[Bar]]:
    bars: dict[str, list[Bar]] = {party: [] for party in history.run.parties}
    for line in history.lines:
        if line.kind == LineKind.SPAN:
            start, end = line.start - history.start, line.time - history.start
            hint = f"{line.name}{_where(line)}: {duration(end - start)}, from {duration(start)}"
            bars[line.party].append(Bar(line.name if line.name in THICKNESS else OTHER, start, end, hint))
    return bars


def _marks(history: RunHistory) -> dict[str, list[Mark]]:
    marks: dict[str, list[Mark]] = {party: [] for party in history.run.parties}
    for line in history.notable_events():
        time = line.time - history.start
        glyph = Glyph.CLOSED if line.name == Event.DEADLINE else Glyph.EVENT
        marks[line.party].append(Mark(time, glyph, f"{duration(time)}{_where(line)}: {_told(line)}"))
    for party in history.lost:
        heard = history.last_word(party)
        if heard is not None:
            marks[party].append(Mark(heard, Glyph.LOST, f"{duration(heard)}: last word of {party}"))
    return marks


def _spent(bars: dict[str, list[Bar]]) -> Table:
    spent = {party: dict.fromkeys(THICKNESS, 0.0) for party in bars}
    for party, of_party in bars.items():
        for bar in of_party:
            spent[party][bar.kind] += bar.end - bar.start
    kinds = [kind for kind in THICKNESS if any(took[kind] for took in spent.values())]
    rows = [[party, *(f"{took[kind]:.1f}" for kind in kinds)] for party, took in spent.items()]
    return Table("Seconds spent by each party", ["Party", *kinds], rows)


# --- events and parameters


@dataclass(frozen=True)
class Events:
    """What the parties recorded, repetitions as one row, without the openings of rounds."""

    table: Table
    note: str


def events(history: RunHistory) -> Events:
    """The events in the order of time."""
    notable = history.notable_events()
    groups = [list(group) for _, group in groupby(notable, lambda line: (line.party, _told(line)))]
    rows = []
    for first, *more in groups[:MAX_EVENTS]:
        rounds = NONE if first.round is None else f"{first.round} to {more[-1].round}" if more else first.round
        told = f"{_told(first)} ({len(more) + 1} times)" if more else _told(first)
        rows.append([_utc(first.time), f"{first.time - history.start:.1f}", first.party, rounds, told])
    openings = sum(line.kind == LineKind.EVENT for line in history.lines) - len(notable)
    notes = [f"Not listed: openings and closings of rounds ({openings})."] if openings else []
    notes += [] if groups else ["Nothing else was noted."]
    notes += [f"{len(groups) - MAX_EVENTS} later rows are left out."] if len(groups) > MAX_EVENTS else []
    return Events(Table("In the order of time", ["Time", "After (s)", "Party", "Round", "What"], rows), " ".join(notes))


def parameters(history: RunHistory) -> list[Table]:
    """What the run was asked to do, and what the aggregator recorded of it."""
    run = history.run
    asked = {name: getattr(run, name) for name in ("federation", "workload", "rounds", "quorum", "fraction", "seed")}
    longer = (f"{silo} {duration(seconds)}" for silo, seconds in run.deadlines.items())
    asked["deadline"] = "; ".join([duration(run.deadline_seconds), *longer])
    asked["silos"] = ", ".join(run.silos)
    asked["local models"] = local_models({silo: history.status(silo) for silo in run.silos}) or NONE
    asked["created"] = NONE if history.created is None else _utc(history.created)
    chosen, recorded = run.hyperparameters, history.status(AGGREGATOR).parameters
    named = {
        "Run": asked,
        "Hyperparameters chosen for it": chosen,
        "As recorded by the aggregator": recorded,
    }
    return [
        Table(title, [], [[name, NONE if value == "" else clip(str(value))] for name, value in values.items()])
        for title, values in named.items()
        if values
    ]


def experiments(history: RunHistory) -> str:
    """The parties' experiments in SageMaker."""
    named = {party: history.status(party).experiment for party in history.run.parties}
    return ", ".join(f"{experiment} ({party})" for party, experiment in named.items() if experiment) or "none recorded"


def _score(line: LedgerLine | None) -> str:
    return NONE if line is None else score(line.value, line.bound)


def _words(state: PartyState | None) -> str:
    """The state in words; empty for a party without one."""
    return "" if state is None else state.capitalize()


def _where(line: LedgerLine) -> str:
    return "" if line.round is None else f", round {line.round}"


def _told(line: LedgerLine) -> str:
    """An event in words."""
    return line.name.replace("_", " ").capitalize() + (f": {line.text}" if line.text else "")


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
