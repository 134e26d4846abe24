"""One run whose parties are all simulated in this process: what ``fedsilo simulate`` does.

There are no agents: a run of a thousand silos starts its trainers itself, with one policy for all. A trainer that fails
is not started again; the simulation ends with what failed.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from fedsilo import logs, names
from fedsilo.admin.client import HubClient
from fedsilo.admin.progress import ProgressLines, RunProgress
from fedsilo.config.federation import Federation
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError, RunError
from fedsilo.report.result import RunResult
from fedsilo.simulation.federation import SimulatedFederation
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.network import Network
from fedsilo.simulation.world import StuckError, World
from fedsilo.states import PartyState
from fedsilo.text import duration
from fedsilo.workload.registry import Workload

LOG = "simulation.log"
"""The log of all parties."""

SLACK_SECONDS = 3600.0
"""The virtual time that a run may take beside its rounds at their longest."""


def simulate(federation: Federation, run: Run, workload: Workload | None, out: Path, console: Console) -> RunResult:
    """Simulate a run, show its progress, and write its result.

    Args:
        federation: The parties.
        run: The run.
        workload: What the parties run; None for the run's own.
        out: The folder for report.html, model.safetensors, result.json and the log.
        console: Where the progress is shown.

    Raises:
        RunError: The run failed; the message has the reason.
    """
    with tempfile.TemporaryDirectory(prefix="fedsilo-simulation-") as folder, _logged(out / LOG):
        world = World(run.seed)
        run = run.model_copy(update={"created": world.wall_time()})
        hub = SimulatedHub(world, federation, Network())
        simulated = SimulatedFederation(federation, world, hub, Path(folder), workload=workload, agents=False)
        console.print(f"{run.id}: {run.workload}, {run.rounds} rounds, {len(run.silos)} simulated silos")
        simulated.launch(run)
        _follow(simulated, run, console)
        result = simulated.operate(lambda: _write(HubClient.of(federation), run, out))
    console.print(result.headline, soft_wrap=True)
    console.print(f"report, model, result and log: {out}", soft_wrap=True)
    if result.aggregator.state != PartyState.FINISHED:
        raise RunError(f"run {run.id} failed: {result.aggregator.reason or 'the aggregator gave no reason'}")
    return result


def _write(hub: HubClient, run: Run, out: Path) -> RunResult:
    result = RunResult.of(hub.reader.record(run))
    result.write(out, lambda file: hub.reader.download_model(run, names.AGGREGATOR, file))
    return result


def _follow(simulated: SimulatedFederation, run: Run, console: Console) -> None:
    """Let things happen until each party's part has ended, and show each change of the run's state or round."""
    lines, status_key = ProgressLines(), run.keys.status(names.AGGREGATOR)
    limit = SLACK_SECONDS + run.join_seconds + (run.rounds + 1) * run.longest_deadline
    failed: list[str] = []

    def show(bucket: str, key: str, version: object) -> None:
        if key == status_key:
            progress = RunProgress(run, simulated.statuses(run))
            for line in lines.news(progress):
                console.print(f"{duration(simulated.world.time):>12}  {line}", markup=False, soft_wrap=True)

    def over() -> bool:
        failed.extend(simulated.defects())
        return bool(failed) or not simulated.running

    simulated.hub.buckets.on_put = show
    try:
        simulated.world.run(over, limit)
    except StuckError as error:
        raise RunError(f"run {run.id}: {error}") from error
    if failed:
        raise FedsiloError(f"the trainer of {failed[0]} failed; {LOG} has the traceback")


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Write the log of all parties to a file instead of the terminal."""
    handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    handler.setFormatter(logs.LineFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
