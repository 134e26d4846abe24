"""The markup that the report is made of, and its two drawings: a line chart and a timeline, as SVG.

Knows nothing of runs. All markup is built with ``el``, which escapes whatever is not markup already: what another party
wrote can't become markup. Colours and fonts are classes of the page's style sheet.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fedsilo.text import clip, duration

Points = Sequence[tuple[float, float]]
"""(x, y) pairs in the order of x."""

KINDS = {"start": 9, "train": 18, "aggregate": 18, "evaluate": 13, "mail": 8, "wait": 2, "other": 4}
"""What a party can be doing, and the thickness of its bar: a second cue beside the colour."""

GLYPHS = {
    "closed": ("M-5-5H5L0 3z", "closed without all silos"),
    "event": ("M0-5 4 0 0 5-4 0z", "event"),
    "lost": ("M-4-4 4 4M4-4-4 4", "last word"),
}
"""What marks a moment on a timeline: a path around (0, 0), and its name."""

MAX_TEXT = 2000
"""Characters of a single text; what another party wrote may be of any length."""

MAX_HOVERS = 125
"""Places of a line chart that show their values under the pointer."""

MAX_SPANS = 1500
"""A timeline of more spans shows shares of time: so many bars can't be told apart, and would make the page heavy."""

COLUMNS = 240
"""The columns into which a timeline of shares divides its time."""


class Html(str):
    """Text that is markup already."""


