"""The geometry of the line chart."""

import itertools

import pytest

from fedsilo.report import charts
from fedsilo.report.charts import Axes


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


@pytest.mark.parametrize("points", [[(1.0, 0.5)], [(1.0, 0.2), (9.0, 0.9)], [(1.0, -3.0), (2.0, 1e12)]])
def test_the_axes_hold_every_point(points: charts.Points) -> None:
    axes = Axes.around(points, most=float("inf"))
    for x, y in axes.place(points):
        assert charts.LEFT <= x <= charts.RIGHT
        assert charts.TOP <= y <= charts.BOTTOM


def test_the_y_axis_ends_at_the_largest_possible_value_and_at_zero() -> None:
    axes = Axes.around([(1.0, 0.001), (2.0, 0.999)], most=1.0)
    assert (axes.y_low, axes.y_high) == (0.0, 1.0)


def test_names_of_lines_that_end_together_do_not_overlap() -> None:
    line = [(1.0, 0.5), (2.0, 0.5)]
    drawing = charts.line_chart("", "", line, {f"silo-{number}": line for number in range(8)}, [], most=1.0)
    names = ("silo-name", "global-name")
    rows = sorted(float(str(shape.attributes["y"])) for shape in drawing.shapes if shape.attributes["class"] in names)
    assert len(rows) == 9
    assert all(lower - upper >= 11.9 for upper, lower in itertools.pairwise(rows))


def test_a_long_run_shows_its_values_at_a_limited_number_of_places() -> None:
    drawing = charts.line_chart("", "", [(float(x), 0.5) for x in range(1, 1001)], {}, [], most=1.0)
    hovers = [shape for shape in drawing.shapes if shape.attributes["class"] == "hover"]
    assert len(hovers) == charts.MAX_HOVERS
    assert hovers[0].hint == "1 rounds done\nglobal: 0.500"
