"""How long ``fedsilo run list`` takes, from start to end, with a thousand runs."""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from bench.federation import Federation
from bench.task import HOSPITALS, Task
from fedsilo import aws, names
from fedsilo.ledger.schema import Status
from fedsilo.states import PartyState

RUNS = 1000


def seconds() -> dict[str, float]:
    """The seconds for a list of the newest 20 runs, and for a list of all."""
    with (
        Federation(Task("heart_disease", HOSPITALS[:2], 1, 0, {})) as federation,
        tempfile.TemporaryDirectory() as folder,
    ):
        s3 = aws.s3(federation.described.aggregator.region)
        finished = Status(state=PartyState.FINISHED, round=1, metrics={"Test:AUC": 0.85}).dumps()

        def begin(number: int) -> None:
            run = federation.run.model_copy(update={"id": f"run-{number}", "created": datetime.now(UTC)})
            federation.client.put_run(run)
            for party in (names.AGGREGATOR, *run.silos):
                s3.put_object(Bucket=federation.bucket, Key=run.keys.status(party), Body=finished)

        with ThreadPoolExecutor() as pool:
            list(pool.map(begin, range(RUNS)))
        file = Path(folder, "federation.yaml")
        file.write_text(federation.described.model_dump_json(exclude_unset=True))
        return {"newest_20": _seconds(file), "all": _seconds(file, "--all")}


def _seconds(file: Path, *arguments: str) -> float:
    command = [sys.executable, "-m", "fedsilo", "run", "list", "--federation", str(file), *arguments]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
