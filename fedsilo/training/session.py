"""A party's part in a run: it makes the workload's model and data and FedML's manager, and runs the manager."""

import json
import random
from argparse import Namespace
from contextlib import closing
from typing import Any

import numpy as np
import torch

from fedsilo import aws, fedml_shim, names, silo_store  # noqa: F401  (fedml_shim before FedML)
from fedsilo.config.environment import Settings
from fedsilo.config.policy import Policy
from fedsilo.config.run import Run
from fedsilo.errors import RefusedError
from fedsilo.ledger.writer import Ledger
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.training import device
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.checkpoint import RunCheckpoint
from fedsilo.training.client import SiloManager
from fedsilo.training.comm import MailCommManager
from fedsilo.training.disclosure import Disclosure
from fedsilo.training.evaluation import Evaluations
from fedsilo.training.rounds import Rounds
from fedsilo.training.server import AggregatorManager
from fedsilo.training.sums import Expected
from fedsilo.training.tracking import Tracker, parameters
from fedsilo.training.validation import check_model
from fedsilo.workload import registry
from fedsilo.workload.base import Aggregator, Trainer, refuse_unsupported
from fedsilo.workload.checkpoint import Checkpoint

from fedml.cross_silo.client.fedml_trainer_dist_adapter import TrainerDistAdapter

SUMS_BYTES = 8 * 2**20
"""The most bytes that a mail may hold besides the model: its header, statistics and evaluation."""


def take_part(
    settings: Settings, run: Run, ledger: Ledger, policy: Policy, workload: registry.Workload | None = None
) -> None:
    """Do the party's part in the run, and return when it is done.

    Args:
        settings: Which party this is.
        run: The run.
        ledger: Takes what the party writes of the run.
        policy: What the party's owner lets leave the party. Its agent has checked the run against the rest.
        workload: What the party runs in place of the run's workload, such as one with simulated silos.

    Raises:
        RefusedError: The policy lets nothing of so few samples leave, or the aggregator ended the party's part.
        FedsiloError: The part can't be done, for the reason in the message.
    """
    args = arguments(settings, run)
    random.seed(run.seed)
    np.random.seed(run.seed)
    torch.manual_seed(run.seed)
    workload, declared = workload or registry.load(run.workload), registry.declaration(run.workload)
    model = workload.model(args)
    if settings.party == names.AGGREGATOR:
        side = workload.aggregator(model, args)
        with closing(_mailbox(settings, run, side)) as mailbox:
            comm = MailCommManager(mailbox, run, ledger)
            holdout = workload.load_aggregator(args)
            aggregator = StreamingAggregator(args, args.device, side, len(run.silos), holdout)
            disclosure = Disclosure(declared.metrics, None)
            with Tracker(settings, run.id, ledger, parameters(args, None), disclosure) as tracker:
                evaluations = Evaluations(aggregator, Expected(declared, policy.min_samples), ledger, tracker)
                rounds = Rounds(run, aggregator, comm, ledger, evaluations)
                AggregatorManager(args, aggregator, comm, run, rounds, ledger).run()
    else:
        store = silo_store.of(settings)
        args.checkpoint = Checkpoint() if store is None else RunCheckpoint(store, run.id)
        trainer = workload.trainer(model, args)
        with closing(_mailbox(settings, run, trainer)) as mailbox:
            comm = MailCommManager(mailbox, run, ledger)
            data = aws.when_authenticated(settings.authentication_seconds, lambda: workload.load_silo(args))
            _check_samples(data, policy)
            adapter = _adapter(args, trainer, model, data)
            disclosure = Disclosure(declared.metrics, policy.max_metrics_per_round)
            with Tracker(settings, run.id, ledger, parameters(args, data.num_train), disclosure) as args.tracker:
                SiloManager(args, adapter, data, comm, run, ledger, policy).run()


def _check_samples(data: registry.SiloData, policy: Policy) -> None:
    """Raise ``RefusedError`` if the silo has too few training samples. How few stays in the silo."""
    if data.num_train < policy.min_samples:
        raise RefusedError(
            f"policy.min_samples: the silo has fewer than {policy.min_samples} training samples, so nothing of them "
            "leaves it; its owner may lower min_samples"
        )


def _mailbox(settings: Settings, run: Run, side: Aggregator | Trainer) -> Mailbox:
    """The party's mailbox for the model that this side of the workload exchanges.

    Raises:
        ModelError: The model can't be exchanged.
    """
    model = side.get_model_params()
    check_model(model)
    limit = sum(tensor.nbytes for tensor in model.values()) + SUMS_BYTES
    return aws.when_authenticated(settings.authentication_seconds, lambda: Mailbox(settings, run.id, limit))


def _adapter(args: Namespace, trainer: Trainer, model: torch.nn.Module, data: registry.SiloData) -> TrainerDistAdapter:
    """What FedML's client manager trains with."""
    index, samples = args.rank - 1, data.num_train  # FedML counts silos from 0
    train, test = {index: data.train}, {index: data.test}
    return TrainerDistAdapter(args, args.device, args.rank, model, samples, {index: samples}, train, test, trainer)


def arguments(settings: Settings, run: Run) -> Namespace:
    """FedML's arguments: the workload's configuration, then the run's hyperparameters, then what the run fixes.

    Raises:
        SpecError: A setting asks for something that FedML 0.9.6 does not do.
        DeviceError: The party does not have the GPUs that its owner pays for.
    """
    merged: dict[str, Any] = {}
    for section in registry.configuration(run.workload).values():
        merged.update(section or {})
    merged.update(registry.hyperparameters(run.workload, run.hyperparameters))
    refuse_unsupported(merged)
    rank = run.rank(settings.party)
    merged.update(
        training_type="cross_silo",
        scenario="horizontal",
        backend="MAIL",
        using_mlops=False,
        run_id=run.id,
        rank=rank,
        silo=settings.party,
        data=settings.data,
        random_seed=run.seed,
        comm_round=run.rounds,
        client_num_in_total=len(run.silos),
        client_num_per_round=len(run.silos),
        worker_num=len(run.silos),
        client_id_list=json.dumps([rank] if rank else list(range(1, len(run.silos) + 1))),
        device=device.pick(settings, trains=rank > 0),
    )
    merged.setdefault("dataset", run.workload)
    merged.setdefault("frequency_of_the_test", 1)
    return Namespace(**merged)
