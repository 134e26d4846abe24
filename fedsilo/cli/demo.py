"""``fedsilo demo``: a whole federation on this machine, from an empty AWS emulator to a model and a report."""

from pathlib import Path
from typing import Annotated

import typer

from fedsilo import terminal
from fedsilo.cli import group, options
from fedsilo.cli.options import WORKLOAD_HELP
from fedsilo.config.load import load_federation
from fedsilo.config.run import DEADLINE_SECONDS, ROUNDS
from fedsilo.local.demo import run_demo

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def demo(
    workload: Annotated[str, typer.Option(help=WORKLOAD_HELP)] = "heart_disease",
    rounds: options.Rounds = ROUNDS,
    silos: options.Silos = "",
    seed: options.Seed = 0,
    overrides: options.Overrides = None,
    quorum: options.Quorum = None,
    fraction: options.Fraction = 1.0,
    require_silos: options.RequireSilos = "",
    deadline: options.Deadline = DEADLINE_SECONDS,
    out: Annotated[Path, typer.Option(help="The folder for the report, model, result and logs.", metavar="DIR")] = Path(
        "out"
    ),
    federation: options.SpecFile = options.SPEC_FILE,
) -> None:
    """Train a federation on this machine, with a local AWS emulator."""
    spec = load_federation(federation)
    selected = options.select_silos(silos, spec)
    parties = [spec.aggregator, *(spec.party(silo) for silo in selected)]
    run = options.plan_run(
        spec,
        workload,
        selected,
        overrides,
        rounds=rounds,
        seed=seed,
        quorum=quorum,
        least_silos=max(party.policy.min_silos for party in parties),
        fraction=fraction,
        require_silos=options.parse_require_silos(require_silos, selected),
        deadline_seconds=deadline,
    )
    with options.out_folder(out) as folder:
        run_demo(spec, run, folder, terminal.console())
