"""The geometry of the report's timeline: a lane for each party with what it did when.

Times are in seconds since the run's start.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fedsilo.report.charts import Drawing, Shape, path, text, ticks
from fedsilo.states import Span
from fedsilo.text import clip, duration

OTHER = "other"
"""Stands for a span that is not one of ``Span``."""

THICKNESS = {
    Span.START: 9,
    Span.TRAIN: 18,
    Span.AGGREGATE: 18,
    Span.EVALUATE: 13,
    Span.MAIL: 8,
    Span.WAIT: 2,
    OTHER: 4,
}
"""The thickness of each kind of bar, which tells kinds apart besides the colour."""

MAX_BARS = 1500
"""A timeline of more bars shows shares of time: so many bars can't be told apart, and would make the page heavy."""

COLUMNS = 240
"""The columns into which a timeline of shares divides its time."""

MAX_DEADLINES = 40
"""A lane with more marks does not draw a line at each deadline."""

WIDTH, LANE_LEFT, LANE_WIDTH, LANE_HEIGHT, TOP = 1000, 136, 854, 34, 34
"""The size of the drawing and of its lanes, in units of its own."""

TICK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
"""The distances between ticks that people count in."""


class Glyph(StrEnum):
    """What marks a moment in a lane; the word is its class in the style sheet."""

    CLOSED = "closed"
    EVENT = "event"
    LOST = "lost"


GLYPHS = {
    Glyph.CLOSED: ("M-5-5H5L0 3z", "closed without all silos"),
    Glyph.EVENT: ("M0-5 4 0 0 5-4 0z", "event"),
    Glyph.LOST: ("M-4-4 4 4M4-4-4 4", "last word"),
}
"""The path of each glyph around (0, 0), and its name in the legend."""


@dataclass(frozen=True)
class Bar:
    """What a party did for a while."""

    kind: str
    """A key of ``THICKNESS``."""
    start: float
    end: float
    hint: str


@dataclass(frozen=True)
class Mark:
    """A moment in a party's lane."""

    time: float
    glyph: Glyph
    hint: str


def timeline(
    title: str,
    description: str,
    bars: Mapping[str, Sequence[Bar]],
    marks: Mapping[str, Sequence[Mark]],
    seconds: float,
) -> Drawing:
    """Draw a lane for each party.

    Args:
        title: The title of the drawing.
        description: What it shows, in words.
        bars: What each party did, by party. If they are more than ``MAX_BARS``, the lanes show shares of time.
        marks: The moments to mark, by party.
        seconds: How long the run took; more than 0.
    """
    bottom, scale = TOP + LANE_HEIGHT * len(bars), LANE_WIDTH / seconds
    lane = _shares if is_dense(bars) else _bars
    kinds = {bar.kind for of_party in bars.values() for bar in of_party}
    glyphs = {mark.glyph for of_party in marks.values() for mark in of_party}
    shapes = list(_legend([kind for kind in THICKNESS if kind in kinds], [each for each in GLYPHS if each in glyphs]))
    for second in ticks(0, seconds, TICK_SECONDS):
        x = LANE_LEFT + second * scale
        shapes += [path(f"M{x:.1f} {TOP}V{bottom}", "grid"), text(x, bottom + 18, duration(second), "mid")]
    for row, (party, of_party) in enumerate(bars.items()):
        middle = TOP + LANE_HEIGHT * (row + 0.5) + 3
        shapes.append(text(LANE_LEFT - 10, middle + 4, clip(party, 20), "end name"))
        shapes += lane(of_party, scale, middle)
        shapes += _marks(marks[party], scale, middle, f"M0 {TOP - middle + 12}V{bottom - middle + 12}")
    return Drawing(title, description, WIDTH, bottom + 28, shapes)


def is_dense(bars: Mapping[str, Sequence[Bar]]) -> bool:
    """Whether there are too many bars to draw each of them."""
    return sum(map(len, bars.values())) > MAX_BARS


