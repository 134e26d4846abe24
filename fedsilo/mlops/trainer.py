"""A party's part in a run on FedML's hosted platform: the code that the packages of ``fedsilo package`` run.

The platform's agent starts ``mlops_entry.py`` of the package, and FedML's own managers and backend carry the models,
unchanged. Their messages hold only parameters and a sample count. The sums that fedsilo's own rounds send beside the
parameters therefore travel among the parameters here, under names that no parameter has; the aggregator takes them out
before it aggregates. So FedML counts two rounds more than those that train:

==============  ==========================================  ==========================================
FedML's round   a silo                                      the aggregator
==============  ==========================================  ==========================================
0               sends its statistics, does not train        makes the global standardisation of them
1 to R          evaluates the model, then trains on it      records the evaluation, aggregates
R + 1           evaluates the final model                   records the evaluation
==============  ==========================================  ==========================================

This mode has none of these features of fedsilo's own rounds: deadline, quorum, resuming, the cap on weights, the checks
of updates and of sums, and bins that follow the scores.
"""

import logging
import sys
from argparse import Namespace
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from fedsilo import names
from fedsilo.config.environment import Settings
from fedsilo.config.run import MAX_ROUNDS, ROUNDS
from fedsilo.errors import FedsiloError, SpecError
from fedsilo.training import device
from fedsilo.training.disclosure import Disclosure
from fedsilo.training.tracking import Tracker, parameters
from fedsilo.workload import modes, registry
from fedsilo.workload.base import Aggregator, Sums, Trainer, metrics_of, refuse_unsupported
from fedsilo.workload.checkpoint import Checkpoint
from fedsilo.workload.registry import SiloData, Workload

import fedml
from fedml.core import ClientTrainer, ServerAggregator

SUMS = "fedsilo.sums."
"""The prefix of the names of sums among the parameters; no parameter has it."""

EXTRA_ROUNDS = 2
"""FedML's rounds that do not train: the first and the last."""

log = logging.getLogger(__name__)

Parameters = OrderedDict[str, torch.Tensor]


class SiloTrainer(ClientTrainer):  # type: ignore[misc]
    """A silo's side: the workload's trainer, which sends its sums among the parameters."""

    def __init__(self, trainer: Trainer, data: SiloData, args: Namespace, rounds: int) -> None:
        super().__init__(trainer.model, args)
        self._trainer, self._data, self._rounds = trainer, data, rounds
        self._sums: Sums = {}

    def update_dataset(self, local_train_dataset: Any, local_test_dataset: Any, local_sample_number: int) -> None:
        """Hand the silo's data to the workload's trainer."""
        self._trainer.update_dataset(local_train_dataset, local_test_dataset, local_sample_number)

    def set_model_params(self, model_parameters: Parameters) -> None:
        """Take the parameters of the global model."""
        self._trainer.set_model_params(model_parameters)

    def get_model_params(self) -> Parameters:
        """The parameters of the model, and the sums."""
        sums = {f"{SUMS}{name}": tensor for name, tensor in self._sums.items()}
        return OrderedDict(self._trainer.get_model_params(), **sums)

    def train(self, train_data: Any, device: torch.device, args: Namespace) -> None:
        """Do the silo's part in FedML's round ``args.round_idx``; the table above says what it is."""
        if args.round_idx == 0:
            with modes.evaluating(self._trainer.model):
                self._sums = self._trainer.statistics(train_data)
            return
        with modes.evaluating(self._trainer.model):
            self._sums = self._trainer.test(self._data.test, device, args)
        if args.round_idx <= self._rounds:
            of_training = Namespace(**{**vars(args), "round_idx": args.round_idx - 1})
            with modes.training(self._trainer.model):
                self._trainer.train(train_data, device, of_training)


class SilosAggregator(ServerAggregator):  # type: ignore[misc]
    """The aggregator's side: the workload's aggregator, which gets the silos' sums.

    ``holdout`` is the aggregator's own data for evaluation, or None if the silos evaluate.
    """

    def __init__(self, aggregator: Aggregator, holdout: Any, args: Namespace, rounds: int, tracker: Tracker) -> None:
        super().__init__(aggregator.model, args)
        self._aggregator, self._holdout, self._rounds, self._tracker = aggregator, holdout, rounds, tracker

    def set_model_params(self, model_parameters: Parameters) -> None:
        """Take the parameters of the global model."""
        self._aggregator.set_model_params(model_parameters)

    def get_model_params(self) -> Parameters:
        """The parameters of the global model."""
        return self._aggregator.get_model_params()

    def on_before_aggregation(
        self, raw_client_model_or_grad_list: Sequence[tuple[int, Parameters]]
    ) -> tuple[list[tuple[int, Parameters]], list[int]]:
        """Take the sums out of the updates, and use them. The model is still that of the beginning of the round."""
        totals: Sums = {}
        updates = []
        for samples, received in raw_client_model_or_grad_list:
            for name in [name for name in received if name.startswith(SUMS)]:
                own, tensor = name.removeprefix(SUMS), received[name].cpu()
                totals[own] = totals[own] + tensor if own in totals else tensor
            updates.append((samples, OrderedDict((k, v) for k, v in received.items() if not k.startswith(SUMS))))
        trained = self.args.round_idx - 1
        if trained < 0:
            if totals:
                self._aggregator.apply_statistics(totals)
        elif trained > 0:
            self._evaluate(totals, trained)
        return updates, list(range(len(updates)))

    def on_after_aggregation(self, aggregated_model_or_grad: Parameters) -> Parameters:
        """The new global model. In the two rounds that do not train, it is the old one, with the statistics in it."""
        if 1 <= self.args.round_idx <= self._rounds:
            return self._aggregator.on_after_aggregation(aggregated_model_or_grad)  # type: ignore[no-any-return]
        return self.get_model_params()

    def test(self, test_data: Any, device: torch.device, args: Namespace) -> None:
        """Do nothing: FedML calls this after the aggregation, and a model is evaluated in the round after it."""

    def _evaluate(self, totals: Sums, trained: int) -> None:
        """Record the metrics of the model after ``trained`` rounds of training."""
        if self._holdout is not None:
            with modes.evaluating(self._aggregator.model):
                totals = self._aggregator.test(self._holdout, self.args.device, self.args)
        for name, estimate in metrics_of(self._aggregator, totals).items():
            if estimate.known:
                self._tracker.log_metric(name, estimate.value, trained, estimate.bound)
            else:
                log.warning("round %d: %s", trained, estimate.left_out(name))


