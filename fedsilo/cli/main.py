"""The ``fedsilo`` command: the table of its commands, and how the process starts."""

import signal
from typing import Annotated, ClassVar

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from fedsilo import __version__, signals
from fedsilo.cli.group import Lazy, LazyGroup

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, ``kill``, and a terminal that is closed."""


class _Commands(LazyGroup):
    lazy: ClassVar[dict[str, Lazy]] = {
        "demo": Lazy("demo", "Train a federation on this machine, with a local AWS emulator."),
        "simulate": Lazy("simulate", "Simulate a run in one process, with the code that runs in a pod."),
        "up": Lazy("local", "Start the federation on this machine, until fedsilo down."),
        "down": Lazy("local", "End the federation of fedsilo up; its runs are deleted."),
        "run": Lazy("run", "Start, watch and abort runs, and look at them."),
        "model": Lazy("model", "Download the model of a run."),
        "silo": Lazy("silo", "Show the parties and their agents."),
        "spec": Lazy("spec", "Check the federation's file."),
        "doctor": Lazy("doctor", "Check that you can run the federation."),
        "cost": Lazy("cost", "Estimate what the federation costs on AWS."),
        "package": Lazy("package", "Build a workload's packages for FedML's hosted platform."),
        "completion": Lazy("completion", "Print the completion script for a shell."),
        "agent": Lazy("agent", "Run a party's agent."),
        "trainer": Lazy("trainer", "Run a party's trainer.", hidden=True),
    }


app = typer.Typer(
    cls=_Commands,
    help="Federated learning between organisations that may not show each other their data, on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedsilo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """The options of ``fedsilo`` itself."""


def main() -> None:
    """Run the command. The process ends with one of the exit codes of ``CommandExit``."""
    signals.raise_once(KeyboardInterrupt(), *_INTERRUPTS)
    completion_init()
    app(prog_name="fedsilo")
