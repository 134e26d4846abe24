"""``fedsilo completion``: the script that makes a shell complete the command."""

from typing import Annotated

import typer
from typer.completion import Shells, get_completion_script  # type: ignore[attr-defined]

from fedsilo.cli import group

app = group.new_app()


@app.command()
def completion(shell: Annotated[Shells, typer.Argument(help="The shell that the script is for.")]) -> None:
    """Print the completion script for a shell.

    For example: fedsilo completion bash >> ~/.bashrc
    """
    typer.echo(get_completion_script(prog_name="fedsilo", complete_var="_FEDSILO_COMPLETE", shell=shell.value))
