"""Following a log: each line is shown once, whatever part of the log is sent."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fedsilo.admin.logs import LINE_LIMIT, LogFollower


@settings(max_examples=100)
@given(st.binary(max_size=300), st.integers(1, 120), st.lists(st.integers(1, 60), max_size=6))
def test_a_log_that_grows_is_shown_once_and_whole(log: bytes, kept: int, steps: list[int]) -> None:
    """As long as less than what is kept comes at a time."""
    follower, end, shown = LogFollower(), 0, list[str]()
    for step in steps:
        end = min(end + step, len(log))
        shown += follower.new_lines(log[:end], last=False)
    shown += follower.new_lines(log, last=True)
    expected = list(LogFollower().new_lines(log, last=True))
    # A character that a step cuts in two, or \r\n, is shown as two.
    assert "".join(shown).replace("�", "")[: len(expected)] == "".join(expected).replace("�", "")[: len(expected)]


def test_a_log_whose_beginning_is_cut_off_is_shown_once() -> None:
    lines = [f"{number} {'x' * (number % 37)}\n" for number in range(2000)]
    follower, shown = LogFollower(), list[str]()
    for end in range(0, 2001, 40):
        shown += follower.new_lines("".join(lines[max(0, end - 100) : end]).encode()[3:], last=False)
    assert [line.split()[0] for line in shown] == [str(number) for number in range(1, 2000)]


def test_a_line_without_an_end_is_shown_when_nothing_will_follow() -> None:
    follower = LogFollower()
    assert list(follower.new_lines(b"one\ntw", last=False)) == ["one"]
    assert list(follower.new_lines(b"one\ntw", last=False)) == []
    assert list(follower.new_lines(b"one\ntwo", last=True)) == ["two"]


def test_a_line_is_shown_as_plain_text_of_bounded_length() -> None:
    [shown] = LogFollower().new_lines(b"\x1b[2J\t" + b"x" * 2 * LINE_LIMIT, last=True)
    assert shown.startswith("\N{REPLACEMENT CHARACTER}[2J")
    assert len(shown) == LINE_LIMIT


def test_an_empty_log_shows_nothing_and_forgets_nothing() -> None:
    follower = LogFollower()
    assert list(follower.new_lines(b"one\n", last=False)) == ["one"]
    assert list(follower.new_lines(b"", last=False)) == []
    assert list(follower.new_lines(b"one\ntwo\n", last=False)) == ["two"]
