"""A silo that hears nothing says so, one that is told to end ends with the reason, and it sends what it learnt."""

import time

import pytest
import torch

from fedsilo.errors import FedsiloError, MailError, RefusedError, RunError
from fedsilo.messaging.mailbox import Mail, Mailbox
from fedsilo.names import AGGREGATOR
from fedsilo.training import client
from tests.support.hub import Hub, Party

MODEL = {
    "linear.weight": torch.zeros(1, 13),
    "linear.bias": torch.zeros(1),
    "mean": torch.zeros(13),
    "std": torch.ones(13),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SIGN_OF_LIFE_SECONDS", 0.5)


@pytest.fixture
def aggregator(hub: Hub) -> Mailbox:
    return hub.mailbox(AGGREGATOR)


def wait(aggregator: Mailbox, kind: str) -> Mail:
    """The next mail of that kind."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for notice in aggregator.receive(1):
            mail = aggregator.open(notice)
            if mail.kind == kind:
                return mail
    raise AssertionError(f"no {kind}")


def test_a_sign_of_life_brings_a_lost_notice_back(hub: Hub, aggregator: Mailbox) -> None:
    """From ONLINE to FINISHED: the round is opened while the silo waits, and its notice never comes."""
    party = Party(hub, "cleveland", hub.run_of(silos=["cleveland"], quorum=1, rounds=1))
    first = wait(aggregator, "status")
    assert first.fields["client_status"] == "ONLINE"
    assert first.groups["statistics"].keys() == {"count", "sum", "sum_of_squares"}
    aggregator.broadcast([], "sync", 0, {}, {"model": MODEL})
    assert wait(aggregator, "status").fields == first.fields, "it is there"
    lost = aggregator.newest_broadcast()
    assert lost is not None
    aggregator.remind("cleveland", lost)
    aggregator.remind("cleveland", lost)  # trained on once
    update = wait(aggregator, "update")
    assert update.round_idx == 0
    assert update.fields["num_samples"] == first.fields["num_samples"] == int(first.groups["statistics"]["count"])
    assert update.groups["model"]["linear.weight"].abs().sum() > 0
    assert update.groups["evaluation"].keys() == {"loss_sum", "count", "correct", "histogram"}
    aggregator.broadcast(["cleveland"], "sync", 1, {}, {"model": update.groups["model"]})
    assert party.end() is None
    kinds = [(mail.kind, mail.fields.get("client_status")) for mail in map(aggregator.open, aggregator.receive(0))]
    assert kinds[-1] == ("status", "FINISHED")
    assert [kind for kind, _ in kinds].count("update") == 0


@pytest.mark.parametrize(("refused", "kind"), [(True, RefusedError), (False, RunError)])
def test_a_silo_ends_with_the_aggregators_reason(
    hub: Hub, aggregator: Mailbox, refused: bool, kind: type[FedsiloError]
) -> None:
    party = Party(hub, "cleveland", hub.run)
    wait(aggregator, "status")
    aggregator.send("cleveland", "finish", 0, {"reason": "the quorum is 2", "refused": refused}, {})
    error = party.end()
    assert type(error) is kind
    assert str(error) == "the quorum is 2"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"linear.weight": torch.zeros(13, 1)}, "the global model: linear.weight has shape [13, 1]"),
        ({"linear.bias": torch.tensor([float("nan")])}, "the global model: linear.bias has values that are not finite"),
        ({"more": torch.zeros(1)}, "the global model: the tensors are not the model's; more missing or unknown"),
    ],
)
def test_a_global_model_that_is_not_the_model_ends_the_silo(
    hub: Hub, aggregator: Mailbox, change: dict[str, torch.Tensor], words: str
) -> None:
    aggregator.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL | change})
    error = Party(hub, "cleveland", hub.run).end()
    assert isinstance(error, MailError)
    assert str(error).startswith(words)


def test_a_silo_that_hears_nothing_gives_up_and_says_so(hub: Hub) -> None:
    party = Party(hub, "cleveland", hub.run_of(join_seconds=1.0, deadline_seconds=0.2))
    error = party.end()
    assert isinstance(error, RunError)
    assert str(error) == "no word from the aggregator for 1 s; see its status and log"


def test_mail_of_another_silo_is_nobodys_business(hub: Hub, aggregator: Mailbox) -> None:
    """Whatever it says it is."""
    other = hub.mailbox("hungary")
    for kind in ("finish", "sync", "update"):
        other.send("cleveland", kind, 0, {"reason": "evil", "refused": True}, {"model": MODEL})
    party = Party(hub, "cleveland", hub.run)
    wait(aggregator, "status")
    wait(aggregator, "status")
    assert party.is_alive()
    aggregator.send("cleveland", "finish", 0, {"reason": "good", "refused": True}, {})
    assert str(party.end()) == "good"
