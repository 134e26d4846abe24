"""fedsilo itself: every party is a process, and mail goes through the local AWS emulator on the same machine.

    python -m bench.federation --silos cleveland hungary --rounds 100
    python -m bench.federation --workload mlp --silos a b --rounds 6 --set parameters=25000000 samples=16 batch_size=16

Prints one JSON object.
"""

import json
import os
import re
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.task import Task, parser
from bench.trainers import Trainer, stop
from fedsilo import names
from fedsilo.admin.client import HubClient
from fedsilo.aws import s3
from fedsilo.config.load import parse_federation
from fedsilo.config.run import Run
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.states import PartyState

WARM_UP_SECONDS = 6.0
"""Rounds that open in this time after round 0 are left out: meanwhile the parties import the SageMaker SDK."""

WAIT_SECONDS = 20.0
"""How long a waiting silo is measured."""

START_SECONDS = 60.0
"""How long a silo may take to start."""


@dataclass(frozen=True)
class Sample:
    """The CPU time that a federation had used at a Unix time, in seconds."""

    time: float
    parties: float
    emulator: float


def main() -> None:
    json.dump(run(Task.of(parser(__doc__).parse_args())), sys.stdout, indent=2)
    print()


def run(task: Task) -> dict[str, Any]:
    """Run one federation from start to end.

    Returns:
        ``round_seconds``, the median; ``round_cpu_seconds``, the mean over all parties without the emulator, and
        ``emulator_round_cpu_seconds``, all three without the warm-up; ``aggregator_peak_bytes``, the largest resident
        set; ``start_to_first_round_seconds``, until round 0 opened; and the ``metrics`` of the last global model.
    """
    with Federation(task) as federation:
        started = time.time()
        federation.start(names.AGGREGATOR, *task.silos)
        peak, samples = _sampled(federation)
        record = federation.reader.record(federation.run)
        if record.rounds_completed < task.rounds:
            raise SystemExit(f"the run did not complete:\n{federation.logs()}")
    return {
        "metrics": {name: record.metric(name) for name in ("Test:AUC", "Test:Accuracy", "Test:Loss")},
        **_round_costs(record.opened(), samples),
        "aggregator_peak_bytes": peak,
        "start_to_first_round_seconds": record.opened()[0] - started,
    }


def _sampled(federation: "Federation") -> tuple[int, list[Sample]]:
    """The aggregator's largest resident set in bytes, and samples of the CPU time until it ends."""
    peak, samples = 0, []
    while federation.trainers[names.AGGREGATOR].exit_code is None:
        peak = max(peak, federation.peak_bytes(names.AGGREGATOR))
        samples.append(Sample(time.time(), federation.cpu_seconds(), federation.emulator_cpu_seconds()))
        time.sleep(0.1)
    return peak, samples


def _round_costs(opened: list[float], samples: list[Sample]) -> dict[str, float]:
    """What a round after the warm-up costs.

    Args:
        opened: When each round opened, and when the last one ended, as Unix times.
        samples: Samples of the CPU time over the whole run.
    """
    warm = bisect_right(opened, opened[0] + WARM_UP_SECONDS)
    warm = min(warm if warm < len(opened) else 1, len(opened) - 2)
    rounds = [bisect_right(opened, sample.time) - 1 for sample in samples]
    first = next(at for at, round_idx in enumerate(rounds) if round_idx >= warm)
    last = rounds.index(rounds[-1])
    count = max(1, rounds[last] - rounds[first])
    return {
        "round_seconds": statistics.median(after - before for before, after in pairwise(opened[warm:])),
        "round_cpu_seconds": (samples[last].parties - samples[first].parties) / count,
        "emulator_round_cpu_seconds": (samples[last].emulator - samples[first].emulator) / count,
    }


