"""The geometry of the report's line chart, as shapes that ``report.html.j2`` writes as SVG.

Colours and fonts are classes of ``report.css``. Nothing here knows what a run is.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fedsilo.text import clip

Points = Sequence[tuple[float, float]]
"""(x, y) pairs in the order of x."""

MAX_HOVERS = 125
"""Places of a line chart that show their values under the pointer."""

MAX_NAMED = 8
"""A chart of more silos does not name them at the ends of their lines."""

MAX_DOTS = 60
"""A line of more points has a dot at its end only."""

WIDTH, HEIGHT = 480, 270
"""The size of a line chart, in units of its own."""

LEFT, RIGHT, TOP, BOTTOM = 46, 378, 10, 232
"""The edges of the area in which the lines are."""


@dataclass(frozen=True)
class Shape:
    """An element of a drawing."""

    tag: str
    attributes: Mapping[str, object]
    text: str = ""
    hint: str = ""
    """What the pointer shows over it."""


@dataclass(frozen=True)
class Drawing:
    """A drawing that scales to the page."""

    title: str
    description: str
    """What it shows, for a reader who can't see it."""
    width: int
    height: int
    shapes: Sequence[Shape] = field(repr=False)


def text(x: float, y: float, words: str, style: str | None = None) -> Shape:
    """A text. It starts at (x, y), or has its middle or end there if ``style`` says so."""
    return Shape("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": style}, words)


def path(d: str, style: str, hint: str = "", **attributes: object) -> Shape:
    """A line or an area; ``d`` is what SVG calls path data."""
    return Shape("path", {"d": d, "class": style, **attributes}, hint=hint)


def ticks(low: float, high: float, steps: Sequence[float] = ()) -> list[float]:
    """At most seven round numbers from ``low`` to ``high``.

    Args:
        low: The first number that may be a tick.
        high: The last one.
        steps: Distances between ticks to try before 1, 2 and 5 times the powers of 10.
    """
    least = (high - low) / 6 or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step for step in (*steps, power, 2 * power, 5 * power, 10 * power) if step >= least)
    return [step * count for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Axes:
    """The ranges of a line chart's values, and where in the chart a value is."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, points: Points, most: float) -> "Axes":
        """Axes on which all points lie; the y axis has room above and below them, but ends at ``most`` and at 0."""
        xs, ys = zip(*points, strict=True)
        low, high = min(ys), max(ys)
        size = max(1.0, abs(low), abs(high))
        pad = (high - low) * 0.06 if high - low > 1e-6 * size else 0.05 * size
        return cls(min(xs), max(xs), max(low - pad, 0.0) if low >= 0 else low - pad, min(high + pad, most))

    def x(self, value: float) -> float:
        """How far to the right a value is."""
        share = (value - self.x_low) / (self.x_high - self.x_low) if self.x_high > self.x_low else 1.0
        return LEFT + (RIGHT - LEFT) * share

    def y(self, value: float) -> float:
        """How far down a value is."""
        return BOTTOM - (BOTTOM - TOP) * (value - self.y_low) / (self.y_high - self.y_low)

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Where the points are."""
        return [(self.x(x), self.y(y)) for x, y in points]


def line_chart(
    title: str, description: str, line: Points, behind: Mapping[str, Points], flagged: Iterable[float], most: float
) -> Drawing:
    """Draw a metric of the global model over the rounds done, and the silos' own faintly behind it.

    Args:
        title: The title of the drawing.
        description: What it shows, in words.
        line: The global model's (rounds done, value); not empty.
        behind: The silos' (rounds done, value), by silo; none is empty.
        flagged: The rounds done that get a mark on the axis.
        most: The largest value that the metric can have.
    """
    axes = Axes.around([*line, *(point for points in behind.values() for point in points)], most)
    marks = "".join(f"M{axes.x(x) - 3:.1f} {BOTTOM + 6}h6l-3-5z" for x in flagged if axes.x_low <= x <= axes.x_high)
    shapes = [
        *_grid(axes),
        *_lines(axes, line, behind),
        *_names(axes, line, behind),
        path(marks, "flag"),
        *_hovers(axes, line, behind),
    ]
    return Drawing(title, description, WIDTH, HEIGHT, shapes)


def _grid(axes: Axes) -> Iterator[Shape]:
    """The ticks of both axes, and the x axis's name."""
    y_ticks = ticks(axes.y_low, axes.y_high)
    decimals = max(0, -math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9)) if len(y_ticks) > 1 else 2
    for y in y_ticks:
        yield path(f"M{LEFT} {axes.y(y):.1f}H{RIGHT}", "grid")
        label = f"{y:.{decimals}f}" if abs(y) < 1e5 else f"{y:.2g}"
        yield text(LEFT - 7, axes.y(y) + 4, label, "end")
    for x in ticks(axes.x_low, axes.x_high, (1, 2, 5)):
        yield text(axes.x(x), BOTTOM + 18, f"{x:.0f}", "mid")
    yield text((LEFT + RIGHT) / 2, HEIGHT - 4, "Rounds done", "mid")


def _lines(axes: Axes, line: Points, behind: Mapping[str, Points]) -> Iterator[Shape]:
    for silo, points in behind.items():
        placed = axes.place(points)
        yield path(_through(placed), "silo", hint=silo)
        yield _dot(*placed[-1], "silo-dot")
    placed = axes.place(line)
    yield path(_through(placed), "global")
    for x, y in placed if len(placed) <= MAX_DOTS else placed[-1:]:
        yield _dot(x, y, "global-dot")


def _through(places: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _dot(x: float, y: float, style: str) -> Shape:
    return Shape("circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 2.4, "class": style})


def _names(axes: Axes, line: Points, behind: Mapping[str, Points]) -> Iterator[Shape]:
    """The names at the ends of the lines: beside the chart in rows that don't overlap, or above an early end."""
    named = behind if len(behind) <= MAX_NAMED else {}
    ends = [(*axes.place(points)[-1], clip(silo, 14), "silo-name") for silo, points in named.items()]
    ends.append((*axes.place(line)[-1], "global", "global-name"))
    for x, y, name, style in ends:
        if x < RIGHT - 70:
            yield text(x + 5, y - 4, name, style)
    beside = sorted((y, name, style) for x, y, name, style in ends if x >= RIGHT - 70)
    lowest = TOP - 7.0
    for row, (y, name, style) in enumerate(beside, 1):
        lowest = max(min(y + 4, BOTTOM + 8 - 12 * (len(beside) - row)), lowest + 12)
        yield text(RIGHT + 9, lowest, name, style)


def _hovers(axes: Axes, line: Points, behind: Mapping[str, Points]) -> Iterator[Shape]:
    """Invisible bands that show the values of a round under the pointer."""
    every_nth = math.ceil(len(line) / MAX_HOVERS)
    width = (RIGHT - LEFT) / max(1, len(line) - 1) * every_nth
    known = {silo: dict(points) for silo, points in behind.items()}
    for x, y in line[::every_nth]:
        values = [f"{silo}: {values[x]:.3f}" for silo, values in known.items() if x in values][:MAX_NAMED]
        hint = "\n".join([f"{x:.0f} rounds done", f"global: {y:.3f}", *values])
        box = {"x": f"{axes.x(x) - width / 2:.1f}", "y": TOP, "width": f"{width:.1f}", "height": BOTTOM - TOP}
        yield Shape("rect", {"class": "hover", **box}, hint=hint)
