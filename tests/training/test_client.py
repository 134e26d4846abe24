"""A silo sends what it has learnt, says that it is there while it waits, and ends with the aggregator's reason."""

from typing import Any

import pytest
import torch

from fedsilo import aws
from fedsilo.errors import FedsiloError, MailError, RefusedError, RunError
from fedsilo.ledger import writer
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.schema import Status
from fedsilo.names import AGGREGATOR
from fedsilo.states import PartyState
from fedsilo.training import client, sums
from fedsilo.workload import registry
from fedsilo.workload.base import Sums
from tests.support.hub import Hub, Party
from tests.support.played import SOME_MODEL as MODEL
from tests.support.played import Inbox
from tests.support.waiting import until
from workloads.heart_disease.trainer import HeartDiseaseTrainer

DECLARED = registry.declaration("heart_disease")


@pytest.fixture(autouse=True)
def _beats_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HEARTBEAT_SECONDS", 0.5)


@pytest.fixture
def aggregator(hub: Hub) -> Inbox:
    return Inbox(hub.mailbox(AGGREGATOR))


def test_a_heartbeat_brings_a_lost_notice_back(hub: Hub, aggregator: Inbox) -> None:
    """From ONLINE to FINISHED: the round opens while the silo waits, and the first notice of it is lost."""
    party = Party(hub, "cleveland", hub.run_of(silos=["cleveland"], quorum=1, rounds=1))
    first = aggregator.wait("status")
    assert first.fields["client_status"] == "ONLINE"
    assert first.groups["statistics"].keys() == {"count", "sum", "sum_of_squares"}
    aggregator.mailbox.broadcast([], "sync", 0, {}, {"model": MODEL})
    assert aggregator.wait("status").fields == first.fields, "the silo says again that it is there"
    lost = aggregator.mailbox.newest_broadcast()
    assert lost is not None
    aggregator.mailbox.remind("cleveland", lost)
    aggregator.mailbox.remind("cleveland", lost)  # the silo trains once
    update = aggregator.wait("update")
    assert update.round_idx == 0
    assert update.fields["num_samples"] == first.fields["num_samples"] == int(first.groups["statistics"]["count"])
    assert update.groups["model"]["linear.weight"].abs().sum() > 0
    evaluation = sums.read(update.groups["evaluation"], DECLARED.evaluation, DECLARED)
    assert evaluation.keys() == {"loss_sum", "count", "histogram"}
    weight = sum(tensor.nbytes for tensor in update.groups["evaluation"].values())
    assert weight < 2000, "only the bins that are not empty travel"
    assert (
        sums.read(first.groups["statistics"], DECLARED.statistics, DECLARED).keys() == first.groups["statistics"].keys()
    )
    aggregator.mailbox.broadcast(["cleveland"], "sync", 1, {}, {"model": update.groups["model"]})
    assert party.end() is None
    kinds = [(mail.kind, mail.fields.get("client_status")) for mail in aggregator.rest()]
    assert kinds[-1] == ("status", "FINISHED")
    assert [kind for kind, _ in kinds].count("update") == 0


@pytest.mark.parametrize("publish", [[], ["local_model"]])
def test_a_silo_publishes_its_last_model_only_if_its_policy_says_so(
    hub: Hub, aggregator: Inbox, publish: list[str]
) -> None:
    party = Party(hub, "cleveland", hub.run_of(silos=["cleveland"], quorum=1, rounds=1), publish=publish)
    aggregator.wait("status")
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL})
    update = aggregator.wait("update")
    aggregator.mailbox.broadcast(["cleveland"], "sync", 1, {}, {"model": update.groups["model"]})
    assert party.end() is None
    assert hub.record(hub.run).statuses["cleveland"].publishes_model is bool(publish)
    bucket = MailBucket(hub.settings(AGGREGATOR).hub_access("the test"))
    assert bucket.exists(hub.run.keys.model("cleveland")) is bool(publish)


def test_nothing_leaves_a_silo_with_fewer_samples_than_its_policy_asks_for(hub: Hub, aggregator: Inbox) -> None:
    error = Party(hub, "cleveland", hub.run, min_samples=200).end()
    assert isinstance(error, RefusedError)
    assert str(error) == (
        "policy.min_samples: the silo has fewer than 200 training samples, so nothing of them leaves it; "
        "its owner may lower min_samples"
    )
    assert aggregator.rest() == []


@pytest.mark.parametrize(("refused", "kind"), [(True, RefusedError), (False, RunError)])
def test_a_silo_ends_with_the_aggregators_reason(
    hub: Hub, aggregator: Inbox, refused: bool, kind: type[FedsiloError]
) -> None:
    party = Party(hub, "cleveland", hub.run)
    aggregator.wait("status")
    aggregator.mailbox.send("cleveland", "finish", 0, {"reason": "the quorum is 2", "refused": refused}, {})
    ended = [party.end()]
    ended.append(Party(hub, "cleveland", hub.run).end())  # started again: the notice is gone, and the mail is there
    for error in ended:
        assert type(error) is kind
        assert str(error) == ("refused by the aggregator: " if refused else "") + "the quorum is 2"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"linear.weight": torch.zeros(13, 1)}, "the global model: linear.weight has shape [13, 1]"),
        ({"linear.bias": torch.tensor([float("nan")])}, "the global model: linear.bias has values that are not finite"),
        ({"more": torch.zeros(1)}, "the global model: the tensors are not the model's; more missing or unknown"),
    ],
)
def test_a_global_model_that_is_not_the_model_ends_the_silo(
    hub: Hub, aggregator: Inbox, change: dict[str, torch.Tensor], words: str
) -> None:
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL | change})
    error = Party(hub, "cleveland", hub.run).end()
    assert isinstance(error, MailError)
    assert str(error).startswith(words)