def waiting(task: Task) -> dict[str, float]:
    """The share of a core that a silo uses while it waits for the aggregator, over ``WAIT_SECONDS``."""
    with Federation(task) as federation:
        federation.start(task.silos[0])
        deadline = time.monotonic() + START_SECONDS
        while federation.reader.status(federation.run, task.silos[0]).state != PartyState.WAITING:
            if time.monotonic() > deadline:
                raise SystemExit(f"the silo did not start within {START_SECONDS:g} s:\n{federation.logs()}")
            time.sleep(0.2)
        time.sleep(WARM_UP_SECONDS)
        before = federation.cpu_seconds()
        time.sleep(WAIT_SECONDS)
        return {"waiting_core_share": (federation.cpu_seconds() - before) / WAIT_SECONDS}


def bare_round(task: Task, size: int) -> dict[str, float]:
    """The seconds that the emulator alone takes for the bytes of a round, one transfer after another.

    The aggregator puts ``size`` bytes, every silo gets them and puts as many, and the aggregator gets those.
    """
    body = os.urandom(size)
    with Federation(task) as federation:
        client, bucket = s3("us-east-1"), federation.bucket
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            client.put_object(Bucket=bucket, Key="bare/all", Body=body)
            for silo in task.silos:
                client.get_object(Bucket=bucket, Key="bare/all")["Body"].read()
                client.put_object(Bucket=bucket, Key=f"bare/{silo}", Body=body)
            for silo in task.silos:
                client.get_object(Bucket=bucket, Key=f"bare/{silo}")["Body"].read()
            seconds.append(time.perf_counter() - start)
    return {"bare_round_seconds": statistics.median(seconds)}


class Federation:
    """The task's federation on this machine. As a context manager, it leaves no process behind."""

    def __init__(self, task: Task) -> None:
        self.described = parse_federation(
            {
                "name": "bench",
                "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16"},
                "silos": [{"name": silo, "vpc_cidr": f"10.{i}.0.0/16"} for i, silo in enumerate(task.silos, start=1)],
            }
        )
        self.run = Run.checked(
            {
                "run": "bench-run",
                "federation": "bench",
                "workload": task.name,
                "silos": list(task.silos),
                "rounds": task.rounds,
                "hyperparameters": dict(task.overrides),
                "seed": task.seed,
                "quorum": len(task.silos),
                "deadline_seconds": 600.0,
                "join_seconds": 120.0,
                "created": datetime.now(UTC),
            }
        )
        self.bucket = names.mail_bucket("bench", emulator.ACCOUNT, "us-east-1")
        self.trainers: dict[str, Trainer] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Federation":
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fedsilo-bench-")))
        self._aws = self._stack.enter_context(emulator.Emulator())
        self._stack.callback(os.environ.update, dict(os.environ))
        self._stack.callback(os.environ.clear)
        emulator.use(self._aws.endpoint, self._aws.access_key, "us-east-1")
        create_hub(self.described)
        self.client = HubClient.of(self.described)
        _, self.identity = self.client.put_run(self.run)
        self.reader = self.client.reader
        return self

    def __exit__(self, *_: object) -> None:
        stop(list(self.trainers.values()))
        self._stack.close()

    def start(self, *parties: str) -> None:
        """Start the parties' trainers."""
        for party in parties:
            settings = party_settings(self.described, party)
            log = self._folder / f"{party}.log"
            self.trainers[party] = Trainer(settings, self.identity, self._aws.endpoint, log, self._folder)

    def cpu_seconds(self) -> float:
        """User and system time of all parties so far, to the hundredth."""
        return sum(cpu_seconds(trainer.pid) for trainer in self.trainers.values())

    def emulator_cpu_seconds(self) -> float:
        """User and system time of the emulator so far, to the hundredth."""
        return cpu_seconds(self._aws.pid)

    def peak_bytes(self, party: str) -> int:
        """The largest resident set of the party's trainer so far; 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.trainers[party].pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def logs(self) -> str:
        """The last lines of every trainer's log."""
        return "\n".join(line for trainer in self.trainers.values() for line in trainer.last_lines(10))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
