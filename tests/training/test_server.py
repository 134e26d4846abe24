"""The aggregator adds up what FedML would, and no silo ends a run for the others, whatever it sends."""

import copy
import json
import time
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedsilo import aws
from fedsilo.config.run import Run
from fedsilo.errors import MailError, RunError
from fedsilo.keys import MailAddress
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.record import Record
from fedsilo.messaging.mailbox import Mail, Notice
from fedsilo.names import AGGREGATOR
from fedsilo.training.server import StreamingAggregator
from fedsilo.workload import metrics
from fedsilo.workload.base import Aggregator, Sums
from tests.support.hub import Hub, Party

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
    assert aggregator.answered == {0, 1, 2, 3}
    aggregator.aggregate()
    for name, tensor in aggregator.get_global_model_params().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
    assert aggregator.answered == set(), "a new sum begins"


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
    assert aggregator.answered == {0}
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


# --- rounds, with silos that the test plays

STATISTICS = {
    "count": torch.tensor(50),
    "sum": torch.zeros(13, dtype=torch.float64),
    "sum_of_squares": torch.full((13,), 50.0, dtype=torch.float64),
}
EVALUATION = metrics.binary_sums(torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([0, 1, 1]), 0.0)


class Played:
    """A silo."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.mailbox, self.name = hub.mailbox(name), name

    def online(self, samples: Any = 50, statistics: Sums = STATISTICS) -> None:
        self.status("ONLINE", samples, {"statistics": statistics})

    def status(self, word: str, samples: Any = 50, groups: dict[str, Sums] | None = None, round_idx: int = 0) -> None:
        self.mailbox.send(
            AGGREGATOR, "status", round_idx, {"client_status": word, "num_samples": samples}, groups or {}
        )

    def wait(self) -> Mail:
        """The next mail."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            for notice in self.mailbox.receive(1):
                return self.mailbox.open(notice)
        raise AssertionError(f"no mail for {self.name}")

    def answer(
        self, sync: Mail, value: float = 0.0, evaluation: Sums = EVALUATION, samples: Any = 50, **more: Any
    ) -> None:
        model = {name: torch.full_like(tensor, value) for name, tensor in sync.groups["model"].items()}
        groups = {"model": model, "evaluation": evaluation}
        self.mailbox.send(AGGREGATOR, "update", sync.round_idx, {"num_samples": samples} | more, groups)

    def finish(self, sync: Mail) -> None:
        self.status("FINISHED", groups={"evaluation": EVALUATION}, round_idx=sync.round_idx)

    def play(self, value: float = 0.0) -> None:
        """Take part to the end."""
        while (mail := self.wait()).round_idx < 1:
            self.answer(mail, value)
        self.finish(mail)


def record(hub: Hub, run: Run) -> Record:
    return Reader(MailBucket.of(hub.settings(AGGREGATOR), "the test")).record(run)


FLOAT8 = torch.zeros(3).to(torch.float8_e4m3fn)


NO_SUMS: dict[str, tuple[Sums, str]] = {
    "names": ({"loss": torch.tensor(1.0).double()}, "not like that of the others"),
    "float8": (EVALUATION | {"count": FLOAT8}, "not like that of the others"),
    "shape": (EVALUATION | {"count": torch.tensor([1, 2])}, "not like that of the others"),
    "histogram": (EVALUATION | {"histogram": torch.zeros(3).long()}, "not like that of the others"),
    "nan": (EVALUATION | {"loss_sum": torch.tensor(float("nan")).double()}, "not finite"),
    "complex": (EVALUATION | {"loss_sum": torch.tensor(1 + 2j)}, "not like that of the others"),
}
NO_COUNTS: dict[str, tuple[Any, str]] = {
    "changed": (51, "declares 51 training samples, but had declared 50"),
    "endless": (10**400, "declares 1000000000"),
    "text": ("50", "declares '50' training samples"),
    "truth": (True, "declares True training samples"),
    "nothing": (None, "declares None training samples"),
}


