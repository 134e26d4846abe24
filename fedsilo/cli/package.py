"""``fedsilo package``: a workload's packages for FedML's hosted platform."""

from pathlib import Path
from typing import Annotated

import typer

from fedsilo import terminal
from fedsilo.cli import group
from fedsilo.cli.options import WORKLOAD_HELP
from fedsilo.errors import SpecError, UsageError
from fedsilo.mlops.package import build

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def package(
    workload: Annotated[str, typer.Option(help=WORKLOAD_HELP)],
    out: Annotated[Path, typer.Option(help="The folder for the packages.", metavar="DIR")] = Path("out"),
) -> None:
    """Build a workload's packages for FedML's hosted platform.

    A federation with `control_plane: mlops` needs them: one for the silos (client), one for the aggregator (server).
    """
    try:
        packages = build(workload, out)
    except SpecError as error:
        raise UsageError(str(error)) from error
    console = terminal.console()
    console.print(f"{workload}: built by FedML; every file was compared with its source")
    for built in packages:
        console.print(f"{built.path}: {built.size:,} bytes, SHA-256 {built.sha256}", soft_wrap=True)
    console.print(
        "next: upload both on FedML's platform as an application, and start a run of it (docs/mlops.md)", soft_wrap=True
    )
