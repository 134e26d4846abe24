"""``fedsilo trainer``: a party's part in a run, as a Job or the local launcher starts it."""

from typing import Annotated

import typer

from fedsilo.cli import group
from fedsilo.training import trainer as process

app = group.new_app()


@app.command(hidden=True)
def trainer(run: Annotated[str, typer.Argument(help="The run's id.", envvar="FEDSILO_RUN")]) -> None:
    """Run a party's trainer.

    A Job or the local launcher runs this command. The environment says which party it is.
    """
    raise typer.Exit(process.main(run))
