"""The aggregator does not wait for silos whose own statuses say that their part has ended."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fedsilo import aws, runtime
from fedsilo.errors import RunError
from fedsilo.names import AGGREGATOR
from fedsilo.states import Event
from fedsilo.training import deadlines, rounds
from tests.support.hub import Hub, Party
from tests.support.played import PlayedSilo
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "POLL_SECONDS", 0.1)


def write_status(hub: Hub, silo: str, body: str | dict[str, Any]) -> None:
    """Write a silo's status of the run, as its agent or its trainer does."""
    text = body if isinstance(body, str) else json.dumps(body)
    aws.s3("us-east-1").put_object(Bucket=hub.bucket, Key=hub.run.keys.status(silo), Body=text.encode())


def test_nobody_waits_for_a_silo_whose_status_says_that_it_has_ended(make_hub: Callable[..., Hub]) -> None:
    """Before round 0, in a round and in the final one. No deadline is near."""
    hub = make_hub("good", "better", "refused", "failed", "last")
    run = hub.run_of(rounds=1, quorum=2)
    write_status(hub, "refused", {"state": "REFUSED", "reason": "policy.max_rounds: no"})
    write_status(hub, "failed", "{")  # not a status
    aggregator = Party(hub, AGGREGATOR, run)
    played = {name: PlayedSilo(hub, name) for name in ("good", "better", "failed", "last")}
    for silo in played.values():
        silo.online()
    syncs = {name: silo.wait() for name, silo in played.items()}
    for name in ("good", "better", "last"):
        played[name].answer(syncs[name])
    write_status(hub, "failed", {"state": "FAILED", "reason": "x\n\x1b[2J" * 100})
    finals = {name: played[name].wait() for name in ("good", "better", "last")}
    assert {mail.round_idx for mail in finals.values()} == {1}
    write_status(hub, "last", {"state": "ABORTED"})
    for name in ("good", "better"):
        played[name].finish(finals[name])
    assert aggregator.end() is None
    lost = [line.text for line in hub.record(run).lines[AGGREGATOR] if line.name == "lost"]
    assert [text[:23] for text in lost] == [
        "refused: REFUSED: polic", "failed: FAILED: x \ufffd[2Jx", "last: ABORTED: ",
    ]  # fmt: skip
    assert not hub.mailbox("refused").receive(0), "nothing is sent to a silo that has ended"


def test_a_silo_that_had_failed_and_comes_takes_part(hub: Hub) -> None:
    run = hub.run_of(rounds=1, quorum=1)
    write_status(hub, "hungary", {"state": "FAILED", "reason": "no node"})
    aggregator = Party(hub, AGGREGATOR, run)
    first, second = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    first.online()
    sync = first.wait()
    write_status(hub, "hungary", {"state": "WAITING"})
    second.online()
    second.answer(second.wait(), 3.0)
    first.answer(sync, 1.0)
    for silo in (first, second):
        final = silo.wait()
        assert final.groups["model"]["linear.weight"].eq(2).all()
        silo.finish(final)
    assert aggregator.end() is None


def test_without_enough_silos_the_run_ends_at_once_and_says_why_for_each(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("good", "refused", "failed", "counts")
    run = hub.run_of(quorum=2)
    aggregator = Party(hub, AGGREGATOR, run)
    good, counts = PlayedSilo(hub, "good"), PlayedSilo(hub, "counts")
    good.online()
    counts.online(samples=0)
    write_status(hub, "refused", {"state": "REFUSED", "reason": "policy.max_rounds: no"})
    write_status(hub, "failed", {"state": "FAILED", "reason": "the trainer ran out of memory"})
    error = aggregator.end()
    assert isinstance(error, RunError)
    for told in (
        "refused counts (declares 0 training samples); lost ", "refused (REFUSED: policy.max_rounds: no)",
        "failed (FAILED: the trainer ran out of memory)", "the quorum is 2; missing counts, failed, refused",
    ):  # fmt: skip
        assert told in str(error)
    assert good.wait().fields["reason"] == str(error)


def test_a_round_waits_longer_for_a_slow_silo_that_is_alive(
    make_hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status is all that it is heard of while it trains. Its update comes after the deadline of the others."""
    monkeypatch.setattr(deadlines, "EXTENSION_SECONDS", 0.1)
    hub = make_hub("good", "slow")
    run = hub.run_of(rounds=1, quorum=1, deadline_seconds=2.0, deadlines={"slow": 200.0})
    write_status(hub, "slow", {"state": "TRAINING"})
    aggregator = Party(hub, AGGREGATOR, run)
    good, slow = PlayedSilo(hub, "good"), PlayedSilo(hub, "slow")
    good.online()
    slow.online()
    good.answer(good.wait(), 1.0)
    sync = slow.wait()
    opened = runtime.monotonic()
    until(lambda: runtime.monotonic() > opened + 2 * run.deadline_seconds, "the deadline of the others to pass")
    slow.answer(sync, 3.0)
    final = good.wait()
    assert final.groups["model"]["linear.weight"].eq(2).all()
    good.finish(final)
    slow.finish(final)
    assert aggregator.end() is None
    assert not [line for line in hub.record(run).lines[AGGREGATOR] if line.name == Event.DEADLINE]


@pytest.mark.parametrize(
    ("longer", "silent_after"), [(200.0, -1.0), (2.5, 60.0)], ids=["silent", "over its own deadline"]
)
def test_a_round_waits_no_longer_for_a_slow_silo_that_is(
    make_hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch, longer: float, silent_after: float
) -> None:
    monkeypatch.setattr(deadlines, "EXTENSION_SECONDS", 0.1)
    monkeypatch.setattr(deadlines, "PARTY_SILENT_SECONDS", silent_after)
    hub = make_hub("good", "slow")
    run = hub.run_of(rounds=1, quorum=1, deadline_seconds=2.0, deadlines={"slow": longer})
    write_status(hub, "slow", {"state": "TRAINING"})
    aggregator = Party(hub, AGGREGATOR, run)
    good = PlayedSilo(hub, "good")
    PlayedSilo(hub, "slow").online()
    good.online()
    good.answer(good.wait(), 1.0)
    good.finish(good.wait())
    assert aggregator.end() is None
    closed = [line.text for line in hub.record(run).lines[AGGREGATOR] if line.name == Event.DEADLINE]
    assert closed == ["closed with 1; missing slow"]
