"""``fedsilo run list`` of a thousand runs of ids of one's own, as a whole process."""

import json
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

RUNS = 1000


def seconds() -> dict[str, float]:
    """How long a list of the newest 20, and one of all, take."""
    with (
        Federation(Task("heart_disease", HOSPITALS[:2], 1, 0, {})) as federation,
        tempfile.TemporaryDirectory() as folder,
    ):
        s3 = aws.s3(federation.described.aggregator.region)
        over = json.dumps({"state": "FINISHED", "round": 1, "metrics": {"Test:AUC": 0.85}})

        def begin(number: int) -> None:
            run = federation.run.model_copy(update={"id": f"run-{number}", "created": datetime.now(UTC)})
            federation.client.put_run(run)
            for party in (names.AGGREGATOR, *run.silos):
                s3.put_object(Bucket=federation.bucket, Key=run.keys.status(party), Body=over)

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