def el(tag: str, *children: object, **attributes: object) -> Html:
    """An element. Children that are not ``Html``, and all attributes, are escaped; ``class_`` is ``class``."""
    head = "".join(f' {name.rstrip("_")}="{html.escape(str(value))}"' for name, value in attributes.items())
    return Html(f"<{tag}{head}>{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Html:
    """The children one after the other, those that are not ``Html`` cut to MAX_TEXT characters and escaped."""
    return Html("".join(x if isinstance(x, Html) else html.escape(clip(str(x))) for x in children))


def ticks(low: float, high: float, steps: Sequence[float] = ()) -> list[float]:
    """At most seven round numbers in [low, high]; ``steps`` are distances to try before 1, 2, 5 times powers of 10."""
    least = (high - low) / 6 or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step for step in (*steps, power, 2 * power, 5 * power, 10 * power) if step >= least)
    return [step * count for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def svg(width: int, height: int, title: str, description: str, *children: object) -> Html:
    """A drawing that scales to the page, with its title and description for who can't see it."""
    return el(
        "svg", el("title", title), el("desc", description), *children, viewBox=f"0 0 {width} {height}", role="img"
    )


def _text(x: float, y: float, text: object, **attributes: object) -> Html:
    return el("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def _dot(x: float, y: float, style: str) -> Html:
    return el("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.4, class_=style)


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def line_chart(
    title: str, description: str, line: Points, behind: Mapping[str, Points], flagged: Iterable[float], most: float
) -> Html:
    """The global model's ``line`` over the rounds done, and the silos' faint behind it, with their names at the ends.

    No line is empty. ``flagged`` are the places that get a mark on the axis. The y axis ends at ``most``.
    """
    width, height, left, right, top, bottom = 480, 270, 46, 378, 10, 232
    every = [*line, *(point for points in behind.values() for point in points)]
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_low, y_high = min(y for _, y in every), max(y for _, y in every)
    size = max(1.0, abs(y_low), abs(y_high))
    pad = (y_high - y_low) * 0.06 if y_high - y_low > 1e-6 * size else 0.05 * size
    y_low, y_high = max(y_low - pad, 0.0) if y_low >= 0 else y_low - pad, min(y_high + pad, most)

    def across(x: float) -> float:
        return left + (right - left) * ((x - x_low) / (x_high - x_low) if x_high > x_low else 1.0)

    def down(y: float) -> float:
        return bottom - (bottom - top) * (y - y_low) / (y_high - y_low)

    parts: list[Html] = []
    y_ticks = ticks(y_low, y_high)
    decimals = max(0, -math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9)) if len(y_ticks) > 1 else 2
    for y in y_ticks:
        parts.append(el("path", d=f"M{left} {down(y):.1f}H{right}", class_="grid"))
        label = f"{y:.{decimals}f}" if abs(y) < 1e5 else f"{y:.2g}"
        parts.append(_text(left - 7, down(y) + 4, label, class_="end"))
    for x in ticks(x_low, x_high, (1, 2, 5)):
        parts.append(_text(across(x), bottom + 18, f"{x:.0f}", class_="mid"))
    parts.append(_text((left + right) / 2, height - 4, "Rounds done", class_="mid"))

    ends = []
    for silo, points in behind.items():
        drawn = [(across(x), down(y)) for x, y in points]
        parts.append(el("path", el("title", silo), d=_path(drawn), class_="silo"))
        parts.append(_dot(*drawn[-1], "silo-dot"))
        if len(behind) <= 8:
            ends.append((*drawn[-1], clip(silo, 14), "silo-name"))
    drawn = [(across(x), down(y)) for x, y in line]
    parts.append(el("path", d=_path(drawn), class_="global"))
    for x, y in drawn if len(drawn) <= 60 else drawn[-1:]:
        parts.append(_dot(x, y, "global-dot"))
    ends.append((*drawn[-1], "global", "global-name"))
    parts += [_text(x + 5, y - 4, text, class_=style) for x, y, text, style in ends if x < right - 70]
    beside = sorted((y, text, style) for x, y, text, style in ends if x >= right - 70)
    lowest = top - 7.0
    for row, (y, text, style) in enumerate(beside, 1):
        lowest = max(min(y + 4, bottom + 8 - 12 * (len(beside) - row)), lowest + 12)
        parts.append(_text(right + 9, lowest, text, class_=style))
    marks = "".join(f"M{across(x) - 3:.1f} {bottom + 6}h6l-3-5z" for x in flagged if x_low <= x <= x_high)
    parts.append(el("path", d=marks, class_="flag"))

    every_nth = math.ceil(len(line) / MAX_HOVERS)
    wide = (right - left) / max(1, len(line) - 1) * every_nth
    at = {silo: dict(points) for silo, points in behind.items()}
    for x, y in line[::every_nth]:
        values = [f"{silo}: {known[x]:.3f}" for silo, known in at.items() if x in known][:8]
        hint = "\n".join([f"{x:.0f} rounds done", f"global: {y:.3f}", *values])
        band = {"x": f"{across(x) - wide / 2:.1f}", "y": top, "width": f"{wide:.1f}", "height": bottom - top}
        parts.append(el("rect", el("title", hint), class_="hover", **band))
    return svg(width, height, title, description, *parts)


LANE_LEFT, LANE_WIDTH, LANE_HEIGHT = 136, 854, 34
"""Where the lanes of a timeline lie in its 1000 units of width, and how high one is."""


class Span(NamedTuple):
    """What a party did from ``start`` to ``end``, in seconds since the run started; ``kind`` is one of KINDS."""

    kind: str
    start: float
    end: float
    hint: str


class Mark(NamedTuple):
    """A moment in a party's lane, in seconds since the run started; ``glyph`` is one of GLYPHS."""

    time: float
    glyph: str
    hint: str


def timeline(
    title: str,
    description: str,
    lanes: Mapping[str, Sequence[Span]],
    marks: Mapping[str, Sequence[Mark]],
    seconds: float,
    dense: bool,
) -> Html:
    """A lane per party over ``seconds`` (more than 0): a bar per span or, where ``dense``, shares of time."""
    top = 34
    bottom = top + LANE_HEIGHT * len(lanes)
    scale = LANE_WIDTH / seconds
    parts: list[Html] = []
    for second in ticks(0, seconds, (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)):
        x = LANE_LEFT + second * scale
        parts.append(el("path", d=f"M{x:.1f} {top}V{bottom}", class_="grid"))
        parts.append(_text(x, bottom + 18, duration(second), class_="mid"))
    for row, (party, spans) in enumerate(lanes.items()):
        middle = top + LANE_HEIGHT * (row + 0.5) + 3
        parts.append(_text(LANE_LEFT - 10, middle + 4, clip(party, 20), class_="end name"))
        parts.append((_shares if dense else _bars)(spans, scale, middle))
        parts.append(_marks(marks[party], scale, middle, f"M0 {top - middle + 12}V{bottom - middle + 12}"))
    kinds = {span.kind for spans in lanes.values() for span in spans}
    glyphs = {mark.glyph for row_marks in marks.values() for mark in row_marks}
    legend = _legend([x for x in KINDS if x in kinds], [x for x in GLYPHS if x in glyphs])
    return svg(1000, bottom + 28, title, description, legend, *parts)


def _bars(spans: Sequence[Span], scale: float, middle: float) -> Html:
    """A bar per span, the thin kinds first, so that what was done lies over what was waited for."""
    bars = []
    for span in sorted(spans, key=lambda span: KINDS[span.kind]):
        thick = KINDS[span.kind]
        box = {"x": f"{LANE_LEFT + span.start * scale:.1f}", "y": f"{middle - thick / 2:.1f}", "height": thick}
        wide = max(0.8, (span.end - span.start) * scale)
        bars.append(el("rect", el("title", span.hint), width=f"{wide:.1f}", class_=span.kind, **box))
    return join(bars)


def _shares(spans: Sequence[Span], scale: float, middle: float) -> Html:
    """A stack per column, as high as the share of the column's time that each kind took."""
    column, wide = LANE_WIDTH / scale / COLUMNS, LANE_WIDTH / COLUMNS
    spent: dict[str, list[float]] = {kind: [0.0] * COLUMNS for kind in KINDS}
    for span in spans:
        for index in range(int(span.start / column), min(COLUMNS, int(span.end / column) + 1)):
            inside = min(span.end, (index + 1) * column) - max(span.start, index * column)
            spent[span.kind][index] += max(0.0, inside)
    unit = [24 / max(column, sum(took[index] for took in spent.values())) for index in range(COLUMNS)]
    base, paths = [middle + 12] * COLUMNS, []
    for kind, took in spent.items():
        boxes = []
        for index in range(COLUMNS):
            high = took[index] * unit[index]
            base[index] -= high
            if high >= 0.1:
                boxes.append(f"M{LANE_LEFT + index * wide:.1f} {base[index]:.1f}h{wide:.2f}v{high:.1f}h-{wide:.2f}z")
        paths.append(el("path", d="".join(boxes), class_=kind))
    return join(paths)


def _marks(marks: Sequence[Mark], scale: float, middle: float, line: str) -> Html:
    """A glyph per mark, those too close to be told apart as one; few enough closed rounds get ``line`` too."""
    groups: dict[tuple[str, int], list[Mark]] = {}
    for mark in marks:
        groups.setdefault((mark.glyph, int(mark.time * scale / 5)), []).append(mark)
    drawn = []
    for (glyph, _), group in groups.items():
        more = [f"and {len(group) - 5} more"] if len(group) > 5 else []
        hint = el("title", "\n".join([*(mark.hint for mark in group[:5]), *more]))
        place = f"translate({LANE_LEFT + group[0].time * scale:.1f} {middle - (0 if glyph == 'lost' else 12):.1f})"
        if glyph == "closed" and len(groups) <= 40:
            drawn.append(el("path", d=line, class_="deadline", transform=place))
        drawn.append(el("path", hint, d=GLYPHS[glyph][0], class_=f"mark {glyph}", transform=place))
    return join(drawn)


def _legend(kinds: Sequence[str], glyphs: Sequence[str]) -> Html:
    """The colours and glyphs with their names, in one row."""
    x, parts = float(LANE_LEFT), list[Html]()
    for key in (*kinds, *glyphs):
        if key in KINDS:
            thick = max(2.0, KINDS[key] * 0.7)
            box = {"x": x, "y": f"{12 - thick / 2:.1f}", "width": 14, "height": f"{thick:.1f}"}
            name, sign = key, el("rect", class_=key, **box)
        else:
            path, name = GLYPHS[key]
            sign = el("path", d=path, class_=f"mark {key}", transform=f"translate({x + 7} 12)")
        parts += [sign, _text(x + 20, 16, name)]
        x += 44 + 6 * len(name)
    return join(parts)
