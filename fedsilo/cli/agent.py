"""``fedsilo agent``: a party's agent, and the probes of its health."""

from typing import Annotated

import typer

from fedsilo.agent import health
from fedsilo.agent.health import Probe
from fedsilo.cli import group
from fedsilo.errors import LauncherError

app = group.new_app()


@app.command()
def agent(
    probe: Annotated[
        Probe | None, typer.Option(help="Check the health of the agent on this machine instead; the exit code tells.")
    ] = None,
) -> None:
    """Run a party's agent.

    It takes run requests, and starts the party's trainers and looks after them. The environment says which party it is.
    """
    if probe is None:
        from fedsilo.agent import main  # a probe starts a process every few seconds, and needs none of this

        raise typer.Exit(main.main())
    if problem := health.problem(probe):
        raise LauncherError(problem)
