"""``fedsilo silo``: the parties and their agents."""

import typer

from fedsilo.cli import options
from fedsilo.cli.options import AsJson, SpecFile
from fedsilo.text import ago

app = typer.Typer(cls=options.Group, help="The parties and their agents.", no_args_is_help=True)


@app.callback()
def silo() -> None:
    """The parties and their agents."""


@app.command("list", epilog=options.ALL)
def list_(as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """List the parties: when each one's agent was heard of, its version, and what it does."""
    from fedsilo import terminal

    hub = options.hub(federation)
    agents = hub.reader.agents(hub.parties)
    if as_json:
        terminal.print_json([agent.to_json() for agent in agents])
        return
    rows = [
        (
            agent.party,
            "away" if agent.silent else agent.state,
            agent.run,
            len(agent.queued) or "",
            agent.version,
            agent.launcher,
            ago(agent.silent_seconds),
            terminal.local(agent.seen),
        )
        for agent in agents
    ]
    heads = ("party", "agent", "run", "queued", "version", "launcher", "heard of", "at")
    terminal.console().print(terminal.table(heads, rows, right=("queued",)))
