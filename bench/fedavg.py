"""FedAvg in one process with a workload's own classes: no mail, no managers. The limit of speed, and the quality.

    python -m bench.fedavg --rounds 50 --seeds 0 1 2 3 4
    python -m bench.fedavg --workload mlp --silos a b --rounds 6 --set parameters=25000000 samples=16 batch_size=16

Prints one JSON object: for each seed the last round's metrics and what the rounds cost, and the metrics' means.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections import OrderedDict
from typing import Any

import torch

from bench.task import HOSPITALS, Task
from fedsilo.learning import Sums


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workload", default="heart_disease")
    parser.add_argument("--silos", nargs="+", default=HOSPITALS)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="chosen")
    options = parser.parse_args()
    chosen = dict(pair.split("=", 1) for pair in options.chosen)
    runs = [run(Task(options.workload, options.silos, options.rounds, seed, chosen)) for seed in options.seeds]
    names = runs[0]["metrics"]
    means = {name: statistics.fmean(run["metrics"][name] for run in runs) for name in names}
    json.dump({"runs": runs, "means": means}, sys.stdout, indent=2)
    print()  # noqa: T201


def run(task: Task) -> dict[str, Any]:
    """One federation from start to end. ``round_seconds`` is the median, ``round_cpu_seconds`` the mean."""
    workload = task.workload
    torch.manual_seed(task.seed)
    aggregator = workload.aggregator(workload.model(task.args(0)), task.args(0))
    silos = []
    for rank in range(1, len(task.silos) + 1):
        args = task.args(rank)
        data = workload.load_silo(args)
        trainer = workload.trainer(workload.model(args), args)
        trainer.update_dataset(data.train, data.test, data.num_train)
        silos.append((trainer, data, args))
    aggregator.apply_statistics(_total([trainer.statistics(data.train) for trainer, data, _ in silos]))

    device = torch.device("cpu")
    seconds, cpu = [], time.process_time()
    metrics: dict[str, float] = {}
    for round_idx in range(task.rounds):
        start = time.perf_counter()
        parameters = aggregator.get_model_params()
        updates = []
        for trainer, data, args in silos:
            args.round_idx = round_idx
            trainer.set_model_params(parameters)
            trainer.train(data.train, device, args)
            updates.append((data.num_train, trainer.get_model_params()))
        aggregator.set_model_params(aggregator.on_after_aggregation(_average(updates)))
        parameters = aggregator.get_model_params()
        sums = []
        for trainer, data, args in silos:
            trainer.set_model_params(parameters)
            sums.append(trainer.test(data.test, device, args))
        metrics = aggregator.metrics(_total(sums))
        seconds.append(time.perf_counter() - start)
    return {
        "seed": task.seed,
        "metrics": metrics,
        "round_seconds": statistics.median(seconds),
        "round_cpu_seconds": (time.process_time() - cpu) / task.rounds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _average(updates: list[tuple[int, "OrderedDict[str, torch.Tensor]"]]) -> "OrderedDict[str, torch.Tensor]":
    total = sum(samples for samples, _ in updates)
    average = OrderedDict((name, tensor * (updates[0][0] / total)) for name, tensor in updates[0][1].items())
    for samples, update in updates[1:]:
        for name, tensor in update.items():
            average[name].add_(tensor, alpha=samples / total)
    return average


def _total(sums: list[Sums]) -> Sums:
    return {name: torch.stack([one[name] for one in sums]).sum(0) for name in sums[0]}


if __name__ == "__main__":
    main()