def _bars(bars: Sequence[Bar], scale: float, middle: float) -> Iterator[Shape]:
    """A shape for each bar, the thin kinds first, so that work covers waiting."""
    for bar in sorted(bars, key=lambda bar: THICKNESS[bar.kind]):
        thick = THICKNESS[bar.kind]
        box = {"x": f"{LANE_LEFT + bar.start * scale:.1f}", "y": f"{middle - thick / 2:.1f}", "height": thick}
        width = f"{max(0.8, (bar.end - bar.start) * scale):.1f}"
        yield Shape("rect", {"width": width, "class": bar.kind, **box}, hint=bar.hint)


def _shares(bars: Sequence[Bar], scale: float, middle: float) -> Iterator[Shape]:
    """A stack in each column, as high as the share of the column's time that each kind took."""
    column, width = LANE_WIDTH / scale / COLUMNS, LANE_WIDTH / COLUMNS
    spent = _spent(bars, column)
    unit = [24 / max(column, sum(took[index] for took in spent.values())) for index in range(COLUMNS)]
    base = [middle + 12] * COLUMNS
    for kind, took in spent.items():
        boxes = []
        for index in range(COLUMNS):
            high = took[index] * unit[index]
            base[index] -= high
            if high >= 0.1:
                boxes.append(f"M{LANE_LEFT + index * width:.1f} {base[index]:.1f}h{width:.2f}v{high:.1f}h-{width:.2f}z")
        yield path("".join(boxes), kind)


def _spent(bars: Sequence[Bar], column: float) -> dict[str, list[float]]:
    """The seconds of each kind in each column; a column is ``column`` seconds long."""
    spent: dict[str, list[float]] = {kind: [0.0] * COLUMNS for kind in THICKNESS}
    for bar in bars:
        for index in range(int(bar.start / column), min(COLUMNS, int(bar.end / column) + 1)):
            inside = min(bar.end, (index + 1) * column) - max(bar.start, index * column)
            spent[bar.kind][index] += max(0.0, inside)
    return spent


def _marks(marks: Sequence[Mark], scale: float, middle: float, deadline: str) -> Iterator[Shape]:
    """A glyph for each mark, one for marks that lie too close together; ``deadline`` is the line at a closed round."""
    groups: dict[tuple[Glyph, int], list[Mark]] = {}
    for mark in marks:
        groups.setdefault((mark.glyph, int(mark.time * scale / 5)), []).append(mark)
    for (glyph, _), group in groups.items():
        more = [f"and {len(group) - 5} more"] if len(group) > 5 else []
        hint = "\n".join([*(mark.hint for mark in group[:5]), *more])
        above = 0 if glyph is Glyph.LOST else 12
        place = f"translate({LANE_LEFT + group[0].time * scale:.1f} {middle - above:.1f})"
        if glyph is Glyph.CLOSED and len(groups) <= MAX_DEADLINES:
            yield path(deadline, "deadline", transform=place)
        yield path(GLYPHS[glyph][0], f"mark {glyph}", hint, transform=place)


def _legend(kinds: Sequence[str], glyphs: Sequence[Glyph]) -> Iterator[Shape]:
    """The colours and glyphs with their names, in one row."""
    x = float(LANE_LEFT)
    for kind in kinds:
        thick = max(2.0, THICKNESS[kind] * 0.7)
        box = {"x": x, "y": f"{12 - thick / 2:.1f}", "width": 14, "height": f"{thick:.1f}"}
        yield Shape("rect", {"class": kind, **box})
        yield text(x + 20, 16, kind)
        x += 44 + 6 * len(kind)
    for glyph in glyphs:
        drawn, name = GLYPHS[glyph]
        yield path(drawn, f"mark {glyph}", transform=f"translate({x + 7} 12)")
        yield text(x + 20, 16, name)
        x += 44 + 6 * len(name)
