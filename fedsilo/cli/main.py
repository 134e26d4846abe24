"""The ``fedsilo`` command. Every command imports what it needs when it runs, so that help is instant."""

import signal
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import Shells, completion_init, get_completion_script  # type: ignore[attr-defined]

from fedsilo import signals
from fedsilo.agent import health
from fedsilo.agent.health import Probe
from fedsilo.cli import doctor, local, model, options, run, silo, spec
from fedsilo.config.defaults import DEADLINE_SECONDS, ROUNDS
from fedsilo.errors import LauncherError, SpecError, UsageError

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, ``kill``, and the terminal that is closed."""

app = typer.Typer(
    cls=options.Group,
    help="Federated learning between organisations that may not show each other their data, on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for noun, commands in (("run", run), ("model", model), ("silo", silo), ("spec", spec)):
    app.add_typer(commands.app, name=noun)
for command in (doctor.doctor, local.up, local.down):
    app.command(epilog=options.ALL)(command)


@app.command()
def demo(
    workload: Annotated[str, typer.Option(help="What to learn: a folder of workloads/.")] = "heart_disease",
    rounds: options.Rounds = ROUNDS,
    silos: options.Silos = "",
    seed: options.Seed = 0,
    chosen: options.Chosen = None,
    quorum: options.Quorum = None,
    deadline: options.Deadline = DEADLINE_SECONDS,
    out: Annotated[Path, typer.Option(help="Where report, model, result and logs go.", metavar="DIR")] = Path("out"),
    federation: options.SpecFile = options.SPEC_FILE,
) -> None:
    """Train a federation on this machine, against a local AWS emulator."""
    from fedsilo import terminal
    from fedsilo.cli import demo
    from fedsilo.config import federation as spec

    described = spec.load(federation)
    run = options.planned(
        described,
        workload,
        silos,
        chosen,
        rounds=rounds,
        seed=seed,
        quorum=quorum,
        deadline_seconds=deadline,
    )
    demo.run(described, run, options.folder(out), terminal.console())


@app.command(epilog=options.ALL)
def cost(as_json: options.AsJson = False, federation: options.SpecFile = options.SPEC_FILE) -> None:
    """Price the federation: a month idle, and an hour of training, by party and item."""
    from dataclasses import asdict

    from fedsilo import terminal
    from fedsilo.admin import cost
    from fedsilo.config import federation as spec

    lines = cost.lines(spec.load(federation), cost.templates(federation))
    if as_json:
        terminal.print_json([asdict(line) for line in lines])
    else:
        terminal.console().print(cost.table(lines))


@app.command(epilog=options.ALL)
def package(
    workload: Annotated[str, typer.Option(help="What to learn: a folder of workloads/.")],
    out: Annotated[Path, typer.Option(help="Where the packages go.", metavar="DIR")] = Path("out"),
) -> None:
    """Build a workload's client and server packages for FedML's hosted platform (control_plane: mlops)."""
    from fedsilo import terminal
    from fedsilo.mlops import package

    try:
        packages = package.build(workload, out)
    except SpecError as error:
        raise UsageError(str(error)) from error
    console = terminal.console()
    console.print(f"{workload}: built by FedML, and each file is as its source")
    for built in packages:
        console.print(f"{built.path}: {built.size:,} bytes, SHA-256 {built.sha256}", soft_wrap=True)
    console.print("next: upload both on FedML's platform as an application, and start a run of it (docs/mlops.md)")


@app.command()
def completion(shell: Annotated[Shells, typer.Argument(help="Whose.")]) -> None:
    """Print what makes a shell complete fedsilo's commands: fedsilo completion bash >> ~/.bashrc"""
    script = get_completion_script(prog_name="fedsilo", complete_var="_FEDSILO_COMPLETE", shell=shell.value)
    print(script)  # noqa: T201


@app.command()
def agent(
    probe: Annotated[
        Probe | None, typer.Option(help="Only tell, by the exit code, how the agent on this machine is.")
    ] = None,
) -> None:
    """Take run requests for a party and look after its trainers. Who it is stands in the environment."""
    if probe:
        if wrong := health.problem(probe):
            raise LauncherError(wrong)
        return
    from fedsilo.agent import main as agent_main

    raise typer.Exit(agent_main.main())


@app.command(hidden=True)
def trainer(run: Annotated[str, typer.Argument(help="The run's id.", envvar="FEDSILO_RUN")]) -> None:
    """Take part in a run: what a party's Job runs. Who it is stands in the environment."""
    from fedsilo.training import trainer

    raise typer.Exit(trainer.main(run))


def main() -> None:
    """Run the command. It ends with the exit codes of ``fedsilo.cli.options``."""
    signals.raise_once(KeyboardInterrupt(), *_INTERRUPTS)
    completion_init()
    app(prog_name="fedsilo")
