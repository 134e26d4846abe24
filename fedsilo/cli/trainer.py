"""``fedsilo trainer``: a party's part in a run, as a Job or the local launcher starts it."""

from typing import Annotated

import typer

from fedsilo.cli import group
from fedsilo.config.run import RunIdentity
from fedsilo.training import trainer as process

app = group.new_app()


@app.command(hidden=True)
def trainer(
    run: Annotated[str, typer.Argument(help="The run's id.", envvar="FEDSILO_RUN")],
    sha256: Annotated[str, typer.Option(help="The SHA-256 of its run.json.", envvar="FEDSILO_RUN_SHA256")],
    version: Annotated[str, typer.Option(help="S3's id of its version.", envvar="FEDSILO_RUN_VERSION")] = "",
) -> None:
    """Run a party's trainer.

    A Job or the local launcher runs this command. The environment says which party it is.
    """
    raise typer.Exit(process.main(RunIdentity(run, sha256, version)))