def test_a_silo_that_hears_nothing_gives_up_and_says_so(hub: Hub) -> None:
    party = Party(hub, "cleveland", hub.run_of(join_seconds=1.0, deadline_seconds=0.2))
    error = party.end()
    assert isinstance(error, RunError)
    assert str(error) == "no word from the aggregator for 1 s; see its status and log"


def test_mail_of_another_silo_is_ignored_whatever_it_says(hub: Hub, aggregator: Inbox) -> None:
    other = hub.mailbox("hungary")
    for kind in ("finish", "sync", "update"):
        other.send("cleveland", kind, 0, {"reason": "evil", "refused": True}, {"model": MODEL})
    party = Party(hub, "cleveland", hub.run)
    aggregator.wait("status")
    aggregator.wait("status")
    assert party.is_alive()
    aggregator.mailbox.send("cleveland", "finish", 0, {"reason": "good", "refused": True}, {})
    assert str(party.end()) == "refused by the aggregator: good"


def test_a_silo_that_is_started_again_resends_its_update_and_does_not_train_twice(hub: Hub, aggregator: Inbox) -> None:
    run = hub.run_of(silos=["cleveland"], quorum=1, rounds=2)
    first = Party(hub, "cleveland", run)
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL})
    update = aggregator.wait("update")
    aggregator.mailbox.send("cleveland", "finish", 0, {"reason": "as if it were killed", "refused": False}, {})
    first.end()
    finish = hub.mailbox("cleveland").last(AGGREGATOR, "finish")
    assert finish is not None
    aws.s3("us-east-1").delete_object(Bucket=hub.bucket, Key=finish.key)
    restarted = Inbox(hub.mailbox(AGGREGATOR))  # as if the first notice were lost: this one has opened nothing
    second = Party(hub, "cleveland", run)
    resent = restarted.wait("update")
    assert resent.seq == update.seq, "it is the same mail"
    aggregator.mailbox.broadcast(["cleveland"], "sync", 1, {}, {"model": update.groups["model"]})
    assert restarted.wait("update").round_idx == 1
    aggregator.mailbox.broadcast(["cleveland"], "sync", 2, {}, {"model": update.groups["model"]})
    assert second.end() is None
    trained = [line.round for line in hub.record(run).lines["cleveland"] if line.name == "train"]
    assert trained == [0, 1]


def test_an_aggregator_that_skips_the_last_round_gets_no_answer(hub: Hub, aggregator: Inbox) -> None:
    party = Party(hub, "cleveland", hub.run_of(rounds=3))
    aggregator.mailbox.broadcast(["cleveland"], "sync", 4, {}, {"model": MODEL})
    error = party.end()
    assert isinstance(error, MailError)
    assert str(error) == "the aggregator opened round 4 of a run of 3 rounds"
    assert {mail.kind for mail in aggregator.rest()} == {"status"}


def test_rounds_never_go_back(hub: Hub, aggregator: Inbox) -> None:
    party = Party(hub, "cleveland", hub.run_of(rounds=3))
    aggregator.mailbox.send("cleveland", "sync", 2, {}, {"model": MODEL})
    assert aggregator.wait("update").round_idx == 2
    for round_idx in (1, 2):
        aggregator.mailbox.send("cleveland", "sync", round_idx, {}, {"model": MODEL})
    aggregator.mailbox.broadcast(["cleveland"], "sync", 3, {}, {"model": MODEL})
    assert party.end() is None
    assert {mail.kind for mail in aggregator.rest()} == {"status"}


def test_a_silo_beats_while_it_trains(hub: Hub, aggregator: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(writer, "INTERVAL_SECONDS", 0.0)
    run = hub.run_of(silos=["cleveland"], quorum=1, rounds=1)
    key, bucket = run.keys.status("cleveland"), MailBucket(hub.settings(AGGREGATOR).hub_access("the test"))

    def train_until_it_has_beaten(*_: object) -> None:
        seen: set[bytes] = set()
        until(lambda: ((stored := bucket.get(key)) and seen.add(stored.body)) or len(seen) > 3, "three heartbeats")
        assert all(Status.of(body).state in (PartyState.TRAINING, PartyState.WAITING) for body in seen)

    monkeypatch.setattr(HeartDiseaseTrainer, "train", train_until_it_has_beaten)
    Party(hub, "cleveland", run)
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL})
    assert aggregator.wait("update").round_idx == 0
    aggregator.mailbox.broadcast(["cleveland"], "sync", 1, {}, {"model": MODEL})
    aggregator.wait("status")


def test_each_call_of_a_workload_begins_in_its_mode_whatever_the_one_before_left(
    hub: Hub, aggregator: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    own_train, own_test = HeartDiseaseTrainer.train, HeartDiseaseTrainer.test

    def leave(trainer: HeartDiseaseTrainer) -> None:
        seen.append((trainer.model.training, torch.is_grad_enabled()))
        trainer.model.eval()
        torch.set_grad_enabled(False)

    def train(trainer: HeartDiseaseTrainer, *args: Any) -> None:
        own_train(trainer, *args)
        leave(trainer)

    def test(trainer: HeartDiseaseTrainer, *args: Any) -> Sums:
        found = own_test(trainer, *args)
        leave(trainer)
        return found

    monkeypatch.setattr(HeartDiseaseTrainer, "train", train)
    monkeypatch.setattr(HeartDiseaseTrainer, "test", test)
    party = Party(hub, "cleveland", hub.run_of(silos=["cleveland"], quorum=1, rounds=1))
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": MODEL})
    aggregator.wait("update")
    aggregator.mailbox.broadcast(["cleveland"], "sync", 1, {}, {"model": MODEL})
    assert party.end() is None
    assert seen == [(False, False), (True, True), (False, False)]
