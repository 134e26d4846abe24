"""The geometry of the timeline."""

from fedsilo.report.charts import Shape
from fedsilo.report.timeline import LANE_LEFT, LANE_WIDTH, MAX_BARS, Bar, Glyph, Mark, timeline
from fedsilo.states import Span


def of_class(shapes: list[Shape], style: str) -> list[Shape]:
    return [shape for shape in shapes if shape.attributes["class"] == style]


def drawn(bars: list[Bar], marks: list[Mark], seconds: float = 10.0) -> list[Shape]:
    return list(timeline("", "", {"hungary": bars}, {"hungary": marks}, seconds).shapes)


def test_a_bar_lies_where_its_time_is() -> None:
    _, bar = of_class(drawn([Bar(Span.TRAIN, 2.5, 7.5, "train")], []), "train")
    assert float(str(bar.attributes["x"])) == LANE_LEFT + LANE_WIDTH / 4
    assert float(str(bar.attributes["width"])) == LANE_WIDTH / 2
    assert bar.hint == "train"


def test_too_many_bars_become_the_shares_of_time() -> None:
    bars = [Bar(Span.TRAIN, 10 * n / 2000, 10 * (n + 0.5) / 2000, "") for n in range(MAX_BARS + 500)]
    shapes = of_class(drawn(bars, []), "train")
    assert [shape.tag for shape in shapes] == ["rect", "path"]  # the legend, and one path for the lane


def test_marks_that_lie_together_are_one_glyph_that_tells_of_five() -> None:
    marks = [Mark(5.0, Glyph.EVENT, f"event {number}") for number in range(7)]
    _, glyph = of_class(drawn([Bar(Span.WAIT, 0, 10, "")], marks), "mark event")
    assert glyph.hint.splitlines() == [*(f"event {number}" for number in range(5)), "and 2 more"]


def test_a_closed_round_draws_a_line_across_the_lanes_unless_there_are_many() -> None:
    few = [Mark(float(second), Glyph.CLOSED, "") for second in range(10)]
    many = [Mark(second / 10, Glyph.CLOSED, "") for second in range(100)]
    assert len(of_class(drawn([Bar(Span.WAIT, 0, 10, "")], few), "deadline")) == 10
    assert of_class(drawn([Bar(Span.WAIT, 0, 10, "")], many), "deadline") == []
