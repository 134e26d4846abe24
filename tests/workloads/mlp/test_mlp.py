"""The second workload has any size, and learns from data that differ between silos."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench import fedavg
from bench.task import Task
from fedsilo.errors import SpecError
from fedsilo.workload import registry
from workloads import mlp
from workloads.mlp.learning import logits

Arguments = Callable[..., Namespace]


@pytest.mark.parametrize("parameters", [21, 22, 39, 10_000, 1_234_567])
def test_the_model_is_the_largest_within_its_parameters(arguments: Arguments, parameters: int) -> None:
    def size(args: Namespace) -> int:
        return sum(parameter.numel() for parameter in mlp.model(args).parameters())

    model = mlp.model(arguments("mlp", parameters=parameters))
    width = model.layers[0].out_features
    next_larger = (width + 1) ** 2 + 19 * (width + 1) + 1
    assert size(arguments("mlp", parameters=parameters)) == width**2 + 19 * width + 1 <= parameters < next_larger
    assert model(torch.zeros(3, 16)).shape == (3,)


def test_silos_have_different_samples_of_one_rule(arguments: Arguments) -> None:
    first, again, second = (mlp.load_silo(arguments("mlp", rank=rank, samples=500)) for rank in (1, 1, 2))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs, first.test.inputs)
    assert not torch.equal(first.train.inputs, second.train.inputs)
    assert (first.num_train, first.train.inputs.shape, first.test.labels.shape) == (500, (500, 16), (500,))
    rule = torch.linalg.lstsq(first.train.inputs, first.train.labels - 0.5).solution
    agreement = ((second.train.inputs @ rule > 0) == (second.train.labels > 0)).float().mean()
    assert agreement > 0.75


def test_it_learns_and_repeats_itself() -> None:
    first, again = (fedavg.run(Task("mlp", ("a", "b"), 10, 3, {}))["metrics"] for _ in range(2))
    assert first == again
    assert first["Test:AUC"] > 0.85
    assert first["Test:Accuracy"] > 0.75
    assert first["Test:Loss"] < 0.55


@pytest.mark.parametrize(
    "odd",
    [
        {"parameters": 20, "samples": 0, "epochs": 0, "batch_size": 0, "holdout": -1, "lr": 0.0},
        {"parameters": 10**12, "samples": 10**9, "epochs": 10**9, "batch_size": 10**9, "holdout": 10**9, "lr": -1.0},
    ],
    ids=["too little", "more than memory holds"],
)
def test_hyperparameters_out_of_range_are_all_named(odd: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as error:
        registry.hyperparameters("mlp", odd)
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [f"hyperparameters.{name}" for name in odd]


def test_the_batches_of_an_evaluation_do_not_change_it(arguments: Arguments) -> None:
    args = arguments("mlp", parameters=100, holdout=5000)
    model, samples = mlp.model(args), mlp.load_aggregator(args)
    assert samples
    with torch.no_grad():
        torch.testing.assert_close(logits(model, samples.inputs, torch.device("cpu")), model(samples.inputs))


def test_its_configuration_is_enough_to_find_it() -> None:
    assert {"heart_disease", "mlp"} <= set(registry.available())
    assert registry.load("mlp") is mlp
