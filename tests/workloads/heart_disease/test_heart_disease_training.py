"""Local training follows the configuration, and the sums that leave a silo describe its samples."""

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from fedsilo.workload import metrics, registry
from workloads import heart_disease

CPU = torch.device("cpu")
Arguments = Callable[..., Namespace]
Model = OrderedDict[str, torch.Tensor]

HOSPITALS = ("cleveland", "hungary", "switzerland", "long-beach")


def standardised_model(args: Namespace) -> torch.nn.Module:
    torch.manual_seed(7)
    model = heart_disease.model(args)
    features = heart_disease.load_silo(args).train.features
    model.mean.copy_(features.mean(0))
    model.std.copy_(features.std(0))
    return model


def trained(args: Namespace, rounds: int = 1) -> Model:
    data = heart_disease.load_silo(args)
    trainer = heart_disease.trainer(standardised_model(args), args)
    trainer.update_dataset(data.train, data.test, data.num_train)
    for _ in range(rounds):
        trainer.train(data.train, CPU, args)
        args.round_idx += 1
    return OrderedDict((name, tensor.clone()) for name, tensor in trainer.get_model_params().items())


def trained_by_a_plain_loop(args: Namespace) -> Model:
    """The same round, written without the workload's trainer."""
    train = heart_disease.load_silo(args).train
    model = standardised_model(args)
    origin = [parameter.detach().clone() for parameter in model.parameters()]
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[args.client_optimizer]
    optimizer: Any = kind(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    seed = np.random.SeedSequence((args.random_seed, args.rank, args.round_idx)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(seed[0]))
    places: DataLoader[int] = DataLoader(range(len(train.labels)), args.batch_size, shuffle=True, generator=generator)  # type: ignore[arg-type]
    for epoch in range(args.epochs):
        losses = []
        for batch in places:
            loss = functional.binary_cross_entropy_with_logits(model(train.features[batch]), train.labels[batch])
            losses += [loss.item()] * len(batch)
            drift = sum(((p - o) ** 2).sum() for p, o in zip(model.parameters(), origin, strict=True))
            optimizer.zero_grad()
            (loss + args.mu / 2 * drift).backward()
            optimizer.step()
        args.tracker.log_metric("Training:Loss", float(np.mean(losses)), args.round_idx * args.epochs + epoch)
    return OrderedDict(model.state_dict())


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"client_optimizer": "sgd", "lr": 0.1},
        {"client_optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1},
        {"client_optimizer": "sgd", "lr": 0.1, "mu": 0.1},
        {"weight_decay": 0.1, "mu": 0.1, "epochs": 3, "batch_size": 16, "lr": 0.02},
        {"batch_size": 1000},
    ],
)
def test_a_round_equals_a_plain_pytorch_loop(arguments: Arguments, chosen: dict[str, Any]) -> None:
    ours, theirs = arguments("heart_disease", **chosen), arguments("heart_disease", **chosen)
    expected = trained_by_a_plain_loop(theirs)
    for name, tensor in trained(ours).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)
    losses = [(name, value, step) for name, value, step in ours.tracker.metrics if name == "Training:Loss"]
    for mine, reference in zip(losses, theirs.tracker.metrics, strict=True):
        assert mine == (reference[0], pytest.approx(reference[1], rel=1e-4), reference[2])


def test_a_full_batch_step_at_every_silo_averages_to_a_step_on_the_pooled_patients(arguments: Arguments) -> None:
    chosen = {"client_optimizer": "sgd", "lr": 0.5, "batch_size": 1000}
    silos = [arguments("heart_disease", silo=silo, rank=rank, **chosen) for rank, silo in enumerate(HOSPITALS, 1)]
    data = [heart_disease.load_silo(args) for args in silos]
    pooled = standardised_model(silos[0])
    optimizer = torch.optim.SGD(pooled.parameters(), lr=0.5)
    features = torch.cat([each.train.features for each in data])
    labels = torch.cat([each.train.labels for each in data])
    parameters = OrderedDict((name, tensor.clone()) for name, tensor in pooled.state_dict().items())
    for round_idx in range(3):
        updates = []
        for args, each in zip(silos, data, strict=True):
            args.round_idx = round_idx
            trainer = heart_disease.trainer(heart_disease.model(args), args)
            trainer.update_dataset(each.train, each.test, each.num_train)
            trainer.set_model_params(parameters)
            trainer.train(each.train, CPU, args)
            updates.append((each.num_train / len(labels), trainer.get_model_params()))
        parameters = OrderedDict((name, sum(share * update[name] for share, update in updates)) for name in parameters)
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(pooled(features), labels).backward()
        optimizer.step()
    for name, tensor in pooled.state_dict().items():
        torch.testing.assert_close(parameters[name], tensor, rtol=1e-5, atol=1e-6)


