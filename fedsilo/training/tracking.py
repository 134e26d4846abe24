"""The record in SageMaker Experiments: one experiment per federation and party, one run per run id.

A thread imports the SDK and makes its calls. The import takes a second and the calls use the network, and learning
waits for neither. The client retries a call that fails; then the failure is logged and counted, and training
continues. What may leave the party (``disclosure.py``) is in the ledger too.
"""

import logging
import math
import queue
from argparse import Namespace
from types import TracebackType
from typing import Any, Protocol

import boto3

from fedsilo import aws, names, runtime
from fedsilo.config.environment import Settings
from fedsilo.training import tracking_limits
from fedsilo.training.disclosure import Disclosure

CLOSE_SECONDS = 30.0
"""How long the end of a part may wait until SageMaker has taken the last metrics."""

RETRY_SECONDS = 15.0
"""How long after a failure the run is opened again. Until then, metrics stay in memory."""

ATTEMPTS = 3
"""Tries of one call. Mail has more, because what is lost here is in the ledger."""

SDK_CONFIG = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
"""Stops the SDK from reporting account, version and call to AWS."""

log = logging.getLogger(__name__)

Metric = tuple[str, float, int, float]


def parameters(args: Namespace, train_data_size: int | None) -> dict[str, int | float | str]:
    """The parameters of a party's run, by their names in SageMaker.

    Args:
        args: FedML's arguments. A hyperparameter that the workload does not have is left out.
        train_data_size: The number of training samples; None at the aggregator.
    """
    known = {
        "train data size": train_data_size,
        "device": str(args.device),
        "center": args.silo,
        "learning-rate": getattr(args, "lr", None),
        "batch-size": getattr(args, "batch_size", None),
        "client-optimizer": getattr(args, "client_optimizer", None),
        "weight-decay": getattr(args, "weight_decay", None),
        "epochs": getattr(args, "epochs", None),
        "rounds": args.comm_round,
    }
    return {name: value for name, value in known.items() if value is not None}


class MetricSink(Protocol):
    """Takes what leaves the party, whatever SageMaker does: a run's ``Ledger``, or a log."""

    def status(self, **fields: Any) -> None:
        """Take fields of the party's status that have changed."""

    def metric(self, name: str, value: float, step: int, *, bound: float = 0.0) -> None:
        """Take a metric of the party; ``bound`` is how far its exact value can be from ``value``."""


class Tracker:
    """Records parameters and metrics of one party's part in one run, as a context manager."""

    def __init__(
        self, settings: Settings, run: str, sink: MetricSink, parameters: dict[str, Any], disclosure: Disclosure
    ) -> None:
        """Start the thread that records.

        Args:
            settings: Which party this is.
            run: The run's id, which names the run in SageMaker too.
            sink: Takes the status, and the metrics that leave the party.
            parameters: The parameters of the party's run, by their names in SageMaker.
            disclosure: Decides which metrics the sink takes. SageMaker, in the party's own account, takes each one
                that the workload declares.
        """
        rank = 0 if settings.party == names.AGGREGATOR else settings.rank
        self.experiment = names.experiment(settings.federation, rank)
        """The experiment's name in SageMaker."""
        self._run_name = run
        self._sink, self._disclosure = sink, disclosure
        self._parameters, changes = tracking_limits.fit(parameters)
        for change in changes:
            log.warning("SageMaker's limits: %s; the rest is recorded", change)
        self._failures = 0
        self._metrics: queue.SimpleQueue[Metric | None] = queue.SimpleQueue()
        self._closing = runtime.event()
        tracked = {} if settings.tracking == "off" else {"experiment": self.experiment, "tracking_failures": 0}
        sink.status(parameters=self._parameters, **tracked)
        self._thread = None if settings.tracking == "off" else runtime.start_thread("tracking", self._record)

    def log_metric(self, name: str, value: float, step: int, bound: float = 0.0) -> None:
        """Record a metric.

        Args:
            name: The metric's name, such as ``Test:AUC``.
            value: Its value. A value that is not finite, such as the AUC of a set with one class, is left out,
                because SageMaker takes none.
            step: The epoch at a silo, the round at the aggregator.
            bound: How far the exact value can be from ``value``. SageMaker has no place for it.
        """
        if not math.isfinite(value) or not self._disclosure.declares(name):
            return
        if self._disclosure.lets_out(name, value):
            self._sink.metric(name, value, step, bound=bound)
        if self._thread:
            self._metrics.put((name, value, step, runtime.now().timestamp()))

    def begin_round(self) -> None:
        """A round begins: the party's policy bounds how many metrics leave in each."""
        self._disclosure.begin_round()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until SageMaker has taken the last metrics, at most ``CLOSE_SECONDS``."""
        self._disclosure.close()
        if self._thread is None:
            return
        self._closing.set()
        self._metrics.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._fail(f"SageMaker did not take the last metrics within {CLOSE_SECONDS:g} s")

    def _record(self) -> None:
        while True:
            try:
                run = self._open_run()
                break
            except Exception as error:
                self._fail(f"experiment {self.experiment}: {error}")
                if self._closing.wait(RETRY_SECONDS):
                    return
        try:
            with run:
                run.log_parameters(self._parameters)
                for name, value, step, timestamp in iter(self._metrics.get, None):
                    try:
                        run.log_metric(name=name, value=value, step=step, timestamp=timestamp)
                    except Exception as error:
                        self._fail(f"metrics up to {name} of step {step}: {error}")
        except Exception as error:
            self._fail(f"experiment {self.experiment}: {error}")

    def _open_run(self) -> Any:
        from sagemaker.core.experiments.run import Run as SageMakerRun
        from sagemaker.core.helper.session_helper import Session

        logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
        boto_session = boto3.Session()
        session = Session(
            boto_session=boto_session,
            sagemaker_client=boto_session.client("sagemaker", config=aws.config(ATTEMPTS)),
            sagemaker_metrics_client=boto_session.client("sagemaker-metrics", config=aws.config(ATTEMPTS)),
            sagemaker_config=SDK_CONFIG,
        )
        return SageMakerRun(experiment_name=self.experiment, run_name=self._run_name, sagemaker_session=session)

    def _fail(self, what: str) -> None:
        self._failures += 1
        log.warning("tracking failed, the run continues: %s", what)
        self._sink.status(tracking_failures=self._failures)
