"""``fedsilo model``: fetch what a run has learnt."""

from pathlib import Path
from typing import Annotated

import typer

from fedsilo import names
from fedsilo.cli import options
from fedsilo.cli.options import RunId, SpecFile
from fedsilo.errors import NotFoundError

app = typer.Typer(cls=options.Group, help="Fetch what a run has learnt.", no_args_is_help=True)


@app.callback()
def model() -> None:
    """Fetch what a run has learnt."""


@app.command(epilog=options.ALL)
def download(
    run_id: RunId = "",
    party: Annotated[str, typer.Option(help="Whose model: the aggregator's is the global one.")] = names.AGGREGATOR,
    out: Annotated[
        Path | None, typer.Option(help="Where to. By default RUN-PARTY.safetensors.", metavar="FILE")
    ] = None,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Download a run's model, a safetensors file."""
    from fedsilo import terminal

    hub = options.hub(federation)
    run, _ = options.find(hub, run_id)
    options.member(run, party)
    to = Path(f"{run.id}-{party}.safetensors") if out is None else out
    size = hub.reader.download_model(run, party, to)
    if size is None:
        raise NotFoundError(
            f"{party} has published no model of run {run.id}; `fedsilo run show {run.id}` tells how it is"
        )
    terminal.console().print(f"{to}: {size:,} bytes", soft_wrap=True)
