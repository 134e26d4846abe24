"""``fedsilo spec``: the federation's file."""

import typer

from fedsilo.cli import options
from fedsilo.cli.options import AsJson, SpecFile
from fedsilo.errors import SpecError

app = typer.Typer(cls=options.Group, help="The federation's file.", no_args_is_help=True)


@app.callback()
def spec() -> None:
    """The federation's file."""


@app.command(epilog=options.ALL)
def check(as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Check the federation's file, without asking AWS."""
    from fedsilo import terminal
    from fedsilo.config import federation as spec

    try:
        described = spec.load(federation)
    except SpecError as error:
        if not as_json:
            raise
        terminal.print_json({"file": str(federation), "ok": False, "problems": str(error).splitlines()})
        raise typer.Exit(options.ERROR) from error
    silos = [silo.name for silo in described.silos]
    if as_json:
        terminal.print_json(
            {"file": str(federation), "ok": True, "problems": [], "federation": described.name, "silos": silos}
        )
        return
    where = described.aggregator.region
    terminal.console().print(
        f"{federation}: ok: federation {described.name}, aggregator in {where}, {len(silos)} silos: {', '.join(silos)}",
        soft_wrap=True,
    )
