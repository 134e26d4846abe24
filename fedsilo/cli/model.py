"""``fedsilo model``: download the model of a run."""

from pathlib import Path
from typing import Annotated

import typer

from fedsilo import names, terminal
from fedsilo.cli import group, options
from fedsilo.cli.options import RunId, SpecFile
from fedsilo.errors import NotFoundError

app = group.new_app("Download the model of a run.")


@app.command(epilog=group.EXIT_CODES)
def download(
    run_id: RunId = "",
    party: Annotated[str, typer.Option(help="Whose model; the aggregator has the global one.")] = names.AGGREGATOR,
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Default: RUN-PARTY.safetensors.", metavar="FILE")
    ] = None,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Download a run's model as a safetensors file."""
    hub = options.open_hub(federation)
    run, _ = options.find_run(hub, run_id)
    options.check_party(run, party)
    path = Path(f"{run.id}-{party}.safetensors") if out is None else out
    size = hub.reader.download_model(run, party, path)
    if size is None:
        if hub.reader.status(run, party).publishes_model is False:
            raise NotFoundError(
                f"{party} publishes no model of its own: its policy does not have `publish: [local_model]`; "
                f"`fedsilo model download {run.id}` gets the global model"
            )
        raise NotFoundError(
            f"{party} has published no model of run {run.id}; `fedsilo run show {run.id}` shows its state"
        )
    terminal.console().print(f"{path}: {size:,} bytes", soft_wrap=True)
