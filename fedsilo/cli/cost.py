"""``fedsilo cost``: an estimate of what the federation costs on AWS."""

from dataclasses import asdict

from fedsilo import terminal
from fedsilo.admin.cost import items, table, templates
from fedsilo.cli import group
from fedsilo.cli.options import SPEC_FILE, AsJson, SpecFile
from fedsilo.config.load import load_federation

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def cost(as_json: AsJson = False, federation: SpecFile = SPEC_FILE) -> None:
    """Estimate what the federation costs on AWS.

    The estimate is for a month idle and for an hour of training, with a line for each party and item. It prices the
    synthesized stacks, so it needs a checkout.
    """
    priced = items(load_federation(federation), templates(federation))
    if as_json:
        terminal.print_json([asdict(item) for item in priced])
    else:
        terminal.console().print(table(priced))
