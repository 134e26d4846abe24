"""Runs a federation over FedML's gRPC backend, with each party as a local process, and measures its rounds.

    python -m bench.fedml_grpc.federation --silos cleveland hungary --rounds 30
    python -m bench.fedml_grpc.federation --workload mlp --silos a b --rounds 8 --limit 300 \
        --set parameters=25000000 samples=16 batch_size=16

Prints one JSON object.
"""

import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.task import Task, parser

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venvs" / "mlops" / "bin" / "python"
WARM_UP = 2
"""Rounds at the start that are not measured."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--limit", type=float, default=300.0, help="seconds after which the federation is ended")
    given = options.parse_args()
    json.dump(run(Task.of(given), given.limit), sys.stdout, indent=2)
    print()


def run(task: Task, limit: float) -> dict[str, Any]:
    """Run one federation from start to end.

    Args:
        task: What to run.
        limit: Seconds after which the federation is ended if it has not ended by itself.

    Returns:
        ``ended``: ``finished``, ``failed`` or ``out of time``; ``log``, the end of the log of a party that failed;
        ``rounds`` that were completed; ``round_seconds``, the median, and ``round_cpu_seconds``, the mean over all
        parties together, both without the warm-up; ``server_peak_bytes``, the server's largest resident set with its
        imports; and the ``metrics`` of the last global model. What could not be measured is None.
    """
    ranks = range(len(task.silos) + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_peers(folder / "peers.csv", len(ranks))
        codes = _ended([_start(task, rank, folder) for rank in ranks], limit)
        records = [_read(folder / f"{rank}.jsonl") for rank in ranks]
        failed = next((rank for rank in ranks if codes[rank]), None)
        log = (folder / f"{failed}.log").read_text()[-2000:] if failed is not None else None
    ending = "failed" if failed is not None else "out of time" if None in codes else "finished"
    return {"ended": ending, "log": log, **_measures(records)}


def _ended(parties: Sequence[subprocess.Popen[bytes]], limit: float) -> list[int | None]:
    """Wait until all parties have ended, one has failed or time is up. Returns the exit codes; None if it still ran."""
    deadline = time.monotonic() + limit
    try:
        while any(party.poll() is None for party in parties) and time.monotonic() < deadline:
            if any(party.poll() for party in parties):
                break  # the others would wait for ever
            time.sleep(0.2)
        return [party.poll() for party in parties]
    finally:
        for party in parties:
            if party.poll() is None:
                os.killpg(party.pid, signal.SIGKILL)
            party.wait()


def _measures(records: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """What the parties' records say, the server's first."""
    marks = [[line for line in record if "seconds" in line][WARM_UP:] for record in records]
    times = [mark["seconds"] for mark in marks[0]]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return {
        "rounds": len(times) + WARM_UP if times else 0,
        "round_seconds": statistics.median(steps) if steps else None,
        "round_seconds_slowest": max(steps, default=None),
        "round_cpu_seconds": sum(map(_cpu_per_round, marks)) if steps else None,
        "server_peak_bytes": max((line.get("peak_bytes", 0) for line in records[0]), default=None),
        "metrics": next((line["metrics"] for line in records[0] if "metrics" in line), None),
    }


def _start(task: Task, rank: int, folder: Path) -> subprocess.Popen[bytes]:
    given = {"rank": rank, "task": asdict(task), "folder": str(folder)}
    environment = {
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }
    with (folder / f"{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [PYTHON, "-m", "bench.fedml_grpc.party", json.dumps(given)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _write_peers(path: Path, parties: int) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(parties)]
    lines = [f"{rank},{rank},127.0.0.1,{listener.getsockname()[1]}" for rank, listener in enumerate(sockets)]
    for listener in sockets:
        listener.close()
    path.write_text("\n".join(["eid,rank,grpc_server_ip,grpc_server_port", *lines]) + "\n")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _cpu_per_round(marks: list[dict[str, float]]) -> float:
    return (marks[-1]["cpu_seconds"] - marks[0]["cpu_seconds"]) / (len(marks) - 1) if len(marks) > 1 else 0.0


if __name__ == "__main__":
    main()
