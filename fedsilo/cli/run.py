"""``fedsilo run``: start, watch and abort runs, and look at them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsilo.cli import options
from fedsilo.cli.options import AsJson, Party, RunId, SpecFile
from fedsilo.config.defaults import DEADLINE_SECONDS, ROUNDS
from fedsilo.errors import HubError, NotFoundError, RunError, UsageError
from fedsilo.states import RequestAction
from fedsilo.text import plain, score

if TYPE_CHECKING:
    from fedsilo.admin.client import HubClient
    from fedsilo.admin.watch import RunProgress
    from fedsilo.config.run import Run
    from fedsilo.ledger.index import RunIndexEntry
    from fedsilo.ledger.schema import Status

ABORT_SECONDS = 120.0
"""How long ``run abort`` waits for the parties to have ended: longer than a pod is given to end."""

POLL_SECONDS = 1.0

SETTLE_SECONDS = 6.0
"""How long after a party's end its log may still grow: until its agent has seen the end, every 5 s, and sent it."""

app = typer.Typer(cls=options.Group, help="Start, watch and abort runs, and look at them.", no_args_is_help=True)


@app.command(epilog=options.ALL)
def start(
    workload: options.Workload,
    silos: options.Silos = "",
    rounds: options.Rounds = ROUNDS,
    chosen: options.Chosen = None,
    seed: options.Seed = 0,
    quorum: options.Quorum = None,
    deadline: options.Deadline = DEADLINE_SECONDS,
    run_id: Annotated[
        str, typer.Option(help="An id of your own: the same command again carries on with the same run.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Watch the run until it is over.")] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Start a run: ask the aggregator's agent and the silos' agents to take part."""
    from fedsilo import terminal as show

    if as_json and watch:
        raise UsageError("--json: does not go with --watch; `fedsilo run show --json` tells how a run is")
    hub = options.hub(federation)
    run = options.planned(
        hub.federation,
        workload,
        silos,
        chosen,
        run_id,
        rounds=rounds,
        seed=seed,
        quorum=quorum,
        deadline_seconds=deadline,
    )
    there, parties = hub.start(run), run.parties
    away = [agent.party for agent in hub.reader.agents(parties) if agent.silent]
    if as_json:
        show.print_json({"run": there.id, "asked": parties, "away": away})
        return
    out = show.console()
    # The first line is the id alone, so that a script can take it.
    out.print(there.id, style="bold")
    again = "is there already; asked again" if there is not run else "asked"
    out.print(f"{there.workload}, {there.rounds} rounds; {again}: {', '.join(parties)}", soft_wrap=True)
    if away:
        out.print(f"no agent heard of lately: {', '.join(away)}; the request waits for it", style="yellow")
    if watch:
        _watch(hub, there)
    else:
        out.print(f"next: fedsilo run watch {there.id}")


@app.command("list", epilog=options.ALL)
def list_(
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """List the runs, the newest first."""
    from itertools import islice

    from fedsilo import terminal as show

    hub = options.hub(federation)
    found = list(islice(hub.reader.newest_runs(), None if all_ else limit + 1))
    shown, more = (found, False) if all_ else (found[:limit], len(found) > limit)
    rows = list(zip(shown, hub.reader.aggregator_statuses(shown), strict=True))
    if as_json:
        show.print_json([_listed(run, status) for run, status in rows])
        return
    out = show.console()
    if not rows:
        out.print("no run yet; start one: fedsilo run start WORKLOAD")
        return
    heads = ("run", "created", "workload", "silos", "state", "round", "AUC", "reason")
    out.print(show.table(heads, [_row(run, status) for run, status in rows], right=("silos", "round", "AUC")))
    if more:
        out.print("there are older ones: --limit N, or --all", style="dim")


def _listed(run: "RunIndexEntry", status: "Status") -> dict[str, Any]:
    from fedsilo.ledger.lenient import utc

    return {
        "run": run.run,
        "created": utc(run.created),
        "workload": run.workload,
        "silos": run.silos,
        "state": status.state,
        "reason": status.reason,
        "round": status.round,
        "rounds": run.rounds,
        "metrics": dict(status.metrics),
    }


def _row(run: "RunIndexEntry", status: "Status") -> tuple[object, ...]:
    from fedsilo import terminal as show

    done = f"{status.round or 0}/{run.rounds}"
    auc = score(status.metrics.get("Test:AUC"))
    created = show.local(run.created)
    return (run.run, created, run.workload, run.silos, status.state, done, auc, plain(status.reason, 100))


@app.command(epilog=options.ALL)
def show(run_id: RunId = "", as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Show a run: what was asked for, how it is, and how every party is."""
    from fedsilo import terminal as show
    from fedsilo.admin.watch import RunProgress

    hub = options.hub(federation)
    run, _ = options.find(hub, run_id)
    story = RunProgress(run, hub.reader.statuses(run))
    if as_json:
        show.print_json(_shown(story))
        return
    settings = {
        "run": run.id,
        "created": show.local(run.created),
        "workload": run.workload,
        "state": story.line(),
        "reason": story.aggregator.reason,
        "finished": show.local(story.aggregator.finished),
        "quorum": f"{run.quorum} of {len(run.silos)} silos, after {run.deadline_seconds:g} s",
        "seed": run.seed,
        "hyperparameters": ", ".join(f"{key}={value}" for key, value in run.hyperparameters.items()),
    }
    out = show.console()
    for name, value in settings.items():
        if value != "":
            out.print(f"{name:<16}{plain(value, 2000)}", soft_wrap=True)
    out.print()
    out.print(story.table())


def _shown(story: "RunProgress") -> dict[str, Any]:
    aggregator = story.aggregator
    return {
        "run": story.run.model_dump(mode="json"),
        "state": story.state,
        "over": story.over,
        "reason": aggregator.reason,
        "round": aggregator.round,
        "rounds": story.run.rounds,
        "answered": [silo for silo in story.run.silos if silo in aggregator.answered],
        "waiting_for": story.awaited(),
        "refused": dict(aggregator.refused),
        "metrics": dict(aggregator.metrics),
        "parties": {party: status.to_json() | {"note": story.note(party)} for party, status in story.statuses.items()},
    }


@app.command(epilog=options.ALL)
def watch(run_id: RunId = "", as_json: AsJson = False, federation: SpecFile = options.SPEC_FILE) -> None:
    """Watch a run until it is over. Ctrl-C stops the watching, not the run.

    With --json, what run show --json prints in the end goes to standard output, and the watching to standard error.
    """
    hub = options.hub(federation)
    run, _ = options.find(hub, run_id)
    _watch(hub, run, as_json=as_json)


def _watch(hub: "HubClient", run: "Run", *, as_json: bool = False) -> None:
    from fedsilo import terminal as show
    from fedsilo.admin.watch import follow

    out = show.console(stderr=as_json)
    try:
        story = follow(hub.reader, run, out, poll=POLL_SECONDS)
    except KeyboardInterrupt:
        out.print(f"not watching any more; the run goes on: fedsilo run watch {run.id}, fedsilo run abort {run.id}")
        raise typer.Exit(options.INTERRUPTED) from None
    out.print(story.table())
    if as_json:
        show.print_json(_shown(story))
    if not story.good:
        raise RunError(f"run {run.id}: {story.state}: {story.aggregator.reason or 'no reason given'}")
    out.print(f"{run.id}: {story.line()}", soft_wrap=True)
    out.print(f"next: fedsilo run report {run.id}, fedsilo model download {run.id}")


@app.command(epilog=options.ALL)
def logs(
    party: Party,
    run_id: RunId = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the party has ended; or Ctrl-C.")] = False,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Print a party's log of a run, as far as its agent has sent it. With --json, a JSON string a line."""
    import json
    import time

    from fedsilo import terminal as show
    from fedsilo.admin.logs import Tail

    hub = options.hub(federation)
    run, _ = options.find(hub, run_id)
    options.member(run, party)
    tail, told = Tail(), False
    while True:
        word = hub.reader.status(run, party)
        # A trainer says itself that it has ended, and its agent sends the last of the log then.
        over = word.over and (word.silent_seconds or 0) >= SETTLE_SECONDS
        body = hub.reader.log(run, party)
        for line in tail.news(body or b"", last=over or not follow):
            print(json.dumps(line) if as_json else line, flush=True)  # noqa: T201
        if not follow and body is None:
            raise NotFoundError(
                f"{party} has sent no log of run {run.id} yet; `fedsilo run show {run.id}` tells how it is"
            )
        if over or not follow:
            return
        if body is None and not told:
            told = True
            show.console(stderr=True).print(f"waiting for {party}'s log; Ctrl-C ends the waiting")
        time.sleep(POLL_SECONDS)


@app.command(epilog=options.ALL)
def abort(
    run_id: RunId = "",
    wait: Annotated[bool, typer.Option(help="Wait until every party has ended, at most 2 minutes.")] = True,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Abort a run: ask the agents of all its parties to end it."""
    import time

    from fedsilo import terminal as show
    from fedsilo.admin.watch import RunProgress

    hub = options.hub(federation)
    run, run_json = options.find(hub, run_id)
    out = show.console()
    parties = run.parties
    before = RunProgress(run, hub.reader.statuses(run))
    if all(status.over for status in before.statuses.values()):
        out.print(f"{run.id} is over: {before.state}; nothing to abort")
        return
    hub.request(RequestAction.ABORT, run.id, run_json, hub.control_queues(parties))
    out.print(f"{run.id}: asked to abort: {', '.join(parties)}", soft_wrap=True)
    deadline = time.monotonic() + ABORT_SECONDS
    ended: set[str] = set()
    while wait:
        story = RunProgress(run, hub.reader.statuses(run))
        for party, status in story.statuses.items():
            if status.over and party not in ended:
                ended.add(party)
                out.print(f"{party}: {status.state}")
        going = [party for party in parties if party not in ended]
        if not going:
            return
        if time.monotonic() > deadline:
            raise HubError(
                f"no word from {', '.join(going)} in {ABORT_SECONDS:g} s; the request waits for the agents: "
                "see `fedsilo silo list`"
            )
        time.sleep(POLL_SECONDS)


@app.command(epilog=options.ALL)
def report(
    run_id: RunId = "",
    out: Annotated[
        Path | None, typer.Option(help="Where report, result and model go. By default out/RUN.", metavar="DIR")
    ] = None,
    as_json: AsJson = False,
    federation: SpecFile = options.SPEC_FILE,
) -> None:
    """Write a run's report.html, result.json and model into a folder. With --json, print result.json too."""
    from fedsilo import names
    from fedsilo import terminal as show
    from fedsilo.report.result import RunResult

    hub = options.hub(federation)
    run, _ = options.find(hub, run_id)
    folder = options.folder(Path("out") / run.id if out is None else out)
    result = RunResult.of(hub.reader.record(run))
    result.write(folder)
    size = hub.reader.download_model(run, names.AGGREGATOR, folder / "model.safetensors")
    console = show.console(stderr=as_json)
    console.print(result.table())
    if as_json:
        show.print_json(result.to_json())
    if size is None:
        console.print("no model: the aggregator has published none", style="yellow")
    written = ["report.html", "result.json", *(["model.safetensors"] if size is not None else [])]
    console.print(f"{', '.join(written)}: {folder}", soft_wrap=True)
