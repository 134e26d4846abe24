"""The ``fedsilo`` command. Every command imports what it needs when it runs, so that help is instant."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedsilo.errors import FedsiloError, SpecError

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

app = typer.Typer(
    help="Federated learning between organisations that may not show each other their data, on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SpecFile = Annotated[
    Path, typer.Option("--federation", help="The federation's file.", metavar="FILE", envvar="FEDSILO_FEDERATION_FILE")
]


@app.command()
def demo(
    workload: Annotated[str, typer.Option(help="What to learn: a folder of workloads/.")] = "heart_disease",
    rounds: Annotated[int, typer.Option(help="Rounds to train.")] = 50,
    silos: Annotated[str, typer.Option(help="How many silos, or their names with commas. All by default.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    chosen: Annotated[
        list[str] | None, typer.Option("--set", help="A hyperparameter, as lr=0.01.", metavar="KEY=VALUE")
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(help="Silos that must answer a round. More than half by default.")
    ] = None,
    deadline: Annotated[float, typer.Option(help="Seconds after which a round closes with a quorum.")] = 30.0,
    out: Annotated[Path, typer.Option(help="Where report, model, result and logs go.", metavar="DIR")] = Path("out"),
    federation: SpecFile = Path("federation.yaml"),
) -> None:
    """Train a federation on this machine, against an embedded AWS."""
    from datetime import UTC, datetime

    from fedsilo import demo, spec
    from fedsilo.run import Run, majority, new_id
    from fedsilo.workload import hyperparameters

    described = spec.load(federation)
    members = _members(silos, [silo.name for silo in described.silos])
    run = Run.checked(
        {
            "run": new_id(described.name),
            "federation": described.name,
            "workload": workload,
            "silos": members,
            "rounds": rounds,
            "hyperparameters": hyperparameters(workload, _pairs(chosen or [])),
            "seed": seed,
            "quorum": majority(len(members)) if quorum is None else quorum,
            "deadline_seconds": deadline,
            "join_seconds": max(120.0, deadline),
            "created": datetime.now(UTC),
        }
    )
    demo.run(described, run, out, Console())


@app.command("spec-check")
def spec_check(federation: SpecFile = Path("federation.yaml")) -> None:
    """Check the federation's file: every problem at once."""
    from fedsilo import spec

    described = spec.load(federation)
    Console().print(
        Text(f"{federation}: ok: federation {described.name}, {len(described.silos)} silos"), soft_wrap=True
    )


@app.command()
def cost(federation: SpecFile = Path("federation.yaml")) -> None:
    """Price the federation: a month idle, and an hour of training, by party and item."""
    from fedsilo import cost, spec

    Console().print(cost.table(cost.lines(spec.load(federation), cost.templates(federation))))


@app.command(hidden=True)
def trainer(run: Annotated[str, typer.Argument(help="The run's id.", envvar="FEDSILO_RUN")]) -> None:
    """Take part in a run: what a party's Job runs. Who it is stands in the environment."""
    from fedsilo import trainer

    raise typer.Exit(trainer.main(run))


def main() -> None:
    """Run the command. Known errors are one line on standard error and exit code 1; Ctrl-C and SIGTERM are 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except FedsiloError as error:
        Console(stderr=True).print(Text("error: ", "red").append(str(error), "default"), soft_wrap=True)
        sys.exit(1)
    except _Interrupted:
        Console(stderr=True).print("interrupted; nothing is left running")
        sys.exit(INTERRUPTED)


class _Interrupted(BaseException):
    """Not KeyboardInterrupt, which typer keeps to itself."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the impatient must not stop the clearing up
    raise _Interrupted


def _members(silos: str, known: list[str]) -> list[str]:
    if not silos:
        return known
    if silos.isdecimal():
        if not 1 <= int(silos) <= len(known):
            raise SpecError(f"--silos: {silos} is not between 1 and the federation's {len(known)}")
        return known[: int(silos)]
    chosen = silos.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SpecError(f"--silos: {', '.join(unknown)} not in the federation, which has {', '.join(known)}")
    return chosen


def _pairs(options: list[str]) -> dict[str, str]:
    pairs = dict(option.partition("=")[::2] for option in options)
    for option in options:
        if "=" not in option:
            raise SpecError(f"--set: {option!r} is not KEY=VALUE")
    return pairs
