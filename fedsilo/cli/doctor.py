"""``fedsilo doctor``: whether the operator can run the federation, and what to do if not."""

import typer

from fedsilo import terminal
from fedsilo.admin.doctor import Check, run
from fedsilo.cli import group, options
from fedsilo.cli.options import AsJson, SpecFile
from fedsilo.states import CommandExit, Verdict

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def doctor(as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Check that you can run the federation.

    It checks the file, credentials, clock, account, mail bucket, permissions, queues and agents, and says what to do
    about each problem. It changes nothing.
    """
    options.use_local_federation(federation)
    checks = list(run(federation))
    if as_json:
        terminal.print_json([check.to_json() for check in checks])
    else:
        terminal.console().print(terminal.table(("check", "", "found"), [_row(check) for check in checks]))
    if any(check.verdict == Verdict.FAIL for check in checks):
        raise typer.Exit(CommandExit.ERROR)


def _row(check: Check) -> tuple[str, str, str]:
    todo = f"; {check.todo}" if check.todo else ""
    return check.name, check.verdict, check.found + todo
