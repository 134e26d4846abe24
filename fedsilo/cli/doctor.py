"""``fedsilo doctor``: whether the operator can run the federation, and what to do where not."""

from typing import TYPE_CHECKING

import typer

from fedsilo.cli import options
from fedsilo.cli.options import AsJson, SpecFile

if TYPE_CHECKING:
    from fedsilo.admin.doctor import Check


def doctor(as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Check that all is there and allowed, or say what to do.

    File, credentials, clock, account, mail bucket, permissions, queues and agents, a line each.
    """
    from fedsilo import terminal
    from fedsilo.admin import doctor as checks

    options.connect(federation)
    found = list(checks.run(federation))
    if as_json:
        terminal.print_json([check.to_json() for check in found])
    else:
        terminal.console().print(terminal.table(("check", "", "found"), [_row(check) for check in found]))
    if any(check.verdict == checks.NOT_OK for check in found):
        raise typer.Exit(options.ERROR)


def _row(check: "Check") -> tuple[str, str, str]:
    todo = f"; {check.todo}" if check.todo else ""
    return check.name, check.verdict, check.found + todo
