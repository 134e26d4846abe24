"""How the command shows tables, times and JSON."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from fedsilo import terminal
from fedsilo.states import PartyState, Verdict


def shown(*rows: tuple[object, ...], colours: bool = False) -> str:
    screen = StringIO()
    console = Console(file=screen, width=80, force_terminal=colours, color_system="standard" if colours else None)
    console.print(terminal.table(("party", "round"), rows, right=("round",)))
    return screen.getvalue()


def test_a_value_that_does_not_exist_is_a_dash() -> None:
    assert [line.split() for line in shown(("hungary", None), ("", 0)).splitlines()[1:]] == [
        ["hungary", "-"],
        ["-", "0"],
    ]


def test_text_is_never_read_as_markup() -> None:
    assert "[red]hungary[/] :smile:" in shown(("[red]hungary[/] :smile:", 1))


@pytest.mark.parametrize(
    ("state", "colour"),
    [
        (PartyState.FINISHED, "32"),
        (Verdict.OK, "32"),
        (Verdict.WARN, "33"),
        (Verdict.FAIL, "31"),
        (terminal.AWAY, "31"),
    ],
)
def test_states_have_colours(state: str, colour: str) -> None:
    assert f"\x1b[{colour}m{state}" in shown((state, 1), colours=True)
    assert "\x1b[" not in shown((state, 1))


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"reason": "Grüße\x1b\u202e"})
    assert capsys.readouterr().out == '{\n  "reason": "Gr\\u00fc\\u00dfe\\u001b\\u202e"\n}\n'


def test_times_at_the_ends_of_the_calendar_do_not_raise() -> None:
    assert terminal.local(None) == ""
    for time in (datetime.min, datetime.max):
        terminal.local(time.replace(tzinfo=UTC))