class LogSink:
    """Writes what is tracked to the log, which FedML shows on its platform."""

    def status(self, **fields: Any) -> None:
        """Log a status."""
        log.info("%s", ", ".join(f"{name}: {value}" for name, value in fields.items()))

    def metric(self, name: str, value: float, step: int, *, bound: float = 0.0) -> None:
        """Log a metric."""
        log.info("%s %.6g%s, step %d", name, value, f" ± {bound:.1g}" if bound else "", step)


def main() -> int:
    """Take part in the run that the configuration file on the command line describes.

    The environment says which party this is; what the platform sends does not matter for that.

    Returns:
        The exit code.
    """
    try:
        _take(Settings.from_environment())
    except FedsiloError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _take(settings: Settings) -> None:
    args = fedml.init(check_env=False)  # the check calls FedML's platform without a time limit, for nothing
    own = logging.getLogger("fedsilo")
    own.parent = logging.root  # FedML has replaced the root logger that the others know
    own.setLevel(logging.INFO)
    rounds = _complete(args, settings)
    task = registry.load(_packaged())
    torch.manual_seed(args.random_seed)
    model = task.model(args)
    run = f"mlops-{args.run_id}"
    if settings.party == names.AGGREGATOR:
        _aggregate(args, task, model, settings, run, rounds)
    else:
        _train(args, task, model, settings, run, rounds)


def _aggregate(args: Any, task: Workload, model: torch.nn.Module, settings: Settings, run: str, rounds: int) -> None:
    holdout = task.load_aggregator(args)
    recorded = {**parameters(args, None), "rounds": rounds}
    with Tracker(settings, run, LogSink(), recorded, _disclosure()) as tracker:
        aggregator = SilosAggregator(task.aggregator(model, args), holdout, args, rounds, tracker)
        nothing: dict[int, Any] = {}
        dataset = [0, 0, None, holdout, nothing, nothing, nothing, 0]
        fedml.FedMLRunner(args, args.device, dataset, model, server_aggregator=aggregator).run()


def _train(args: Any, task: Workload, model: torch.nn.Module, settings: Settings, run: str, rounds: int) -> None:
    data = task.load_silo(args)
    samples, train, test = (_at_any_index(own) for own in (data.num_train, data.train, data.test))
    dataset = [data.num_train, 0, None, None, samples, train, test, 0]
    recorded = {**parameters(args, data.num_train), "rounds": rounds}
    with Tracker(settings, run, LogSink(), recorded, _disclosure()) as args.tracker:
        args.checkpoint = Checkpoint()
        trainer = SiloTrainer(task.trainer(model, args), data, args, rounds)
        fedml.FedMLRunner(args, args.device, dataset, model, client_trainer=trainer).run()


def _disclosure() -> Disclosure:
    """Which metrics leave the party. FedML's platform asks no policy, so there is no bound on how many."""
    return Disclosure(registry.declaration(_packaged()).metrics, None)


def _at_any_index(value: Any) -> defaultdict[int, Any]:
    """The silo's only data set, under whatever number FedML gives it."""
    return defaultdict(lambda: value)


def _complete(args: Any, settings: Settings) -> int:
    """Check the arguments that the platform sent, and add those that a workload expects.

    The platform replaces whole sections of the package's configuration by what its users entered, so a value may be
    missing, or be a text.

    Returns:
        The number of rounds that train.

    Raises:
        SpecError: A value is not valid.
    """
    name = _packaged()
    refuse_unsupported(vars(args))
    role = "server" if settings.party == names.AGGREGATOR else "client"
    if args.role != role:
        raise SpecError(f"role: {settings.party} runs the {role} package, but the platform started it as {args.role}")
    given = {key: value for key, value in vars(args).items() if key in registry.declaration(name).hyperparameters}
    try:
        rounds, seed = int(getattr(args, "comm_round", ROUNDS)), int(getattr(args, "random_seed", 0))
    except (TypeError, ValueError):
        raise SpecError("comm_round, random_seed: should be whole numbers") from None
    if not 1 <= rounds <= MAX_ROUNDS:
        raise SpecError(f"comm_round: {rounds} should be between 1 and {MAX_ROUNDS}")
    added = {
        **registry.hyperparameters(name, given),
        "silo": settings.party,
        "data": settings.data,
        "random_seed": seed,
        "comm_round": rounds + EXTRA_ROUNDS,
        "dataset": name,
        "frequency_of_the_test": 1,
        "federated_optimizer": "FedAvg",
        "device": device.pick(settings, trains=role == "client"),
    }
    for key, value in added.items():
        setattr(args, key, value)
    return rounds


def _packaged() -> str:
    """The name of the only workload in this package. Raises ``SpecError`` if there is none, or more than one."""
    found = registry.available()
    if len(found) != 1:
        raise SpecError(f"the package should hold one workload, not {', '.join(found) or 'none'}; build it again")
    return found[0]
