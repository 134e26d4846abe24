"""A party's part in a run on FedML's platform, inside FedML's own trainer and aggregator, without messages."""

from argparse import Namespace
from typing import Any

import pytest
import torch

from fedsilo.config.environment import Settings
from fedsilo.errors import SpecError
from fedsilo.mlops import trainer as mlops
from fedsilo.mlops.trainer import SilosAggregator, SiloTrainer
from fedsilo.workload import registry
from fedsilo.workload.base import state
from fedsilo.workload.checkpoint import Checkpoint

from fedml.cross_silo.client.fedml_trainer import FedMLTrainer
from fedml.cross_silo.server.fedml_aggregator import FedMLAggregator

ROUNDS = 2


class Recorder:
    def __init__(self) -> None:
        self.metrics: dict[tuple[str, int], float] = {}

    def log_metric(self, name: str, value: float, step: int, bound: float = 0.0) -> None:
        assert self.metrics.setdefault((name, step), value) is value, "recorded twice"


def arguments(name: str, silo: str, rank: int, **chosen: Any) -> Namespace:
    """What FedML's configuration and ``fedsilo.mlops.trainer`` make of a workload's."""
    fields = {
        "silo": silo, "rank": rank, "data": "packaged", "random_seed": 1, "comm_round": ROUNDS + 2, "dataset": name,
        "federated_optimizer": "FedAvg", "scenario": "horizontal", "frequency_of_the_test": 1, "tracker": Recorder(),
        "device": torch.device("cpu"), "round_idx": 0, "checkpoint": Checkpoint(),
    }  # fmt: skip
    return Namespace(**registry.hyperparameters(name, chosen), **fields)


class Federation:
    """FedML's aggregator, and a FedML trainer for each silo."""

    def __init__(self, name: str, silos: tuple[str, ...], **chosen: Any) -> None:
        task = registry.load(name)
        torch.manual_seed(1)
        self.args = arguments(name, "aggregator", 0, **chosen)
        self.model = task.model(self.args)
        self.tracker = Recorder()
        holdout = task.load_aggregator(self.args)
        inner = task.aggregator(self.model, self.args)
        aggregator = SilosAggregator(inner, holdout, self.args, ROUNDS, self.tracker)  # type: ignore[arg-type]
        device = self.args.device
        self.server = FedMLAggregator(None, holdout, 0, {}, {}, {}, len(silos), device, self.args, aggregator)
        self.silos, self.samples = [], []
        for rank, silo in enumerate(silos, start=1):
            args = arguments(name, silo, rank, **chosen)
            data = task.load_silo(args)
            trainer = SiloTrainer(task.trainer(task.model(args), args), data, args, ROUNDS)
            sets = ({0: data.train}, {0: data.num_train}, {0: data.test})
            self.silos.append(FedMLTrainer(0, *sets, data.num_train, device, args, trainer))
            self.silos[-1].update_dataset(0)
            self.samples.append(data.num_train)

    def round(self, round_idx: int) -> list[dict[str, torch.Tensor]]:
        """One of FedML's rounds; returns what the silos sent."""
        self.args.round_idx = round_idx
        sent = []
        for index, silo in enumerate(self.silos):
            silo.update_model(self.server.get_global_model_params())
            parameters, samples = silo.train(round_idx)
            assert samples == self.samples[index]
            sent.append({name: tensor.clone() for name, tensor in parameters.items()})
            self.server.add_local_trained_result(index, parameters, samples)
        self.server.aggregate()
        return sent


def test_first_round_standardises_over_all_silos_and_trains_nothing() -> None:
    federation = Federation("heart_disease", ("cleveland", "hungary"))
    before = {name: tensor.clone() for name, tensor in state(federation.model).items()}
    federation.round(0)
    after = state(federation.model)
    features = torch.cat([silo.train_local.features.double() for silo in federation.silos])
    torch.testing.assert_close(after["mean"], features.mean(0).float())
    torch.testing.assert_close(after["std"], features.std(0, correction=0).float())
    assert torch.equal(after["linear.weight"], before["linear.weight"])
    assert federation.tracker.metrics == {}