def test_answers_that_make_no_sense_are_refused_or_ignored_and_the_others_go_on(make_hub: Callable[..., Hub]) -> None:
    """They come first. Without a sample count there is no update; without an evaluation there is one."""
    silos = ["good", "better", *NO_SUMS, *NO_COUNTS]
    hub = make_hub(*silos)
    run = hub.run_of(rounds=1, quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    played = {name: Played(hub, name) for name in silos}
    for silo in played.values():
        silo.online()
    for name, (samples, _) in NO_COUNTS.items():
        played[name].answer(played[name].wait(), 99.0, samples=samples)
    for name, (evaluation, _) in NO_SUMS.items():
        played[name].answer(played[name].wait(), 2.0, evaluation)
    for name in ("good", "better"):
        played[name].answer(played[name].wait(), 2.0)
    for name in ("good", "better", *NO_SUMS):
        final = played[name].wait()
        assert final.groups["model"]["linear.weight"].eq(2).all()
        played[name].finish(final)
    assert aggregator.end() is None
    ledger = record(hub, run)
    status = ledger.statuses[AGGREGATOR]
    assert status.metrics["Test:Accuracy"] == 1.0
    ignored = {line.text for line in ledger.lines[AGGREGATOR] if line.name == "ignored"}
    assert ignored == {f"{name}: its evaluation is {reason}" for name, (_, reason) in NO_SUMS.items()}
    assert status.refused.keys() == NO_COUNTS.keys()
    for name, (_, reason) in NO_COUNTS.items():
        assert reason in status.refused[name]
        told = [played[name].mailbox.open(notice) for notice in played[name].mailbox.receive(0)]
        assert [mail.fields["refused"] for mail in told if mail.kind == "finish"] == [True]


def test_without_a_quorum_of_sample_counts_the_run_says_why_it_ends(make_hub: Callable[..., Hub]) -> None:
    counts: dict[str, Any] = {"zero": 0, "half": 1.5, "endless": 10**400, "large": 10**30}
    hub = make_hub(*counts)
    run = hub.run_of(quorum=1)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, samples in counts.items():
        Played(hub, name).online(samples)
    error = aggregator.end()
    assert isinstance(error, RunError)
    for name, samples in counts.items():
        assert f"{name} (declares {samples!r:.40} training samples)" in str(error)
    assert "the quorum is 1" in str(error)


def test_statistics_are_added_up_over_the_silos(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, mean in (("cleveland", 1.0), ("hungary", 3.0)):
        statistics = {
            "count": torch.tensor(50),
            "sum": torch.full((13,), 50 * mean, dtype=torch.float64),
            "sum_of_squares": torch.full((13,), 50 * mean**2, dtype=torch.float64),
        }
        Played(hub, name).online(statistics=statistics)
    first, second = Played(hub, "cleveland"), Played(hub, "hungary")
    sync = first.wait()
    assert sync.groups["model"]["mean"].eq(2).all()
    assert sync.groups["model"]["std"].eq(1).all()
    first.answer(sync, 1.0)
    second.answer(second.wait(), 4.0)
    final = first.wait()
    assert final.round_idx == 1
    assert final.groups["model"]["linear.weight"].eq(2.5).all()
    for silo in (first, second):
        silo.finish(final)
    assert aggregator.end() is None
    ledger = record(hub, run)
    assert ledger.metric("Test:Accuracy") == ledger.metric("Test:Accuracy", "hungary") == 1.0


def test_statistics_that_are_not_finite_sums_are_refused(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("good", "better", "infinite", "float8")
    run = hub.run_of(rounds=1, quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    Played(hub, "infinite").online(statistics=STATISTICS | {"sum": torch.full((13,), float("inf")).double()})
    Played(hub, "float8").online(statistics=STATISTICS | {"count": FLOAT8})
    good, better = Played(hub, "good"), Played(hub, "better")
    for silo in (good, better):
        silo.online()
    for silo in (good, better):
        silo.answer(silo.wait())
    for silo in (good, better):
        silo.finish(silo.wait())
    assert aggregator.end() is None
    refused = record(hub, run).statuses[AGGREGATOR].refused
    assert refused == {
        "infinite": "its statistic is not finite",
        "float8": "its statistic is not like that of the others",
    }


def test_a_single_silo_whose_sums_are_none_ends_the_run_with_the_reason(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("float8")
    aggregator = Party(hub, AGGREGATOR, hub.run_of(quorum=1))
    Played(hub, "float8").online(statistics=STATISTICS | {"count": FLOAT8})
    assert "refused float8 (its statistic is neither float64 nor int64)" in str(aggregator.end())


def test_a_notice_of_nothing_is_dropped_and_a_second_online_brings_a_lost_notice_back(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    bad, good = Played(hub, "cleveland"), Played(hub, "hungary")
    bad.online()
    good.online()
    good.wait()  # and forgets it
    key = run.keys.mail("cleveland", AGGREGATOR, 5, "update")
    address = MailAddress.parse(key)
    assert address is not None
    bad.mailbox._notify(AGGREGATOR, Notice(address, key, 100, "0" * 64))
    good.online()
    bad.answer(bad.wait(), 1.0)
    good.play()
    bad.status("FINISHED")
    assert aggregator.end() is None


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsilo.training.server.LOOK_SECONDS", 0.1)


def say(hub: Hub, silo: str, body: str | dict[str, Any]) -> None:
    """Write a silo's status of the run, as its agent or its trainer does."""
    text = body if isinstance(body, str) else json.dumps(body)
    aws.s3("us-east-1").put_object(Bucket=hub.bucket, Key=hub.run.keys.status(silo), Body=text.encode())


@pytest.mark.usefixtures("_looks_often")
def test_nobody_waits_for_silos_that_say_that_they_are_out(make_hub: Callable[..., Hub]) -> None:
    """Before round 0, in a round, and in the last one; and none of the deadlines is near."""
    hub = make_hub("good", "better", "refused", "failed", "last")
    run = hub.run_of(rounds=1, quorum=2)
    say(hub, "refused", {"state": "REFUSED", "reason": "policy.max_rounds: no"})
    say(hub, "failed", "{")  # says nothing
    aggregator = Party(hub, AGGREGATOR, run)
    played = {name: Played(hub, name) for name in ("good", "better", "failed", "last")}
    for silo in played.values():
        silo.online()
    syncs = {name: silo.wait() for name, silo in played.items()}
    for name in ("good", "better", "last"):
        played[name].answer(syncs[name])
    say(hub, "failed", {"state": "FAILED", "reason": "x\n\x1b[2J" * 100})
    finals = {name: played[name].wait() for name in ("good", "better", "last")}
    assert {mail.round_idx for mail in finals.values()} == {1}
    say(hub, "last", {"state": "ABORTED"})
    for name in ("good", "better"):
        played[name].finish(finals[name])
    assert aggregator.end() is None
    lost = [line.text for line in record(hub, run).lines[AGGREGATOR] if line.name == "lost"]
    assert [text[:23] for text in lost] == [
        "refused: REFUSED: polic", "failed: FAILED: x \ufffd[2Jx", "last: ABORTED: ",
    ]  # fmt: skip
    assert not hub.mailbox("refused").receive(0), "nothing is sent to a silo that is out"


@pytest.mark.usefixtures("_looks_often")
def test_a_silo_that_was_out_and_comes_is_in(hub: Hub) -> None:
    run = hub.run_of(rounds=1, quorum=1)
    say(hub, "hungary", {"state": "FAILED", "reason": "no node"})
    aggregator = Party(hub, AGGREGATOR, run)
    first, second = Played(hub, "cleveland"), Played(hub, "hungary")
    first.online()
    sync = first.wait()
    say(hub, "hungary", {"state": "WAITING"})
    second.online()
    second.answer(second.wait(), 3.0)
    first.answer(sync, 1.0)
    for silo in (first, second):
        final = silo.wait()
        assert final.groups["model"]["linear.weight"].eq(2).all()
        silo.finish(final)
    assert aggregator.end() is None


@pytest.mark.usefixtures("_looks_often")
def test_without_silos_enough_the_run_ends_at_once_and_names_them_with_their_reasons(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("good", "refused", "failed", "counts")
    run = hub.run_of(quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    good, counts = Played(hub, "good"), Played(hub, "counts")
    good.online()
    counts.online(samples=0)
    say(hub, "refused", {"state": "REFUSED", "reason": "policy.max_rounds: no"})
    say(hub, "failed", {"state": "FAILED", "reason": "the trainer ran out of memory"})
    error = aggregator.end()
    assert isinstance(error, RunError)
    for told in (
        "refused counts (declares 0 training samples); lost ", "refused (REFUSED: policy.max_rounds: no)",
        "failed (FAILED: the trainer ran out of memory)", "the quorum is 2; missing counts, failed, refused",
    ):  # fmt: skip
        assert told in str(error)
    assert good.wait().fields["reason"] == str(error)


def test_late_and_strange_words_of_a_silo_change_nothing(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    first, second = Played(hub, "cleveland"), Played(hub, "hungary")
    first.online()
    second.online()
    sync = first.wait()
    second.wait()
    first.status("FINISHED")  # long before the end
    first.status("DANCING")
    first.mailbox.send(AGGREGATOR, "status", 0, {"sender": 2, "msg_type": 3, "client_status": None}, {})
    for round_idx in (-1, 7, 10**30):
        groups = {"model": {"linear.bias": torch.zeros(1)}}
        first.mailbox.send(AGGREGATOR, "update", round_idx, {"num_samples": 50, "sender": 2}, groups)
    first.answer(sync, 1.0)
    first.answer(sync, 100.0)  # only the first one counts
    second.answer(sync, 3.0, extra={"a": [1]}, msg_type=7)
    final = second.wait()
    assert final.groups["model"]["linear.weight"].eq(2).all()
    for silo in (first, second):
        silo.finish(final)
    assert aggregator.end() is None
    assert record(hub, run).statuses[AGGREGATOR].refused == {}
