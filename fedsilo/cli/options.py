"""What several commands have in common: options, exit codes, and how a command ends that fails."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fedsilo.errors import FedsiloError, NotFoundError, RunError, SpecError, UsageError
from fedsilo.keys import is_run
from fedsilo.text import plain

if TYPE_CHECKING:
    from fedsilo.admin.client import HubClient
    from fedsilo.config.federation import Federation
    from fedsilo.config.run import Run

ERROR, USAGE, RUN_FAILED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes, beside 0: it could not be done; the arguments are wrong; the run did not end well; Ctrl-C."""

ALL = "\n\nExit codes: 0 done, 1 error, 2 wrong arguments, 3 the run failed, was refused or aborted, 130 interrupted."


SPEC_FILE, SPEC_VARIABLE = Path("federation.yaml"), "FEDSILO_FEDERATION_FILE"


def _party_names(incomplete: str) -> list[str]:
    from fedsilo.config import federation as spec

    try:
        described = spec.load(os.environ.get(SPEC_VARIABLE) or SPEC_FILE)
    except FedsiloError:
        return []
    return [party.name for party in described.parties if party.name.startswith(incomplete)]


def _workload_names(incomplete: str) -> list[str]:
    from fedsilo.workload.registry import available

    return [name for name in available() if name.startswith(incomplete)]


SpecFile = Annotated[
    Path,
    typer.Option("--federation", help="The federation's file.", metavar="FILE", envvar=SPEC_VARIABLE),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with times in UTC.")]
RunId = Annotated[str, typer.Argument(help="The run's id. By default the newest run.", metavar="[RUN]")]
Party = Annotated[str, typer.Argument(help="The aggregator or a silo.", autocompletion=_party_names)]
Workload = Annotated[str, typer.Argument(help="What to learn: a folder of workloads/.", autocompletion=_workload_names)]
Rounds = Annotated[int, typer.Option(help="Rounds to train.")]
Silos = Annotated[str, typer.Option(help="Their names with commas, or how many. All by default.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Chosen = Annotated[
    list[str] | None, typer.Option("--set", help="A hyperparameter, as lr=0.01. May be repeated.", metavar="KEY=VALUE")
]
Quorum = Annotated[int | None, typer.Option(help="Silos that must answer a round. More than half by default.")]
Deadline = Annotated[float, typer.Option(help="Seconds after which a round closes with a quorum.")]


class Group(TyperGroup):
    """A group whose commands end with a line on standard error and an exit code, whatever fedsilo raises."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FedsiloError as error:
            code = {RunError: RUN_FAILED, UsageError: USAGE}.get(type(error), ERROR)
            _say(f"error: {error}", "red")
            raise typer.Exit(code) from error
        except BrokenPipeError:
            raise  # the output's reader has gone; Click ends for it
        except OSError as error:
            _say(f"error: {error.filename or 'input or output'}: {error.strerror or error}", "red")
            raise typer.Exit(ERROR) from error
        except KeyboardInterrupt:
            _say("interrupted", "yellow")
            raise typer.Exit(INTERRUPTED) from None


def _say(text: str, style: str) -> None:
    from fedsilo import terminal

    shown = "\n".join(plain(line, 4000) for line in text.splitlines())
    terminal.console(stderr=True).print(shown, style=style, soft_wrap=True)


def hub(federation: Path) -> "HubClient":
    """The hub of the federation that the file describes: on AWS, or in what ``fedsilo up`` has brought up.

    Raises ``UsageError`` where it has none.
    """
    from fedsilo.admin.client import HubClient

    described = self_hosted(federation)
    connect(federation)
    return HubClient.of(described)


def self_hosted(federation: Path) -> "Federation":
    """The federation that the file describes. Raises ``UsageError`` where FedML's platform runs it."""
    from fedsilo.config import federation as spec

    described = spec.load(federation)
    if described.control_plane == "mlops":
        raise UsageError(
            f"{federation}: control_plane is mlops: FedML's platform starts and shows runs (docs/mlops.md)"
        )
    return described


def connect(federation: Path) -> None:
    """Use what ``fedsilo up`` has brought up, if it has, and say so."""
    from fedsilo import terminal
    from fedsilo.local import supervisor

    if found := supervisor.connect(federation):
        terminal.console(stderr=True).print(
            f"using the local AWS emulator at {found.endpoint}; `fedsilo down` ends it", style="dim"
        )


def folder(path: Path) -> Path:
    """The folder that ``--out`` names, made where it is not there. Raises ``UsageError`` where it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: {path} is no folder, and can't be made: {error.strerror}") from None
    return path


def find(hub: "HubClient", run_id: str) -> tuple["Run", bytes]:
    """The run of that id, or the newest; with the bytes of its run.json. Raises ``NotFoundError``."""

    if not run_id:
        run_id = next((listed.run for listed in hub.reader.newest_runs()), "")
        if not run_id:
            raise NotFoundError(
                f"federation {hub.federation.name} has no run yet; start one: fedsilo run start WORKLOAD"
            )
    if not is_run(run_id):
        raise UsageError(f"RUN: {run_id!r} is not a run's id: 4 to 40 of a-z, 0-9 and hyphen")
    return hub.reader.run(run_id)


def member(run: "Run", party: str) -> str:
    """The party, if it is one of the run's. Raises ``UsageError``."""

    if party not in run.parties:
        raise UsageError(f"PARTY: {party!r} is not in run {run.id}, which has {', '.join(run.parties)}")
    return party


def members(silos: str, known: list[str]) -> list[str]:
    """The silos that ``--silos`` names. Raises ``UsageError``."""
    if not silos:
        return known
    if silos.isdecimal():
        if not 1 <= int(silos) <= len(known):
            raise UsageError(f"--silos: {silos} is not between 1 and the federation's {len(known)}")
        return known[: int(silos)]
    chosen = [name.strip() for name in silos.split(",")]
    unknown = [repr(name) for name in chosen if name not in known]
    if unknown:
        raise UsageError(f"--silos: {', '.join(unknown)} not in the federation, which has {', '.join(known)}")
    return chosen


def planned(
    federation: "Federation", workload: str, silos: str, chosen: list[str] | None, run_id: str = "", **choices: Any
) -> "Run":
    """The run that the options ask for; ``choices`` are those of ``run.plan``. Raises ``UsageError``."""
    from fedsilo.config import run

    known = [silo.name for silo in federation.silos]
    try:
        return run.plan(
            federation.name, workload, members(silos, known), overrides=pairs(chosen), run_id=run_id or None, **choices
        )
    except SpecError as error:
        raise UsageError(str(error)) from error


def pairs(options: list[str] | None) -> dict[str, str]:
    """What ``--set`` gives. Raises ``UsageError``."""
    found: dict[str, str] = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"--set: {option!r} is not KEY=VALUE")
        if key in found:
            raise UsageError(f"--set: {key} is given twice")
        found[key] = value
    return found
