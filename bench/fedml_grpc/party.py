"""One process of a federation over FedML's gRPC backend: the server (rank 0) or a client. Runs in .venvs/mlops.

    python -m bench.fedml_grpc.party '{"rank": 1, "task": {...}, "folder": "..."}'

Reads ``folder``/peers.csv. Writes ``folder``/<rank>.jsonl: a line for each round and, at the server, a last line with
the metrics.
"""

import json
import socket
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch

try:
    import torchvision  # noqa: F401  (FedML imports it)
except RuntimeError:  # its operators are compiled against a CUDA build of torch; FedML uses none of them here
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")

import fedml  # before the workloads, which would import it without its gRPC backend
from fedml.core.mlops.mlops_configs import MLOpsConfigs

# isort: split

from bench import fedavg
from bench.measure import peak_bytes
from bench.task import Task


def main() -> None:
    given = json.loads(sys.argv[1])
    rank, task, folder = given["rank"], Task(**given["task"]), Path(given["folder"])
    args = _arguments(task, rank, folder)
    # FedML asks its cloud for these whatever the configuration says, without a time limit.
    MLOpsConfigs.fetch_all_configs = staticmethod(lambda: ({}, {}, {"LOG_SERVER_URL": ""}, {}))
    fedml.init(args, check_env=False)
    with (folder / f"{rank}.jsonl").open("w", buffering=1) as record:
        if rank:
            _client(task, args, record)
        else:
            _server(task, args, record)


def _server(task: Task, args: Namespace, record: TextIO) -> None:
    workload = task.workload
    torch.manual_seed(task.seed)
    aggregator = workload.aggregator(workload.model(args), args)
    # FedML has no round for statistics, so they are made here, where the silos' data are at hand. Not timed.
    sums = [trainer.statistics(data.train) for trainer, data, _ in fedavg.silos(task)]
    aggregator.apply_statistics(fedavg.total(sums))
    aggregator.aggregate = _marked(aggregator.aggregate, record)
    aggregator.test = lambda *_: None  # type: ignore[method-assign, assignment]  # the silos evaluate
    nothing: dict[int, Any] = {}
    dataset = [0, 0, None, None, nothing, nothing, nothing, 2]
    fedml.FedMLRunner(args, args.device, dataset, aggregator.model, None, aggregator).run()
    metrics = fedavg.evaluate(aggregator, fedavg.silos(task))
    record.write(json.dumps({"metrics": {name: metric.value for name, metric in metrics.items()}}) + "\n")


def _client(task: Task, args: Namespace, record: TextIO) -> None:
    workload = task.workload
    data = workload.load_silo(args)
    trainer = workload.trainer(workload.model(args), args)
    trainer.train = _marked(trainer.train, record)
    index = args.rank - 1
    dataset = [data.num_train, 0, None, None, {index: data.num_train}, {index: data.train}, {index: data.test}, 2]
    _wait_for(args.server_port)  # a client that comes before its server dies
    fedml.FedMLRunner(args, args.device, dataset, trainer.model, trainer).run()


def _marked(function: Callable[..., Any], record: TextIO) -> Callable[..., Any]:
    """``function``, which runs once a round, with a line in ``record`` before each call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        mark = {"seconds": time.monotonic(), "cpu_seconds": time.process_time(), "peak_bytes": peak_bytes()}
        record.write(json.dumps(mark) + "\n")
        return function(*args, **kwargs)

    return call


def _arguments(task: Task, rank: int, folder: Path) -> Namespace:
    args = task.args(rank)
    peers = folder / "peers.csv"
    vars(args).update(
        role="client" if rank else "server",
        backend="GRPC",
        grpc_ipconfig_path=str(peers),
        server_port=int(peers.read_text().splitlines()[1].split(",")[3]),
        run_id="bench",
        client_num_in_total=len(task.silos),
        client_num_per_round=len(task.silos),
        worker_num=len(task.silos),
        client_id_list=None,
        test_on_clients="after_aggregation",  # where fedsilo's silos evaluate
        device=torch.device("cpu"),
    )
    return args


def _wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
