"""The aggregator's running sum gives what FedML's weighted mean gives."""

import copy
from argparse import Namespace
from collections import OrderedDict

import pytest
import torch

from fedsilo.errors import MailError
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.workload.base import Aggregator, Sums

from fedml.ml.aggregator.agg_operator import FedMLAggOperator

ARGS = Namespace(federated_optimizer="FedAvg", round_idx=0, client_num_per_round=3, dataset="")
Model = OrderedDict[str, torch.Tensor]


class Anything(Aggregator):
    def metrics(self, totals: Sums) -> dict[str, float]:
        return {}


def streaming(model: torch.nn.Module, silos: int = 3) -> StreamingAggregator:
    args = Namespace(**vars(ARGS))
    return StreamingAggregator(args, torch.device("cpu"), Anything(model, args), silos, None)


def updates(model: torch.nn.Module, silos: int) -> list[tuple[int, Model]]:
    torch.manual_seed(1)
    return [
        (
            int(torch.randint(1, 500, ())),
            OrderedDict(
                (name, torch.randn_like(tensor) if tensor.is_floating_point() else torch.tensor(17 * rank))
                for name, tensor in model.state_dict().items()
            ),
        )
        for rank in range(silos)
    ]


class WithBuffers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_running_sum_is_fedmls_weighted_mean(order: list[int]) -> None:
    model = WithBuffers()
    aggregator, sent = streaming(model, 4), updates(model, 4)
    expected = FedMLAggOperator.agg(ARGS, copy.deepcopy(sent))
    for index in order:
        samples, update = sent[index]
        aggregator.add_local_trained_result(index, update, samples)
    assert aggregator.weight == sum(samples for samples, _ in sent)
    aggregator.aggregate()
    for name, tensor in aggregator.get_global_model_params().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
    assert aggregator.weight == 0, "a new sum begins"


def test_a_counter_stays_an_integer_and_is_rounded_not_cut() -> None:
    model = WithBuffers()
    aggregator = streaming(model)
    for index, count in enumerate((3, 4, 4)):
        update = OrderedDict((name, tensor.clone()) for name, tensor in model.state_dict().items())
        update["layers.1.num_batches_tracked"] = torch.tensor(count)
        aggregator.add_local_trained_result(index, update, 1)
    aggregator.aggregate()
    counter = aggregator.get_global_model_params()["layers.1.num_batches_tracked"]
    assert (counter.dtype, int(counter)) == (torch.int64, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_many_samples_of_a_model_in_half_precision_do_not_overflow(dtype: torch.dtype) -> None:
    model = torch.nn.Linear(2, 1, dtype=dtype)
    aggregator = streaming(model, 2)
    for index, value in enumerate((48.0, 52.0)):
        update = OrderedDict((name, torch.full_like(tensor, value)) for name, tensor in model.state_dict().items())
        aggregator.add_local_trained_result(index, update, 100_000)
    aggregator.aggregate()
    for tensor in aggregator.get_global_model_params().values():
        assert tensor.dtype == dtype
        assert tensor.eq(50).all()


def test_a_second_round_forgets_the_first() -> None:
    model = torch.nn.Linear(2, 1)
    aggregator = streaming(model, 2)
    for value in (100.0, 3.0):
        update = OrderedDict((name, torch.full_like(tensor, value)) for name, tensor in model.state_dict().items())
        aggregator.add_local_trained_result(0, update, 7)
        aggregator.aggregate()
        assert all(bool(tensor.eq(value).all()) for tensor in aggregator.get_global_model_params().values())


def test_an_update_that_is_not_the_models_leaves_the_sum_as_it_was() -> None:
    model = torch.nn.Linear(2, 1)
    aggregator = streaming(model, 2)
    good = OrderedDict((name, torch.ones_like(tensor)) for name, tensor in model.state_dict().items())
    aggregator.add_local_trained_result(0, good, 5)
    for bad in (
        good | {"weight": torch.full((1, 2), float("nan"))},
        good | {"bias": torch.tensor([float("inf")])},
        {"weight": good["weight"]},
        {},
    ):
        with pytest.raises(MailError, match=r"^the update: "):
            aggregator.add_local_trained_result(1, bad, 5)
    assert aggregator.weight == 5
    aggregator.aggregate()
    assert all(bool(tensor.eq(1).all()) for tensor in aggregator.get_global_model_params().values())


def test_the_sum_takes_the_room_of_one_model_whatever_the_number_of_silos() -> None:
    """Counted in the tensors that the aggregator holds on to."""
    model = torch.nn.Linear(64, 64)
    aggregator = streaming(model, 50)
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    for index, (samples, update) in enumerate(updates(model, 50)):
        aggregator.add_local_trained_result(index, update, samples)
        held = sum(tensor.nbytes for tensor in aggregator._sum.values())
        assert held == size
    assert aggregator.model_dict == {}, "where FedML keeps every update"
    assert aggregator.sample_num_dict == {}
