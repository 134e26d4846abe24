"""``fedsilo silo``: the parties and their agents."""

from collections.abc import Iterable, Iterator

from fedsilo import terminal
from fedsilo.cli import group, options
from fedsilo.cli.options import AsJson, SpecFile
from fedsilo.ledger.schema import AgentStatus
from fedsilo.states import AgentState
from fedsilo.text import ago

app = group.new_app("Show the parties and their agents.")


@app.command("list", epilog=group.EXIT_CODES)
def list_silos(as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """List the parties: the last heartbeat of each agent, its version, and what it does."""
    hub = options.open_hub(federation)
    agents = hub.reader.agents(hub.parties)
    if as_json:
        terminal.print_json([agent.to_json() for agent in agents])
        return
    heads = ("party", "agent", "run", "queued", "version", "host", "heartbeat", "at")
    out = terminal.console()
    out.print(terminal.table(heads, [*_rows(agents)], right=("queued",)))
    for agent in agents:
        if agent.unreadable:
            out.print(f"{agent.party}: {agent.unreadable}", style="yellow", soft_wrap=True)


def _rows(agents: Iterable[AgentStatus]) -> Iterator[tuple[object, ...]]:
    """A row for each agent, and one for a second agent of a party, which waits."""
    for agent in agents:
        yield _row(agent)
        if agent.second:
            yield _row(agent.second)


def _row(agent: AgentStatus) -> tuple[object, ...]:
    return (
        agent.party,
        AgentState.UNKNOWN if agent.unreadable else terminal.AWAY if agent.silent else agent.state,
        agent.run,
        len(agent.queued) or "",
        agent.version,
        agent.host,
        ago(agent.silent_seconds),
        terminal.local(agent.seen),
    )
