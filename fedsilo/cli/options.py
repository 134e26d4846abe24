"""The options that several commands share, and what the commands make of them."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsilo import terminal
from fedsilo.admin.client import HubClient
from fedsilo.config.federation import Federation
from fedsilo.config.load import load_federation
from fedsilo.config.run import Run, RunIdentity, plan
from fedsilo.errors import BusyError, FedsiloError, NotFoundError, SpecError, UsageError
from fedsilo.files import held
from fedsilo.keys import is_run
from fedsilo.local import supervisor
from fedsilo.workload.registry import available

SPEC_FILE, SPEC_VARIABLE = Path("federation.yaml"), "FEDSILO_FEDERATION_FILE"
"""The default of ``--federation``, and the environment variable that replaces it."""

WORKLOAD_HELP = "What to train: a folder of workloads/."


def _complete_party(incomplete: str) -> list[str]:
    try:
        spec = load_federation(os.environ.get(SPEC_VARIABLE) or SPEC_FILE)
    except FedsiloError:
        return []
    return [party.name for party in spec.parties if party.name.startswith(incomplete)]


def _complete_workload(incomplete: str) -> list[str]:
    return [name for name in available() if name.startswith(incomplete)]


SpecFile = Annotated[
    Path,
    typer.Option("--federation", help="The federation's file.", metavar="FILE", envvar=SPEC_VARIABLE),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with times in UTC.")]
RunId = Annotated[str, typer.Argument(help="The run's id. Default: the newest run.", metavar="[RUN]")]
Party = Annotated[str, typer.Argument(help="The aggregator or a silo.", autocompletion=_complete_party)]
Workload = Annotated[str, typer.Argument(help=WORKLOAD_HELP, autocompletion=_complete_workload)]
Rounds = Annotated[int, typer.Option(help="How many rounds to train.")]
Silos = Annotated[str, typer.Option(help="The silos: names separated by commas, or how many. Default: all.")]
Seed = Annotated[int, typer.Option(help="The seed of all random numbers.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a hyperparameter, for example lr=0.01. May be repeated.", metavar="KEY=VALUE"),
]
Quorum = Annotated[
    int | None,
    typer.Option(
        help="Silos that a round needs at its deadline. Default: more than half of those asked, or what policies want."
    ),
]
Fraction = Annotated[
    float,
    typer.Option(
        help="The share of the silos that a round asks for an update, for example 0.1. Each round draws its own."
    ),
]
RequireSilos = Annotated[
    str,
    typer.Option(help="How many silos must contribute to all rounds, or `all`. Otherwise the run fails.", metavar="N"),
]
Deadline = Annotated[
    float,
    typer.Option(
        parser=lambda value: parse_duration("--deadline", str(value)),
        help="How long a round waits for a silo, for example 90s, 15m or 3h. A round that has a quorum then closes.",
        metavar="TIME",
    ),
]
DeadlinesOf = Annotated[
    list[str] | None,
    typer.Option(
        "--deadline-of",
        help="A longer deadline for a slow silo, for example long-beach=3h. May be repeated.",
        metavar="SILO=TIME",
    ),
]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def open_hub(federation: Path) -> HubClient:
    """The hub of the federation, on AWS or in the local federation of ``fedsilo up``.

    Args:
        federation: The federation's file.

    Raises:
        UsageError: The federation has no hub, because FedML's platform runs it.
    """
    spec = load_self_hosted(federation)
    use_local_federation(federation)
    return HubClient.of(spec)


def load_self_hosted(federation: Path) -> Federation:
    """Load the federation's file. Raises ``UsageError`` if FedML's platform runs the federation."""
    spec = load_federation(federation)
    if spec.control_plane == "mlops":
        raise UsageError(
            f"{federation}: control_plane is mlops: FedML's platform starts and shows runs (docs/mlops.md)"
        )
    return spec


def use_local_federation(federation: Path) -> None:
    """Use the local federation if one is up, and say so on standard error."""
    if state := supervisor.connect(federation):
        terminal.console(stderr=True).print(
            f"using the local AWS emulator at {state.endpoint}; `fedsilo down` ends it", style="dim"
        )


@contextmanager
def out_folder(path: Path) -> Iterator[Path]:
    """Create the folder that ``--out`` names, and be the only command that writes into it.

    Raises:
        UsageError: The folder can't be created, or another command writes into it.
    """
    with ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(path))
        except OSError as error:
            raise UsageError(f"--out: can't create the folder {path}: {error.strerror}") from None
        except BusyError as error:
            raise UsageError(f"--out: {error}; wait for its end, or use another folder") from None
        yield path


def find_run(hub: HubClient, run_id: str) -> tuple[Run, RunIdentity]:
    """Find a run.

    Args:
        hub: The hub of the federation.
        run_id: The run's id; empty for the newest run.

    Returns:
        The run, and the identity of its run.json.

    Raises:
        NotFoundError: There is no such run.
        UsageError: No run can have this id.
    """
    if not run_id:
        run_id = next((entry.run for entry in hub.reader.newest_runs()), "")
        if not run_id:
            raise NotFoundError(
                f"federation {hub.federation.name} has no run yet; start one: fedsilo run start WORKLOAD"
            )
    if not is_run(run_id):
        raise UsageError(f"RUN: {run_id!r} is not a run id; a run id is 4 to 40 of a-z, 0-9 and hyphen")
    return hub.reader.run(run_id)


def check_party(run: Run, party: str) -> None:
    """Raise ``UsageError`` if the party takes no part in the run."""
    if party not in run.parties:
        raise UsageError(f"PARTY: {party!r} is not in run {run.id}; its parties are {', '.join(run.parties)}")


def plan_run(
    federation: Federation,
    workload: str,
    silos: list[str],
    overrides: list[str] | None,
    run_id: str = "",
    **choices: Any,
) -> Run:
    """The run that the options describe.

    Args:
        federation: The federation.
        workload: The name of the workload.
        silos: The silos that take part.
        overrides: The values of ``--set``.
        run_id: The id of the run; empty for a new one.
        choices: Further arguments of ``fedsilo.config.run.plan``.

    Raises:
        UsageError: An option is not valid; the message has a line for each problem.
    """
    try:
        return plan(
            federation.name, workload, silos, overrides=parse_overrides(overrides), run_id=run_id or None, **choices
        )
    except SpecError as error:
        raise UsageError(str(error)) from error


def select_silos(option: str, federation: Federation) -> list[str]:
    """The silos that ``--silos`` selects. Raises ``UsageError`` if it is not valid.

    Args:
        option: Names separated by commas, a number, or empty for all.
        federation: The federation.
    """
    known = [silo.name for silo in federation.silos]
    if not option:
        return known
    if option.isdecimal():
        if not 1 <= int(option) <= len(known):
            raise UsageError(f"--silos: {option} is not between 1 and {len(known)}, the federation's number of silos")
        return known[: int(option)]
    selected = [name.strip() for name in option.split(",")]
    unknown = [repr(name) for name in selected if name not in known]
    if unknown:
        raise UsageError(f"--silos: {', '.join(unknown)} not in the federation; its silos are {', '.join(known)}")
    return selected


def parse_require_silos(option: str, silos: list[str]) -> int | None:
    """How many silos ``--require-silos`` requires; None without it. Raises ``UsageError`` if it is not valid."""
    if not option or option.isdecimal():
        return int(option) if option else None
    if option != "all":
        raise UsageError(f"--require-silos: {option!r} is neither a number nor `all`")
    return len(silos)


def parse_duration(option: str, text: str) -> float:
    """The seconds that a time stands for, as 90, 90s, 15m or 1.5h. Raises ``UsageError`` if it is none."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    if found is None:
        raise UsageError(f"{option}: {text!r} is not a time such as 90s, 15m or 3h")
    return float(found[1]) * _UNITS[found[2]]


def parse_deadlines(options: list[str] | None) -> dict[str, float]:
    """The seconds that ``--deadline-of`` gives to silos. Raises ``UsageError`` if one is not valid."""
    return {silo: parse_duration("--deadline-of", time) for silo, time in _pairs("--deadline-of", options).items()}


def parse_overrides(options: list[str] | None) -> dict[str, str]:
    """The hyperparameters that ``--set`` sets. Raises ``UsageError`` if one is not valid."""
    return _pairs("--set", options)


def _pairs(name: str, options: list[str] | None) -> dict[str, str]:
    """The values of an option that is repeated as KEY=VALUE."""
    pairs: dict[str, str] = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"{name}: {option!r} is not KEY=VALUE")
        if key in pairs:
            raise UsageError(f"{name}: {key} is given twice")
        pairs[key] = value
    return pairs
