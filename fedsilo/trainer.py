"""One party's part in one run, from start to end: what a Job, or a local process, runs.

It takes who it is from the environment (``Settings``) and the run from ``run.json`` in the mail bucket. It ends with
exit code 0 when its part is done, and otherwise with one line that says why not, in the log and in its status.
"""

import json
import logging
import os
import signal
import sys
import time
from argparse import Namespace
from types import FrameType
from typing import Any

from fedsilo import aws, names, workload
from fedsilo.errors import FedsiloError, RefusedError, RunError, SpecError
from fedsilo.ledger import Ledger
from fedsilo.run import Run
from fedsilo.settings import Settings

RUN_JSON_BYTES = 2**20
SUMS_BYTES = 8 * 2**20
"""What a mail may hold beside the model: header, statistics, evaluation."""

UNSUPPORTED = {
    "enable_fhe": "FedML 0.9.6 encrypts nothing and trains nothing with it",
    "enable_dp": "two of FedML 0.9.6's four solutions add no noise, and none clips updates",
    "enable_defense": "FedML 0.9.6's defenses need every silo's update in memory at once",
    "enable_attack": "it is for simulations",
}
"""Switches of FedML that don't do what they say, or can't be had together with streaming aggregation."""

log = logging.getLogger(__name__)


def main(run_id: str) -> int:
    """Take part in the run. Returns the exit code: 0 done, 1 failed, 3 refused."""
    _log_to_stderr()
    ledger: Ledger | None = None
    try:
        settings = Settings.from_environment()
        run = fetch_run(settings, run_id)
        ledger = Ledger(settings, run)
        signal.signal(signal.SIGTERM, _stop)
        started = time.time()
        _take_part(settings, run, ledger, started)
    except RefusedError as error:
        log.error("%s", error)
        if ledger:
            ledger.close(state="REFUSED", reason=str(error))
        return 3
    except FedsiloError as error:
        log.error("%s", error)
        if ledger:
            ledger.close(state="FAILED", reason=str(error))
        return 1
    except Exception as error:
        log.exception("a defect of fedsilo or of the workload")
        if ledger:
            ledger.close(state="FAILED", reason=f"defect: {type(error).__name__}: {error}")
        return 1
    ledger.close(state="FINISHED")
    return 0


def fetch_run(settings: Settings, run_id: str) -> Run:
    """The run as the operator wrote it. Raises ``SpecError`` where it is not valid or not for this party."""
    key = names.RunKeys(run_id).run_json
    with aws.explained(settings.role, f"read {settings.bucket}/{key}", f"run {run_id} was started in this federation"):
        body = aws.s3(settings.hub_region).get_object(Bucket=settings.bucket, Key=key)["Body"].read(RUN_JSON_BYTES + 1)
    if len(body) > RUN_JSON_BYTES:
        raise SpecError(f"run.json of {run_id} is larger than {RUN_JSON_BYTES:,} bytes")
    run = Run.parse(body)
    if (run.run, run.federation) != (run_id, settings.federation):
        raise SpecError(f"run.json of {run_id} is of run {run.run} in federation {run.federation}")
    if settings.party != names.AGGREGATOR:
        run.rank(settings.party)
    return run


def arguments(settings: Settings, run: Run, tracker: Any = None) -> Namespace:
    """FedML's arguments: the workload's configuration, then the run's hyperparameters, then what the run fixes.

    Raises ``SpecError`` for a setting that FedML 0.9.6 does not honour.
    """
    merged: dict[str, Any] = {}
    for section in workload.configuration(run.workload).values():
        merged.update(section or {})
    merged.update(workload.hyperparameters(run.workload, run.hyperparameters))
    problems = [f"{name}: not supported; {why}" for name, why in UNSUPPORTED.items() if merged.get(name)]
    if merged.get("federated_optimizer", "FedAvg") != "FedAvg":
        problems.append("federated_optimizer: FedML 0.9.6 runs FedAvg only across silos; set mu for FedProx")
    if problems:
        raise SpecError("\n".join(problems))
    rank = 0 if settings.party == names.AGGREGATOR else run.rank(settings.party)
    merged.update(
        training_type="cross_silo",
        scenario="horizontal",
        backend="MAIL",
        using_mlops=False,
        run_id=run.run,
        rank=rank,
        silo=settings.party,
        data=settings.data,
        random_seed=run.seed,
        comm_round=run.rounds,
        client_num_in_total=len(run.silos),
        client_num_per_round=len(run.silos),
        worker_num=len(run.silos),
        client_id_list=json.dumps([rank] if rank else list(range(1, len(run.silos) + 1))),
        tracker=tracker,
    )
    merged.setdefault("dataset", run.workload)
    merged.setdefault("frequency_of_the_test", 1)
    return Namespace(**merged)


def _take_part(settings: Settings, run: Run, ledger: Ledger, started: float) -> None:
    args = arguments(settings, run)
    with ledger.span("start", 0):
        import random

        import numpy as np
        import torch

        from fedsilo import fedml_core  # noqa: F401  (before FedML)
        from fedsilo.learning import state
        from fedsilo.mail import Mailbox
        from fedsilo.mail_comm import MailCommManager
        from fedsilo.tracking import Tracker, parameters

        random.seed(run.seed)
        np.random.seed(run.seed)
        torch.manual_seed(run.seed)
        args.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        load = workload.load(run.workload)
        model = load.model(args)
        size = sum(tensor.nbytes for tensor in state(model).values())
        mailbox = Mailbox(settings, run.run, limit=size + SUMS_BYTES)
        comm = MailCommManager(mailbox, run, ledger)
    manager: Any
    tracker: Tracker
    if settings.party == names.AGGREGATOR:
        from fedsilo.aggregator import AggregatorManager, StreamingAggregator

        holdout = load.load_aggregator(args)
        tracker = Tracker(settings, run, ledger, parameters(args, None))
        args.tracker = tracker
        aggregator = StreamingAggregator(args, args.device, load.aggregator(model, args), len(run.silos), holdout)
        manager = AggregatorManager(args, aggregator, comm, run, ledger, tracker)
    else:
        from fedsilo.silo import SiloManager

        from fedml.cross_silo.client.fedml_trainer_dist_adapter import TrainerDistAdapter

        data = load.load_silo(args)
        tracker = Tracker(settings, run, ledger, parameters(args, data.num_train))
        args.tracker = tracker
        index = args.rank - 1
        adapter = TrainerDistAdapter(
            args,
            args.device,
            args.rank,
            model,
            data.num_train,
            {index: data.num_train},
            {index: data.train},
            {index: data.test},
            load.trainer(model, args),
        )
        manager = SiloManager(args, adapter, data, comm, run, ledger)
    try:
        manager.run()
    finally:
        mailbox.close()
        tracker.close()


def _stop(signum: int, frame: FrameType | None) -> None:
    raise RunError("stopped by SIGTERM; it goes on where it was when it is started again")


def _log_to_stderr() -> None:
    """fedsilo's log from INFO, everybody else's from WARNING: FedML logs several lines per message."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("fedsilo").setLevel(os.environ.get("FEDSILO_LOG_LEVEL", "INFO"))