def test_fedprox_keeps_a_silo_closer_to_the_global_model_the_larger_mu_is(arguments: Arguments) -> None:
    def drift(mu: float) -> float:
        args = arguments("heart_disease", client_optimizer="sgd", lr=0.05, epochs=5)
        args.mu = mu  # some are over the declared range
        start = standardised_model(args).state_dict()
        return sum(float((tensor - start[name]).square().sum()) for name, tensor in trained(args).items())

    drifts = [drift(mu) for mu in (0.0, 0.1, 1.0, 10.0)]
    assert drifts == sorted(drifts, reverse=True)
    assert drifts[-1] < drifts[0] / 10


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": 2},
        {"batch_size": 8},
        {"client_optimizer": "sgd"},
        {"lr": 0.002},
        {"weight_decay": 0.01},
        {"mu": 0.1},
        {"random_seed": 1},
        {"rank": 2},
        {"round_idx": 1},
    ],
)
def test_every_hyperparameter_and_seed_has_an_effect(arguments: Arguments, other: dict[str, Any]) -> None:
    usual = trained(arguments("heart_disease"))
    assert torch.equal(trained(arguments("heart_disease"))["linear.weight"], usual["linear.weight"])
    assert not torch.equal(trained(arguments("heart_disease", **other))["linear.weight"], usual["linear.weight"])


def test_a_round_keeps_the_standardisation_and_leaves_no_gradients(arguments: Arguments) -> None:
    args = arguments("heart_disease")
    before = standardised_model(args).state_dict()
    after = trained(args)
    assert torch.equal(after["mean"], before["mean"])
    assert torch.equal(after["std"], before["std"])
    model = standardised_model(args)
    data = heart_disease.load_silo(args)
    trainer = heart_disease.trainer(model, args)
    trainer.update_dataset(data.train, data.test, data.num_train)
    trainer.train(data.train, CPU, args)
    assert [parameter.grad for parameter in model.parameters()] == [None, None]


def test_the_step_of_a_metric_is_the_epochs_number_in_the_run(arguments: Arguments) -> None:
    args = arguments("heart_disease", epochs=2)
    model = trained(args, rounds=3)
    assert [(name, step) for name, _, step in args.tracker.metrics] == [
        (name, step) for step in range(6) for name in ("Training:Loss", "Validation:AUC")
    ]
    test = heart_disease.load_silo(args).test
    logits = functional.linear((test.features - model["mean"]) / model["std"], model["linear.weight"])[:, 0]
    assert args.tracker.metrics[-1][1] == pytest.approx(metrics.roc_auc(logits, test.labels), abs=1e-3)


def test_added_up_sums_evaluate_as_the_pooled_test_sets_do(arguments: Arguments) -> None:
    totals: dict[str, torch.Tensor] = {}
    logits, labels = [], []
    for rank, silo in enumerate(HOSPITALS, 1):
        args = arguments("heart_disease", silo=silo, rank=rank)
        model = standardised_model(arguments("heart_disease"))
        test = heart_disease.load_silo(args).test
        sums = heart_disease.trainer(model, args).test(test, CPU, args)
        totals = {name: totals.get(name, torch.zeros((), dtype=sums[name].dtype)) + sums[name] for name in sums}
        logits.append(model(test.features).detach())
        labels.append(test.labels)
    scores, truth = torch.cat(logits), torch.cat(labels)
    result = heart_disease.aggregator(heart_disease.model(args), args).metrics(totals)
    assert int(totals["count"]) == 254
    assert abs(result["Test:AUC"].value - metrics.roc_auc(scores, truth)) <= result["Test:AUC"].bound < 0.005
    assert result["Test:Loss"] == pytest.approx(float(functional.binary_cross_entropy_with_logits(scores, truth)))
    assert result["Test:Accuracy"] == float(((scores > 0) == (truth > 0)).double().mean())


def test_no_choice_of_hyperparameters_makes_a_step_forget_the_others() -> None:
    """With plain SGD a step multiplies what the steps before it have learned by 1 - lr * (weight_decay + mu)."""
    declared = registry.declaration("heart_disease").hyperparameters
    largest = {name: float(declared[name].max or 0) for name in ("lr", "weight_decay", "mu")}
    assert largest["lr"] * (largest["weight_decay"] + largest["mu"]) <= 0.2
    assert [name for name, each in declared.items() if not each.safe] == ["batch_size", "weight_decay"]


def test_fedml_accepts_the_configuration() -> None:
    sections = registry.configuration("heart_disease")
    assert sections["common_args"] | {"random_seed": 0} == {
        "training_type": "cross_silo",
        "scenario": "horizontal",
        "federated_optimizer": "FedAvg",
        "random_seed": 0,
    }
    assert set(sections) == {f"{name}_args" for name in _SECTIONS}


_SECTIONS = ("common", "data", "model", "train", "validation", "device", "comm", "tracking")
