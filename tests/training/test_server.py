"""A silo that sends something wrong is refused or ignored, and the others continue."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedsilo import aws
from fedsilo.errors import RunError
from fedsilo.names import AGGREGATOR
from fedsilo.workload.base import Sums
from tests.support.hub import Hub, Party
from tests.support.played import LEAST, MOST, SOME_EVALUATION, SOME_STATISTICS, PlayedSilo
from tests.support.scripted_aws import ScriptedAws

FLOAT8 = torch.zeros(3).to(torch.float8_e4m3fn)
HISTOGRAM = SOME_EVALUATION["histogram"]

BAD_EVALUATIONS: dict[str, tuple[Sums, str]] = {
    "names": ({"loss": torch.tensor(1.0).double()}, "has no count"),
    "float8": (SOME_EVALUATION | {"count": FLOAT8}, "has a count of dtype torch.float8_e4m3fn, not torch.int64"),
    "shape": (SOME_EVALUATION | {"count": torch.tensor([1, 2])}, "has a count of shape [2], not []"),
    "histogram": (SOME_EVALUATION | {"histogram": -HISTOGRAM}, "has a histogram outside the declared range"),
    "nan": (SOME_EVALUATION | {"loss_sum": torch.tensor(float("nan")).double()}, "has a loss_sum that is not finite"),
    "loss": (SOME_EVALUATION | {"loss_sum": torch.zeros(()).double()}, "has a loss that its histogram can't have"),
    "thousandfold": (
        SOME_EVALUATION | {"count": 1000 * SOME_EVALUATION["count"], "histogram": 1000 * HISTOGRAM},
        "is of 12000 samples, more than 10 times those that it trains on",
    ),
}
BAD_COUNTS: dict[str, tuple[Any, str]] = {
    "changed": (51, "declares 51 training samples, but had declared 50"),
    "endless": (10**400, "declares 1000000000"),
    "text": ("50", "declares '50' training samples"),
    "truth": (True, "declares True training samples"),
    "nothing": (None, "declares None training samples"),
}


def test_wrong_answers_are_refused_or_ignored_and_the_others_continue(make_hub: Callable[..., Hub]) -> None:
    """A wrong sample count ends the silo's part; a wrong evaluation is left out, and its update counts."""
    silos = ["good", "better", *BAD_EVALUATIONS, *BAD_COUNTS]
    hub = make_hub(*silos)
    run = hub.run_of(rounds=1, quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    played = {name: PlayedSilo(hub, name) for name in silos}
    for silo in played.values():
        silo.online()
    for name, (samples, _) in BAD_COUNTS.items():
        played[name].answer(played[name].wait(), 99.0, samples=samples)
    for name, (evaluation, _) in BAD_EVALUATIONS.items():
        played[name].answer(played[name].wait(), 2.0, evaluation)
    for name in ("good", "better"):
        played[name].answer(played[name].wait(), 2.0)
    for name in ("good", "better", *BAD_EVALUATIONS):
        final = played[name].wait()
        assert final.groups["model"]["linear.weight"].eq(2).all()
        played[name].finish(final)
    assert aggregator.end() is None
    ledger = hub.record(run)
    status = ledger.statuses[AGGREGATOR]
    assert status.metrics["Test:Accuracy"] == 1.0
    ignored = {line.text for line in ledger.lines[AGGREGATOR] if line.name == "ignored"}
    assert ignored == {f"{name}: its evaluation {reason}" for name, (_, reason) in BAD_EVALUATIONS.items()}
    assert status.refused.keys() == BAD_COUNTS.keys()
    for name, (_, reason) in BAD_COUNTS.items():
        assert reason in status.refused[name]
        told = [mail for mail in played[name].rest() if mail.kind == "finish"]
        assert [mail.fields["refused"] for mail in told] == [True]


@pytest.mark.parametrize(("code", "status"), [("RequestTimeTooSkewed", 403), ("ExpiredToken", 400)])
def test_no_silo_is_refused_for_the_aggregators_own_clock_and_credentials(
    hub: Hub, scripted: ScriptedAws, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    """The aggregator waits, and the silo's update counts."""
    monkeypatch.setattr(aws, "FIRST_PAUSE_SECONDS", 0.01)
    scripted.refuse("GetObject", code, status, key="cleveland/outbox/aggregator/000001-update", times=2)
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    first, second = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    for silo in (first, second):
        silo.online()
    for silo, value in ((first, 1.0), (second, 3.0)):
        silo.answer(silo.wait(), value)
    for silo in (first, second):
        final = silo.wait()
        assert final.groups["model"]["linear.weight"].eq(2).all()
        silo.finish(final)
    assert aggregator.end() is None
    assert scripted.answered == ["GetObject"] * 2
    assert hub.record(run).statuses[AGGREGATOR].refused == {}


def test_without_a_quorum_of_sample_counts_the_run_says_why_it_ends(make_hub: Callable[..., Hub]) -> None:
    counts: dict[str, Any] = {"zero": 0, "half": 1.5, "endless": 10**400, "large": 10**30}
    hub = make_hub(*counts)
    run = hub.run_of(quorum=1)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, samples in counts.items():
        PlayedSilo(hub, name).online(samples)
    error = aggregator.end()
    assert isinstance(error, RunError)
    for name, samples in counts.items():
        assert f"{name} (declares {samples!r:.40} training samples)" in str(error)
    assert "the quorum is 1" in str(error)


BAD_STATISTICS: dict[str, tuple[Sums, str]] = {
    "infinite": ({"sum": torch.full((13,), float("inf")).double()}, "has a sum that is not finite"),
    "float8": ({"count": FLOAT8}, "has a count of dtype torch.float8_e4m3fn, not torch.int64"),
    "negative": ({"count": torch.tensor(-50)}, "has an impossible count"),
    "form": ({"count": torch.tensor([50, 50])}, "has a count of shape [2], not []"),
    "formtoo": ({"count": torch.tensor([50, 50])}, "has a count of shape [2], not []"),
    "large": ({"sum_of_squares": torch.full((13,), 1e9).double()}, "has a sum_of_squares of age, sex"),
}


def test_a_silo_whose_statistics_can_not_be_true_is_refused_and_the_others_continue(
    make_hub: Callable[..., Hub],
) -> None:
    """The silos that attack come first, and the honest ones are in the minority."""
    hub = make_hub(*BAD_STATISTICS, "good", "better")
    run = hub.run_of(rounds=1, quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, (change, _) in BAD_STATISTICS.items():
        PlayedSilo(hub, name).online(statistics=SOME_STATISTICS | change)
    good, better = PlayedSilo(hub, "good"), PlayedSilo(hub, "better")
    for silo in (good, better):
        silo.online()
    for silo in (good, better):
        sync = silo.wait()
        torch.testing.assert_close(sync.groups["model"]["std"], ((MOST - LEAST) / 2).float())
        silo.answer(sync)
    for silo in (good, better):
        silo.finish(silo.wait())
    assert aggregator.end() is None
    refused = hub.record(run).statuses[AGGREGATOR].refused
    assert refused.keys() == BAD_STATISTICS.keys()
    for name, (_, reason) in BAD_STATISTICS.items():
        assert refused[name].startswith(f"its statistic {reason}")


def test_late_and_unknown_messages_of_a_silo_change_nothing(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    first, second = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
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
    assert hub.record(run).statuses[AGGREGATOR].refused == {}
