"""The control plane of ``fedsilo up``: idle agents, the time until a run's first round, and the help."""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.federation import cpu_seconds
from bench.task import HOSPITALS
from fedsilo import names
from fedsilo.admin.client import HubClient
from fedsilo.config.load import load_federation
from fedsilo.local import supervisor

IDLE_SECONDS = 60.0
"""How long idle agents are measured; each sends one heartbeat in this time."""

RUNS = 3


def measure() -> dict[str, float]:
    """Measure in seconds, bytes and shares of a core: medians over the agents, or over ``RUNS`` repetitions.

    ``first_round_seconds`` is the time from the start of the ``run start`` process until round 0 opens.
    """
    results = {"help_seconds": statistics.median(_seconds("--help") for _ in range(RUNS))}
    with tempfile.TemporaryDirectory(prefix="fedsilo-bench-") as folder:
        file = Path(shutil.copy("federation.yaml", folder))
        try:
            results["up_seconds"] = _seconds("up", "--federation", str(file))
            agents = [_agent(file, party) for party in (names.AGGREGATOR, *HOSPITALS)]
            before = {pid: cpu_seconds(pid) for pid in agents}
            time.sleep(IDLE_SECONDS)
            results["agent_core_share"] = statistics.median(
                (cpu_seconds(pid) - before[pid]) / IDLE_SECONDS for pid in agents
            )
            results["agent_bytes"] = statistics.median(_resident_bytes(pid) for pid in agents)
            results["first_round_seconds"] = statistics.median(_first_round_seconds(file) for _ in range(RUNS))
        finally:
            supervisor.take_down(file)
    return results


def _first_round_seconds(file: Path) -> float:
    started = time.time()
    _fedsilo("run", "start", "heart_disease", "--rounds", "2", "--watch", "--federation", str(file))
    supervisor.connect(file)
    reader = HubClient.of(load_federation(file)).reader
    newest = next(reader.newest_runs()).run
    return reader.record(reader.run(newest)[0]).opened()[0] - started


def _fedsilo(*arguments: str) -> str:
    command = [sys.executable, "-m", "fedsilo", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    _fedsilo(*arguments)
    return time.perf_counter() - start


def _agent(file: Path, party: str) -> int:
    """The pid of the party's agent, without the shell around it."""
    shell = (supervisor.folder_of(file) / party / "agent" / "pid").read_text().strip()
    return int(Path(f"/proc/{shell}/task/{shell}/children").read_text())


def _resident_bytes(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
