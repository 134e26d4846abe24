"""How ``fedsilo run`` shows runs: as JSON, and as rows and lines of text."""

from typing import Any

from rich.console import Console

from fedsilo import terminal
from fedsilo.admin.progress import RunProgress
from fedsilo.ledger.contributions import contributions_in_words, contributions_of
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.lenient import utc
from fedsilo.ledger.published import local_models
from fedsilo.ledger.schema import Status
from fedsilo.text import plain, score

REASON_LENGTH = 100
"""Characters of a reason that a row has room for."""

VALUE_LENGTH = 2000
"""Characters of a value that ``run show`` shows."""

ENTRY_HEADS = ("run", "created", "workload", "silos", "state", "round", "AUC", "reason")
ENTRY_NUMBERS = ("silos", "round", "AUC")
"""The columns with numbers."""


def entry_to_json(entry: RunIndexEntry, status: Status) -> dict[str, Any]:
    """A run of the list as ``--json`` prints it; ``status`` is the aggregator's."""
    return {
        "run": entry.run,
        "created": utc(entry.created),
        "workload": entry.workload,
        "silos": entry.silos,
        "state": status.state,
        "reason": status.reason or status.unreadable,
        "round": status.round,
        "rounds": entry.rounds,
        "metrics": dict(status.metrics),
        "bounds": dict(status.bounds),
    }


def entry_row(entry: RunIndexEntry, status: Status) -> tuple[object, ...]:
    """A run of the list as a row of ``ENTRY_HEADS``; ``status`` is the aggregator's."""
    return (
        entry.run,
        terminal.local(entry.created),
        entry.workload,
        entry.silos,
        status.state,
        f"{min(status.round or 0, entry.rounds)}/{entry.rounds}",
        score(status.metrics.get("Test:AUC"), status.bounds.get("Test:AUC", 0.0)),
        plain(status.reason or status.unreadable, REASON_LENGTH),
    )


def progress_to_json(progress: RunProgress) -> dict[str, Any]:
    """A run as ``run show --json`` prints it."""
    run, aggregator = progress.run, progress.aggregator
    return {
        "run": run.model_dump(mode="json"),
        "state": progress.state,
        "over": progress.over,
        "reason": aggregator.reason or aggregator.unreadable,
        "round": aggregator.round and progress.round,
        "rounds": run.rounds,
        "answered": progress.answered,
        "waiting_for": progress.awaited(),
        "refused": {silo: aggregator.refused[silo] for silo in run.silos if silo in aggregator.refused},
        "contributions": contributions_of(run, aggregator),
        "metrics": dict(aggregator.metrics),
        "bounds": dict(aggregator.bounds),
        "parties": {
            party: status.to_json() | {"note": progress.note(party)} for party, status in progress.statuses.items()
        },
    }


def print_progress(progress: RunProgress, out: Console) -> None:
    """Print a run as ``run show`` does: its settings, its state, and a row for each party."""
    run, aggregator = progress.run, progress.aggregator
    fields = {
        "state": progress.line(),
        "contributed": "" if progress.over else contributions_in_words(run, aggregator),
        "run": run.id,
        "created": terminal.local(run.created),
        "workload": run.workload,
        "reason": aggregator.reason,
        "finished": terminal.local(aggregator.finished),
        "quorum": f"{run.quorum} of {len(run.silos)} silos, after {run.deadline_seconds:g} s",
        "fraction": f"a round asks {run.sample_size(len(run.silos))} silos" if run.fraction < 1 else "",
        "required": f"{run.require_silos} silos that contribute to all rounds" if run.require_silos else "",
        "seed": run.seed,
        "local models": local_models(progress.statuses),
        "hyperparameters": ", ".join(f"{key}={value}" for key, value in run.hyperparameters.items()),
    }
    for name, value in fields.items():
        if value != "":
            out.print(f"{name:<16}{plain(value, VALUE_LENGTH)}", soft_wrap=True)
    out.print()
    out.print(progress.table())
