"""Values are written as people write them, and nothing that a terminal would act on is left in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.text import NONE, ago, clip, duration, members, plain, score


@pytest.mark.parametrize(
    ("seconds", "written"),
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
def test_durations_are_written_as_people_would(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_a_time_in_the_past_is_rounded_to_seconds() -> None:
    assert [ago(seconds) for seconds in (None, 0.04, 545.2)] == ["never", "0 s ago", "9 min 5 s ago"]


def test_a_metric_has_three_digits() -> None:
    assert [score(value) for value in (None, 0.87654, -0.5, 123456.0)] == [NONE, "0.877", "-0.500", "1.23e+05"]


def test_the_bound_of_a_metric_is_rounded_up() -> None:
    found = [score(0.87654, bound) for bound in (0.0, 0.0012, 0.002, 0.00031, 1e-9, 0.0095)]
    assert found == ["0.877", "0.877 ± 0.002", "0.877 ± 0.002", "0.877 ± 0.0004", "0.877 ± 0.0001", "0.877 ± 0.01"]


def test_a_long_text_is_cut_and_ends_with_an_ellipsis() -> None:
    assert [clip("silo", 4), clip("silos", 4), plain("silo", 4), plain("silos", 4)] == ["silo", "sil…", "silo", "sil…"]


def test_many_names_are_counted() -> None:
    assert [members([]), members(["a", "b"]), members(list("abcdefg"))] == ["", "a, b", "a, b, c, d, e, and 2 more"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, ""), (7, "7"), ("a\nb", "a b"), ("\x1b[2Jä", "�[2Jä"), ("\u202e\ud800", "��")],
)
def test_a_text_is_plain(value: object, written: str) -> None:
    assert plain(value) == written


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
