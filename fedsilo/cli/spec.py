"""``fedsilo spec``: the federation's file."""

import typer

from fedsilo import terminal
from fedsilo.cli import group
from fedsilo.cli.options import SPEC_FILE, AsJson, SpecFile
from fedsilo.config.load import load_federation
from fedsilo.errors import SpecError
from fedsilo.states import CommandExit

app = group.new_app("Check the federation's file.")


@app.command(epilog=group.EXIT_CODES)
def check(as_json: AsJson = False, federation: SpecFile = SPEC_FILE) -> None:
    """Check the federation's file, without any call to AWS."""
    try:
        spec = load_federation(federation)
    except SpecError as error:
        if not as_json:
            raise
        terminal.print_json({"file": str(federation), "ok": False, "problems": str(error).splitlines()})
        raise typer.Exit(CommandExit.ERROR) from error
    silos = [silo.name for silo in spec.silos]
    if as_json:
        terminal.print_json(
            {"file": str(federation), "ok": True, "problems": [], "federation": spec.name, "silos": silos}
        )
        return
    terminal.console().print(
        f"{federation}: ok: federation {spec.name}, aggregator in {spec.aggregator.region}, "
        f"{len(silos)} silos: {', '.join(silos)}",
        soft_wrap=True,
    )
