"""The aggregator's running sum gives what FedML's weighted mean gives, and a model that can be broadcast."""

import copy
import gc
from argparse import Namespace
from collections import OrderedDict
from typing import ClassVar

import pytest
import torch

from fedsilo.errors import MailError, ModelError
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.workload.base import Aggregator, Sums

from fedml.ml.aggregator.agg_operator import FedMLAggOperator

ARGS = Namespace(federated_optimizer="FedAvg", round_idx=0, client_num_per_round=3, dataset="")
Model = OrderedDict[str, torch.Tensor]


class Anything(Aggregator):
    def metrics(self, totals: Sums) -> dict[str, float]:
        return {}


def streaming(model: torch.nn.Module, silos: int = 3, workload: type[Aggregator] = Anything) -> StreamingAggregator:
    args = Namespace(**vars(ARGS))
    aggregator = StreamingAggregator(args, torch.device("cpu"), workload(model, args), silos, None)
    aggregator.begin_round(most=10**6)
    return aggregator


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


def test_the_running_sum_is_fedmls_weighted_mean() -> None:
    model = WithBuffers()
    aggregator, sent = streaming(model, 4), updates(model, 4)
    expected = FedMLAggOperator.agg(ARGS, copy.deepcopy(sent))
    for index, (samples, update) in enumerate(sent):
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


def held() -> int:
    """The bytes of all tensors that there are; what shares memory counts once."""
    dense = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    tensors = [each for each in dense if each.layout == torch.strided]  # only these have a memory of their own
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())


def test_the_sum_takes_the_room_of_one_model_whatever_the_number_of_silos() -> None:
    """The tensors of an update are views of the memory of a mail, of which nothing may be left."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False), torch.nn.BatchNorm1d(64, affine=False))
    aggregator, before = streaming(model, 20), held()
    for samples, update in updates(model, 20):
        views = OrderedDict((name, torch.stack([tensor] * 3)[0]) for name, tensor in update.items())
        aggregator.add_local_trained_result(0, views, samples)
    del views, update
    counter = 8  # bytes; its first value and the sum of the differences
    assert held() - before == sum(tensor.nbytes for tensor in model.state_dict().values()) + counter
    assert aggregator.model_dict == {}, "where FedML keeps every update"
    assert aggregator.sample_num_dict == {}


class Broken(Anything):
    """A workload whose hook returns what can't be the model."""

    returned: ClassVar[Model]

    def on_after_aggregation(self, aggregated_model_or_grad: Model) -> Model:
        return aggregated_model_or_grad | self.returned


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"bias": torch.tensor([float("nan")])}, "bias has values that are not finite"),
        ({"bias": torch.zeros(2)}, r"bias has shape \[2\], the model's \[1\]"),
        ({"bias": torch.zeros(1).double()}, "bias has dtype torch.float64, the model's torch.float32"),
        ({"extra": torch.zeros(1)}, "the tensors are not the model's; extra missing or unknown"),
    ],
)
def test_what_the_workload_makes_of_the_mean_is_checked_before_it_is_the_model(
    returned: Model, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(2, 1)
    before = copy.deepcopy(model.state_dict())
    aggregator = streaming(model, 1, Broken)
    monkeypatch.setattr(Broken, "returned", returned, raising=False)
    aggregator.add_local_trained_result(0, updates(model, 1)[0][1], 5)
    with pytest.raises(ModelError, match=f"^the new global model: {words}; see on_after_aggregation"):
        aggregator.aggregate()
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
