"""How long ``cdk synth`` takes: ``python -m bench.synth``. Prints a line for each number of silos.

Each size is synthesized twice in a fresh process, with CDK's own validation off, and the second run counts: the first
compiles bytecode and fills jsii's cache.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (4, 25, 50, 100)


def spec(silos: int) -> str:
    lines = ["name: bench", "aggregator: {region: us-east-1, vpc_cidr: 10.0.0.0/16}", "silos:"]
    lines += [f"  - {{name: silo-{i}, vpc_cidr: 10.{i + 1}.0.0/16}}" for i in range(silos)]
    return "\n".join(lines)


def run(path: Path, out: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one synth, Python and Node together."""
    environment = {
        **os.environ,
        "FEDSILO_FEDERATION_FILE": str(path),
        "CDK_OUTDIR": str(out),
        "CDK_VALIDATION": "false",
    }
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "app.py"], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu


def main() -> None:
    print("silos  wall s  CPU s  CPU s per added silo")
    smallest: tuple[int, float] | None = None
    for silos in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "federation.yaml"
            path.write_text(spec(silos))
            run(path, Path(directory) / "first")
            wall, cpu = run(path, Path(directory) / "second")
        smallest = smallest or (silos, cpu)
        slope = f"{(cpu - smallest[1]) / (silos - smallest[0]):.3f}" if silos > smallest[0] else ""
        print(f"{silos:5}  {wall:6.1f}  {cpu:5.1f}  {slope}")


if __name__ == "__main__":
    main()
