"""A workload's own model takes part in a run as it is, or is refused by name before the run begins."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load
from torch import nn

from fedsilo import aws
from fedsilo.config.run import Run
from fedsilo.errors import DeviceError, ModelError, RunError
from fedsilo.names import AGGREGATOR
from fedsilo.training import session
from tests.support.hub import Hub, Party
from workloads import mlp
from workloads.mlp.learning import MlpAggregator
from workloads.mlp.model import Mlp


class Tied(Mlp):
    """A perceptron with two layers of one weight, and a buffer that is a view of another."""

    whole: torch.Tensor
    part: torch.Tensor

    def __init__(self) -> None:
        super().__init__(200)
        middle = self.layers[2]
        assert isinstance(middle, nn.Linear)
        again = nn.Linear(middle.in_features, middle.out_features)
        again.weight = middle.weight
        self.layers.insert(4, again)
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("part", self.whole[2:4])


def take_part(hub: Hub, run: Run) -> dict[str, BaseException | None]:
    """How the parts of all parties of the run end."""
    parties = {name: Party(hub, name, run) for name in (AGGREGATOR, *run.silos)}
    return {name: party.end() for name, party in parties.items()}


@pytest.fixture
def run_of(hub: Hub) -> Callable[..., Run]:
    return lambda **choices: hub.run_of(workload="mlp", hyperparameters={"samples": 16}, **choices)


def test_tied_parameters_train_and_travel_and_come_back_tied(
    hub: Hub, run_of: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Tied] = []

    def model(_: object) -> Tied:
        models.append(Tied())
        return models[-1]

    monkeypatch.setattr(mlp, "model", model)
    run = run_of(rounds=2)
    assert set(take_part(hub, run).values()) == {None}
    stored = aws.s3("us-east-1").get_object(Bucket=hub.bucket, Key=run.keys.model(AGGREGATOR))
    published = load(stored["Body"].read())
    assert published["layers.2.weight"].equal(published["layers.4.weight"])
    assert published["part"].equal(torch.tensor([2.0, 3.0]))
    assert len(models) == 3
    for each in models:
        assert each.layers[4].weight is each.layers[2].weight
        assert each.part.data_ptr() == each.whole[2:].data_ptr()
        assert torch.equal(each.state_dict()["layers.2.weight"], published["layers.2.weight"])


def test_a_model_that_can_not_travel_ends_every_part_at_the_start(
    hub: Hub, run_of: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp, "model", lambda _: Mlp(200).to(torch.float8_e5m2))
    for error in take_part(hub, run_of()).values():
        assert isinstance(error, ModelError)
        assert str(error).startswith(
            "the model can't be exchanged: layers.0.weight has dtype float8_e5m2; allowed are "
        )
    assert not hub.mailbox(AGGREGATOR).receive(0)


def test_a_new_model_that_can_not_be_ends_the_run_and_blames_no_silo(
    hub: Hub, run_of: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(_: MlpAggregator, model: "OrderedDict[str, torch.Tensor]") -> "OrderedDict[str, torch.Tensor]":
        model["layers.0.bias"][0] = torch.inf
        return model

    monkeypatch.setattr(MlpAggregator, "on_after_aggregation", spoil)
    run = run_of(rounds=2)
    ended = take_part(hub, run)
    assert {type(error) for error in ended.values()} == {RunError}
    for error in ended.values():
        assert str(error).startswith("the new global model: layers.0.bias has values that are not finite")
    assert hub.record(run).statuses[AGGREGATOR].refused == {}
    broadcasts = aws.s3("us-east-1").list_objects_v2(Bucket=hub.bucket, Prefix=run.keys.outbox(AGGREGATOR, "all"))
    assert broadcasts["KeyCount"] == 1, "the first model; what is not finite is no checkpoint"


def test_only_a_party_that_trains_needs_the_gpus_of_its_spec(hub: Hub, run_of: Callable[..., Run]) -> None:
    paid = {party: hub.settings(party).model_copy(update={"gpus": 8}) for party in (AGGREGATOR, "cleveland")}
    with pytest.raises(DeviceError, match=r"^compute\.gpu: the trainer has 8 "):
        session.arguments(paid["cleveland"], run_of())
    assert session.arguments(paid[AGGREGATOR], run_of()).device.type == "cpu"
