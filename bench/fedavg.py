"""FedAvg in one process with a workload's own classes, without mail and managers: how fast and how good it can be.

    python -m bench.fedavg --rounds 50 --seed 3
    python -m bench.fedavg --workload mlp --silos a b --rounds 6 --set parameters=25000000 samples=16 batch_size=16

Prints one JSON object.
"""

import json
import statistics
import sys
import time
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from bench.measure import peak_bytes
from bench.task import Task, parser
from fedsilo.workload.base import Aggregator, Estimate, Sums, Trainer, metrics_of
from fedsilo.workload.registry import SiloData

Silo = tuple[Trainer, SiloData, Namespace]

CPU = torch.device("cpu")


def main() -> None:
    json.dump(run(Task.of(parser(__doc__).parse_args())), sys.stdout, indent=2)
    print()


def run(task: Task) -> dict[str, Any]:
    """Run one federation from start to end.

    Returns:
        ``round_seconds``, the median; ``round_cpu_seconds``, the mean; ``peak_bytes``, the largest resident set of the
        process with its imports; the ``metrics`` of the last global model; and ``largest_bound``, that of any metric
        after any round.
    """
    torch.manual_seed(task.seed)
    aggregator = task.workload.aggregator(task.workload.model(task.args(0)), task.args(0))
    members = list(silos(task))
    aggregator.apply_statistics(total([trainer.statistics(data.train) for trainer, data, _ in members]))
    seconds, cpu = [], time.process_time()
    evaluate(aggregator, members)
    metrics: dict[str, Estimate] = {}
    largest_bound = 0.0
    for round_idx in range(task.rounds):
        start = time.perf_counter()
        parameters = aggregator.get_model_params()
        updates = []
        for trainer, data, args in members:
            args.round_idx = round_idx
            trainer.set_model_params(parameters)
            trainer.train(data.train, CPU, args)
            updates.append((data.num_train, trainer.get_model_params()))
        aggregator.set_model_params(aggregator.on_after_aggregation(_average(updates)))
        metrics = evaluate(aggregator, members)
        largest_bound = max(largest_bound, *(metric.bound for metric in metrics.values()))
        seconds.append(time.perf_counter() - start)
    return {
        "metrics": {name: metric.value for name, metric in metrics.items()},
        "largest_bound": largest_bound,
        "round_seconds": statistics.median(seconds),
        "round_cpu_seconds": (time.process_time() - cpu) / task.rounds,
        "peak_bytes": peak_bytes(),
    }


def silos(task: Task) -> Iterator[Silo]:
    """The task's silos one after another, each with its trainer, its data and its arguments."""
    for rank in range(1, len(task.silos) + 1):
        args = task.args(rank)
        data = task.workload.load_silo(args)
        trainer = task.workload.trainer(task.workload.model(args), args)
        trainer.update_dataset(data.train, data.test, data.num_train)
        yield trainer, data, args


def evaluate(aggregator: Aggregator, members: Iterable[Silo]) -> dict[str, Estimate]:
    """The metrics of the aggregator's model over all silos' test sets; chooses the bins of the next evaluation."""
    parameters = aggregator.get_model_params()
    sums = []
    for trainer, data, args in members:
        trainer.set_model_params(parameters)
        trainer.bins = aggregator.bins
        sums.append(trainer.test(data.test, CPU, args))
    totals = total(sums)
    metrics = metrics_of(aggregator, totals)
    aggregator.bins = aggregator.next_bins(totals)
    return metrics


def total(sums: list[Sums]) -> Sums:
    """Add up the sums of several silos."""
    return {name: torch.stack([one[name] for one in sums]).sum(0) for name in sums[0]}


def _average(updates: list[tuple[int, "OrderedDict[str, torch.Tensor]"]]) -> "OrderedDict[str, torch.Tensor]":
    total = sum(samples for samples, _ in updates)
    average = OrderedDict((name, tensor * (updates[0][0] / total)) for name, tensor in updates[0][1].items())
    for samples, update in updates[1:]:
        for name, tensor in update.items():
            average[name].add_(tensor, alpha=samples / total)
    return average


if __name__ == "__main__":
    main()
