"""``fedsilo simulate``: a run of simulated silos in one process, on a virtual clock."""

from pathlib import Path
from typing import Annotated

import typer

from fedsilo import terminal
from fedsilo.cli import group, options
from fedsilo.config.federation import Federation
from fedsilo.config.load import load_federation
from fedsilo.config.run import DEADLINE_SECONDS, ROUNDS
from fedsilo.errors import SpecError, UsageError

MOST_SILOS = 1000

app = group.new_app()


@app.command(epilog=group.EXIT_CODES)
def simulate(
    workload: options.Workload,
    silos: options.Silos = "",
    partition: Annotated[
        str,
        typer.Option(help="Split the pooled data: iid or dirichlet:0.3. --silos is then a number.", metavar="HOW"),
    ] = "",
    rounds: options.Rounds = ROUNDS,
    overrides: options.Overrides = None,
    seed: options.Seed = 0,
    quorum: options.Quorum = None,
    fraction: options.Fraction = 1.0,
    deadline: options.Deadline = DEADLINE_SECONDS,
    out: Annotated[Path, typer.Option(help="The folder for the report, model, result and log.", metavar="DIR")] = Path(
        "out"
    ),
    federation: options.SpecFile = options.SPEC_FILE,
) -> None:
    """Simulate a run in one process, with the code that runs in a pod."""
    from fedsilo.simulation.simulate import simulate as run_simulation  # FedML and torch take seconds

    spec = load_federation(federation)
    if partition:
        spec = _of_equal_silos(spec, silos)
    selected = [silo.name for silo in spec.silos] if partition else options.select_silos(silos, spec)
    run = options.plan_run(
        spec,
        workload,
        selected,
        overrides,
        rounds=rounds,
        seed=seed,
        quorum=quorum,
        least_silos=max(party.policy.min_silos for party in spec.parties),
        fraction=fraction,
        deadline_seconds=deadline,
        simulated=True,
    )
    split = None
    if partition:
        from fedsilo.simulation.partition import Partition
        from fedsilo.simulation.silos import partitioned

        try:
            split = partitioned(run, Partition.parse(partition), spec.silos[0].policy.min_samples)
        except SpecError as error:
            raise UsageError(f"--{error}") from error
    with options.out_folder(out) as folder:
        run_simulation(spec, run, split, folder, terminal.console())


def _of_equal_silos(spec: Federation, silos: str) -> Federation:
    """The federation with so many silos, all like its first one but for their names."""
    if not silos.isdecimal() or not 1 <= int(silos) <= MOST_SILOS:
        raise UsageError(f"--silos: {silos!r} should be a number from 1 to {MOST_SILOS} with --partition")
    first = spec.silos[0].model_dump(exclude_unset=True)
    alike = [first | {"name": f"silo-{number}"} for number in range(1, int(silos) + 1)]
    return Federation.model_validate(spec.model_dump(exclude_unset=True) | {"silos": alike})
