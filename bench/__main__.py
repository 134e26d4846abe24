"""``make bench``: fedsilo beside FedML's own gRPC backend and a plain loop, in one go on one machine.

Prints a table and writes bench/results.json. Whatever is compared runs in turn, several times, and the medians count:
the speed of a machine drifts, but ratios within one go are stable.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import control, federation, listing
from bench.task import HOSPITALS, Task

RESULTS = Path(__file__).parent / "results.json"
PARAMETERS = 25_000_000
SMALL = 1_000
REPEATS = 3
SEEDS = 5

Results = dict[str, Any]


def main() -> None:
    console = Console()
    results: Results = {"cpus": os.cpu_count(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    for part in (small_model, waiting, large_model, memory, demo, control_plane, run_list, quality):
        console.print(f"[dim]{part.__doc__}[/]")
        results[part.__name__] = part()
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    console.print(table(results))


def small_model() -> Results:
    """Logistic regression, 2 silos: seconds and CPU seconds per round."""
    arguments = ["--silos", *HOSPITALS[:2], "--rounds", "200"]
    return side_by_side(("bench.fedavg", "bench.fedml_grpc.federation", "bench.federation"), arguments, REPEATS)


def waiting() -> Results:
    """The CPU time of a waiting silo."""
    return federation.waiting(Task("heart_disease", HOSPITALS[:2], 1, 0, {}))


def large_model() -> Results:
    """25 million parameters, 2 silos: seconds per round, and the emulator's share of them."""
    modules = ("bench.fedavg", "bench.fedml_grpc.federation", "bench.federation")
    results = side_by_side(modules, _mlp(2, PARAMETERS, rounds=12), repeats=2)
    return results | federation.bare_round(_task(2, PARAMETERS), 4 * PARAMETERS)


def memory() -> Results:
    """The aggregator's peak memory beyond that with a small model, in models of 100 MB, with 2, 4 and 8 silos."""
    small = _run("bench.federation", _mlp(2, SMALL, rounds=3))["aggregator_peak_bytes"]
    peaks = {n: _run("bench.federation", _mlp(n, PARAMETERS, rounds=3))["aggregator_peak_bytes"] for n in (2, 4, 8)}
    return {f"models_{n}_silos": (peak - small) / (4 * PARAMETERS) for n, peak in peaks.items()}


def demo() -> Results:
    """``fedsilo demo --rounds 20``, 4 silos, start to end."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "fedsilo", "demo", "--rounds", "20", "--out", out]
        seconds = [_timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(REPEATS)]
        result = json.loads((Path(out) / "result.json").read_text())
    return {"seconds": statistics.median(seconds)} | {"first_round": result["start_to_first_round_seconds"]}


def control_plane() -> Results:
    """``fedsilo up``: idle agents, the time from ``run start`` to the first round, and ``fedsilo --help``."""
    return control.measure()


def run_list() -> Results:
    """``fedsilo run list`` of 1,000 runs, start to end."""
    runs = [listing.seconds() for _ in range(REPEATS)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def quality() -> Results:
    """The example over mail, 50 rounds, 4 silos: means over 5 seeds."""
    runs = [_run("bench.federation", ["--rounds", "50", "--seed", str(seed)])["metrics"] for seed in range(SEEDS)]
    return {
        "test_auc": statistics.mean(run["Test:AUC"] for run in runs),
        "test_accuracy": statistics.mean(run["Test:Accuracy"] for run in runs),
        "test_auc_by_seed": [run["Test:AUC"] for run in runs],
    }


def side_by_side(modules: tuple[str, ...], arguments: list[str], repeats: int) -> Results:
    """Run each module in turn, ``repeats`` times. Returns the medians of their numbers and of the ratios."""
    runs = [{module: _run(module, arguments) for module in modules} for _ in range(repeats)]
    results: Results = {
        module.removeprefix("bench."): {
            key: statistics.median(run[module][key] for run in runs)
            for key, value in runs[0][module].items()
            if isinstance(value, int | float)
        }
        for module in modules
    }
    for key in ("round_seconds", "round_cpu_seconds"):
        results[f"{key}_ratio"] = statistics.median(
            run["bench.federation"][key] / run["bench.fedml_grpc.federation"][key] for run in runs
        )
    return results


def table(results: Results) -> Table:
    shown = Table(title="fedsilo beside FedML 0.9.6 over gRPC", title_justify="left")
    for column, justify in (("", "left"), ("plain loop", "right"), ("FedML gRPC", "right"), ("fedsilo", "right")):
        shown.add_column(column, justify=justify)  # type: ignore[arg-type]
    shown.add_column("ratio", justify="right")
    for name, label in (("small_model", "logistic regression"), ("large_model", "25 M parameters")):
        part = results[name]
        for key, unit in (("round_seconds", "s/round"), ("round_cpu_seconds", "CPU s/round")):
            values = [part[module][key] for module in ("fedavg", "fedml_grpc.federation", "federation")]
            shown.add_row(f"{label}, {unit}", *(f"{value:.3f}" for value in values), f"{part[f'{key}_ratio']:.2f}")
    shown.add_row("  of which the emulator alone, s", "", "", f"{results['large_model']['bare_round_seconds']:.3f}", "")
    shown.add_row("a waiting silo, % of a core", "", "", f"{100 * results['waiting']['waiting_core_share']:.2f}", "")
    for silos in (2, 4, 8):
        models = results["memory"][f"models_{silos}_silos"]
        shown.add_row(f"aggregator above its small-model peak, {silos} silos, models", "", "", f"{models:.2f}", "")
    shown.add_row("demo, 20 rounds, 4 silos, s", "", "", f"{results['demo']['seconds']:.1f}", "")
    plane = results["control_plane"]
    shown.add_row("from run start to the first round, 4 silos, s", "", "", f"{plane['first_round_seconds']:.1f}", "")
    idle = f"{100 * plane['agent_core_share']:.2f} / {plane['agent_bytes'] / 1e6:.0f}"
    shown.add_row("an idle agent, % of a core / MB", "", "", idle, "")
    shown.add_row("fedsilo --help, s", "", "", f"{plane['help_seconds']:.2f}", "")
    listed = results["run_list"]
    times = f"{listed['newest_20']:.2f} / {listed['all']:.2f}"
    shown.add_row(f"run list of {listing.RUNS:,} runs: the newest 20 / all, s", "", "", times, "")
    quality = results["quality"]
    scores = f"{quality['test_auc']:.3f} / {quality['test_accuracy']:.3f}"
    shown.add_row("example, 50 rounds, 5 seeds, AUC / accuracy", "", "", scores, "")
    return shown


def _task(silos: int, parameters: int) -> Task:
    return Task("mlp", [f"silo-{n}" for n in range(1, silos + 1)], 1, 0, {"parameters": str(parameters)})


def _mlp(silos: int, parameters: int, rounds: int) -> list[str]:
    return [
        *("--workload", "mlp", "--silos", *_task(silos, parameters).silos, "--rounds", str(rounds)),
        *("--set", f"parameters={parameters}", "samples=16", "batch_size=16"),
    ]


def _run(module: str, arguments: list[str]) -> Results:
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: Results = json.loads(done.stdout)
    return result


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
