"""Values read as people write them."""

import pytest

from fedsilo.text import duration


@pytest.mark.parametrize(
    ("seconds", "told"),
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
def test_durations_are_told_as_people_would(seconds: float, told: str) -> None:
    assert duration(seconds) == told
