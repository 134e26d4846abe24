"""``fedsilo run``: start, watch and abort runs, and look at them."""

import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedsilo import names, runtime, terminal
from fedsilo.admin.client import HubClient
from fedsilo.admin.logs import LogFollower
from fedsilo.admin.progress import RunProgress
from fedsilo.admin.watch import follow
from fedsilo.cli import group, options, run_views
from fedsilo.cli.options import AsJson, Party, RunId, SpecFile
from fedsilo.config.run import DEADLINE_SECONDS, ROUNDS, Run, default_quorum
from fedsilo.errors import HubError, NotFoundError, RunError, UsageError
from fedsilo.ledger.schema import AgentStatus
from fedsilo.local import supervisor
from fedsilo.local.federation import trainer_log
from fedsilo.report.result import MODEL, REPORT, RESULT, RunResult
from fedsilo.states import CommandExit, RequestAction

ABORT_SECONDS = 120.0
"""How long ``run abort`` waits until the parties have ended: longer than a pod may take to end."""

POLL_SECONDS = 1.0

SETTLE_SECONDS = 6.0
"""How long a party's log may still grow after the party has ended: its agent notices the end within 5 s, and uploads
the rest of the log then."""

app = group.new_app("Start, watch and abort runs, and look at them.")


@app.command(epilog=group.EXIT_CODES)
def start(
    workload: options.Workload,
    silos: options.Silos = "",
    rounds: options.Rounds = ROUNDS,
    overrides: options.Overrides = None,
    seed: options.Seed = 0,
    quorum: options.Quorum = None,
    fraction: options.Fraction = 1.0,
    require_silos: options.RequireSilos = "",
    deadline: options.Deadline = DEADLINE_SECONDS,
    deadlines_of: options.DeadlinesOf = None,
    run_id: Annotated[
        str, typer.Option(help="The id of the run. The same command with the same id continues the same run.")
    ] = "",
    watching: Annotated[bool, typer.Option("--watch", help="Watch the run until it ends.")] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Start a run: ask the agents of the aggregator and of the silos to take part."""
    if as_json and watching:
        raise UsageError("--json: can't be combined with --watch; use `fedsilo run watch --json` after the start")
    hub = options.open_hub(federation)
    selected = options.select_silos(silos, hub.federation)
    agents = hub.reader.agents([names.AGGREGATOR, *selected])
    planned = options.plan_run(
        hub.federation,
        workload,
        selected,
        overrides,
        run_id,
        rounds=rounds,
        seed=seed,
        quorum=quorum,
        least_silos=max(agent.min_silos or 1 for agent in agents),
        fraction=fraction,
        require_silos=options.parse_require_silos(require_silos, selected),
        deadline_seconds=deadline,
        deadlines=options.parse_deadlines(deadlines_of),
    )
    run = hub.start(planned)
    if as_json:
        away = [agent.party for agent in agents if agent.silent]
        terminal.print_json({"run": run.id, "asked": run.parties, "away": away, "quorum": run.quorum})
        return
    _print_started(run, agents, repeated=run is not planned)
    if watching:
        _watch(hub, run)
    else:
        terminal.console().print(f"next: fedsilo run watch {run.id}")


def _print_started(run: Run, agents: list[AgentStatus], *, repeated: bool) -> None:
    out = terminal.console()
    out.print(run.id, style="bold")  # alone on the first line, so that a script can read it
    asked = "the run exists already; asked again" if repeated else "asked"
    out.print(f"{run.workload}, {run.rounds} rounds; {asked}: {', '.join(run.parties)}", soft_wrap=True)
    least = max(agents, key=lambda agent: agent.min_silos or 1)
    if default_quorum(len(run.silos), fraction=run.fraction) < run.quorum == least.min_silos:
        out.print(f"quorum: {run.quorum} silos, as the policy of {least.party} asks", soft_wrap=True)
    for agent in agents:
        if (agent.min_silos or 1) > len(run.silos):
            asks = f"the policy of {agent.party} asks for {agent.min_silos} silos, and the run has {len(run.silos)}"
            out.print(f"{asks}: {agent.party} will refuse the run", style="yellow", soft_wrap=True)
    if away := [agent.party for agent in agents if agent.silent]:
        out.print(
            f"no heartbeat lately from the agent of {', '.join(away)}; the request waits in its queue",
            style="yellow",
            soft_wrap=True,
        )


@app.command("list", epilog=group.EXIT_CODES)
def list_runs(
    limit: Annotated[int, typer.Option(help="How many runs to show.", min=1)] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Show all runs.")] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """List the runs, the newest first."""
    hub = options.open_hub(federation)
    found = list(islice(hub.reader.newest_runs(), None if everything else limit + 1))
    shown = found if everything else found[:limit]
    runs = list(zip(shown, hub.reader.aggregator_statuses(shown), strict=True))
    if as_json:
        terminal.print_json([run_views.entry_to_json(entry, status) for entry, status in runs])
        return
    out = terminal.console()
    if not runs:
        out.print("no run yet; start one: fedsilo run start WORKLOAD")
        return
    rows = [run_views.entry_row(entry, status) for entry, status in runs]
    out.print(terminal.table(run_views.ENTRY_HEADS, rows, right=run_views.ENTRY_NUMBERS))
    if len(found) > len(shown):
        out.print("older runs are not shown; use --limit N, or --all", style="dim")


@app.command(epilog=group.EXIT_CODES)
def show(run_id: RunId = "", as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Show a run: its settings, its state, and the state of every party."""
    hub = options.open_hub(federation)
    run, _ = options.find_run(hub, run_id)
    progress = RunProgress(run, hub.reader.statuses(run))
    if as_json:
        terminal.print_json(run_views.progress_to_json(progress))
    else:
        run_views.print_progress(progress, terminal.console())


@app.command(epilog=group.EXIT_CODES)
def watch(run_id: RunId = "", as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Watch a run until it ends. Ctrl-C ends the watching, not the run.

    With --json, the progress goes to standard error, and standard output gets what run show --json prints at the end.
    """
    hub = options.open_hub(federation)
    run, _ = options.find_run(hub, run_id)
    _watch(hub, run, as_json=as_json)


def _watch(hub: HubClient, run: Run, *, as_json: bool = False) -> None:
    out = terminal.console(stderr=as_json)
    try:
        progress = follow(hub.reader, run, out, poll_seconds=POLL_SECONDS)
    except KeyboardInterrupt:
        out.print(
            f"no longer watching; the run goes on: fedsilo run watch {run.id}, fedsilo run abort {run.id}",
            soft_wrap=True,
        )
        raise typer.Exit(CommandExit.INTERRUPTED) from None
    out.print(progress.table())
    if as_json:
        terminal.print_json(run_views.progress_to_json(progress))
    if not progress.succeeded:
        raise RunError(f"run {run.id}: {progress.state}: {progress.aggregator.reason or 'no reason given'}")
    out.print(f"{run.id}: {progress.line()}", soft_wrap=True)
    out.print(f"next: fedsilo run report {run.id}, fedsilo model download {run.id}")


@app.command(epilog=group.EXIT_CODES)
def logs(
    party: Party,
    run_id: RunId = "",
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the party has ended, or until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Print fedsilo's own log of a party in a run, as far as its agent has uploaded it.

    What the workload and other programs print may hold data, and stays with the party. docs/operations.md says how the
    party's owner reads it. With --json, a JSON string a line.
    """
    hub = options.open_hub(federation)
    run, _ = options.find_run(hub, run_id)
    options.check_party(run, party)
    follower, waiting = LogFollower(), False
    while True:
        status = hub.reader.status(run, party)
        # The trainer itself writes that it has ended; its agent uploads the rest of the log after that.
        complete = status.over and (status.silent_seconds or 0) >= SETTLE_SECONDS
        body = hub.reader.log(run, party)
        for line in follower.new_lines(body or b"", last=complete or not following):
            typer.echo(json.dumps(line) if as_json else line)
        if complete or not following:
            if body is None:
                raise NotFoundError(
                    f"the agent of {party} has uploaded no log of run {run.id} yet; `fedsilo run show {run.id}` shows "
                    f"{party}'s state"
                )
            terminal.console(stderr=True).print(_raw_log(federation, run, party), style="dim", soft_wrap=True)
            return
        if body is None and not waiting:
            waiting = True
            terminal.console(stderr=True).print(
                f"waiting until the agent of {party} uploads the log; Ctrl-C ends the waiting", soft_wrap=True
            )
        runtime.sleep(POLL_SECONDS)


def _raw_log(federation: Path, run: Run, party: str) -> str:
    """Where everything is that the party's trainer has printed."""
    local = trainer_log(supervisor.folder_of(federation), party, run.id)
    where = str(local) if local.exists() else f"`kubectl -n {names.NAMESPACE} logs job/{names.TRAINER}-{run.id}`"
    return f"these are fedsilo's own lines; all that was printed stays with {party}: {where} (docs/operations.md)"


@app.command(epilog=group.EXIT_CODES)
def abort(
    run_id: RunId = "",
    wait: Annotated[bool, typer.Option(help="Wait until every party has ended, at most 2 minutes.")] = True,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Abort a run: ask the agents of all its parties to end it."""
    hub = options.open_hub(federation)
    run, identity = options.find_run(hub, run_id)
    out = terminal.console()
    # Nothing that a party wrote is read before: no party can keep the operator from ending a run.
    hub.request(RequestAction.ABORT, identity, hub.control_queues(run.parties))
    out.print(f"{run.id}: asked to abort: {', '.join(run.parties)}", soft_wrap=True)
    if wait:
        _wait_until_ended(hub, run, out)


def _wait_until_ended(hub: HubClient, run: Run, out: Console) -> None:
    """Print each party when it has ended. Raises ``HubError`` after ``ABORT_SECONDS``."""
    deadline = runtime.monotonic() + ABORT_SECONDS
    ended: set[str] = set()
    while True:
        statuses = hub.reader.statuses(run)
        for party, status in statuses.items():
            if status.over and party not in ended:
                ended.add(party)
                out.print(f"{party}: {status.state}")
        remaining = [party for party in run.parties if party not in ended]
        if not remaining:
            return
        if runtime.monotonic() > deadline:
            unreadable = [f"{party}: {statuses[party].unreadable}" for party in remaining if statuses[party].unreadable]
            for line in unreadable:
                out.print(line, style="yellow", soft_wrap=True)
            raise HubError(
                f"{', '.join(remaining)} did not end within {ABORT_SECONDS:g} s; the request waits in the queue of "
                "each agent: `fedsilo silo list` shows which agents are away"
            )
        runtime.sleep(POLL_SECONDS)


@app.command(epilog=group.EXIT_CODES)
def report(
    run_id: RunId = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder for the report, result and model. Default: out/RUN.", metavar="DIR")
    ] = None,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Write a run's report.html, result.json and model into a folder. With --json, print result.json too."""
    hub = options.open_hub(federation)
    run, _ = options.find_run(hub, run_id)
    result = RunResult.of(hub.reader.record(run))
    with options.out_folder(Path("out") / run.id if out is None else out) as folder:
        size = result.write(folder, lambda file: hub.reader.download_model(run, names.AGGREGATOR, file))
    console = terminal.console(stderr=as_json)
    console.print(result.headline, soft_wrap=True)
    console.print(result.table())
    if as_json:
        terminal.print_json(result.to_json())
    if size is None:
        console.print("no model: the aggregator has published none", style="yellow")
    written = [REPORT, RESULT, *([MODEL] if size is not None else [])]
    console.print(f"{', '.join(written)}: {folder}", soft_wrap=True)