def test_middle_rounds_train_and_the_last_round_only_evaluates() -> None:
    federation = Federation("heart_disease", ("cleveland", "hungary"))
    federation.round(0)
    for round_idx in (1, 2):
        sent = federation.round(round_idx)
        weighted = [s["linear.weight"] * n for s, n in zip(sent, federation.samples, strict=True)]
        expected = torch.stack(weighted).sum(0) / sum(federation.samples)
        torch.testing.assert_close(state(federation.model)["linear.weight"], expected)
    final = {name: tensor.clone() for name, tensor in state(federation.model).items()}
    federation.round(3)
    assert all(torch.equal(tensor, final[name]) for name, tensor in state(federation.model).items())
    # The model of a round is evaluated in the next round. The untrained model is not recorded.
    assert {step for _, step in federation.tracker.metrics} == {1, 2}
    assert {name for name, _ in federation.tracker.metrics} == {"Test:AUC", "Test:Loss", "Test:Accuracy"}
    steps = {step for _, step in federation.silos[0].args.tracker.metrics}
    assert steps == {0, 1}, "a silo counts the rounds that train from 0"


def test_sums_travel_under_names_that_no_parameter_has() -> None:
    federation = Federation("heart_disease", ("cleveland",))
    (sent,) = federation.round(0)
    extra = sent.keys() - state(federation.model).keys()
    assert extra == {f"{mlops.SUMS}{name}" for name in ("count", "sum", "sum_of_squares")}


def test_an_aggregator_with_its_own_data_evaluates_on_it() -> None:
    chosen = {"parameters": 2000, "holdout": 333, "samples": 100, "lr": 1.0}
    federation = Federation("mlp", ("east", "west"), **chosen)
    for round_idx in range(4):
        federation.round(round_idx)
    correct = federation.tracker.metrics["Test:Accuracy", 2] * 333
    assert abs(correct - round(correct)) < 1e-6


def test_a_metric_that_is_not_a_number_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation("heart_disease", ("cleveland",))
    inner = federation.server.aggregator._aggregator
    monkeypatch.setattr(inner, "metrics", lambda totals: {"Test:AUC": float("nan"), "Test:Loss": 0.5})
    for round_idx in range(3):
        federation.round(round_idx)
    assert federation.tracker.metrics == {("Test:Loss", 1): 0.5}


SETTINGS = Settings(federation="heart", party="hungary", rank=2, hub_account="111111111111", hub_region="us-east-1")


def sent_by_the_platform(**changed: Any) -> Namespace:
    """FedML's arguments for a package of heart_disease; None removes one."""
    sections = registry.configuration("heart_disease").values()
    fields = {key: value for section in sections for key, value in section.items()}
    fields |= {"role": "client", "run_id": "4711", "comm_round": "7", "lr": "0.01", "epochs": 2.0} | changed
    return Namespace(**{key: value for key, value in fields.items() if value is not None})


def test_texts_from_the_platform_become_values_of_the_right_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlops, "_packaged", lambda: "heart_disease")
    args = sent_by_the_platform(batch_size=None)
    assert mlops._complete(args, SETTINGS) == 7
    assert (args.comm_round, args.lr, args.epochs, args.batch_size, args.silo) == (9, 0.01, 2, 4, "hungary")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr": "fast"}, "hyperparameters.lr: 'fast' is not of type float"),
        ({"epochs": [1]}, r"hyperparameters.epochs: \[1\] is not of type int"),
        ({"comm_round": "many"}, "comm_round, random_seed: should be whole numbers"),
        ({"comm_round": 0}, "comm_round: 0 should be between 1 and 100000"),
        ({"enable_fhe": True}, "enable_fhe: not supported; FedML 0.9.6 encrypts nothing"),
        ({"federated_optimizer": "FedOpt"}, "federated_optimizer: FedML 0.9.6 runs FedAvg only"),
        ({"role": "server"}, "role: hungary runs the client package, but the platform started it as server"),
    ],
)
def test_an_invalid_value_from_the_platform_is_named(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(mlops, "_packaged", lambda: "heart_disease")
    with pytest.raises(SpecError, match=said):
        mlops._complete(sent_by_the_platform(**changed), SETTINGS)


def test_package_holds_one_workload(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match="the package should hold one workload, not heart_disease, mlp"):
        mlops._packaged()


def test_a_party_without_settings_names_the_missing_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FEDSILO_PARTY", raising=False)
    assert mlops.main() == 1
    assert "FEDSILO_PARTY is not set" in capsys.readouterr().err
