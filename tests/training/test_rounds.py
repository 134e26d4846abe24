"""Rounds open with the silos' statistics and close with their updates; a lost notice is sent again."""

from collections.abc import Callable

import torch

from fedsilo.config.run import Run
from fedsilo.errors import RunError
from fedsilo.ledger.contributions import contributions_in_words
from fedsilo.messaging.messages import WEIGHT_CAP, MailKind
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from fedsilo.states import Event
from tests.support.hub import Hub, Party
from tests.support.played import LEAST, MOST, SOME_MODEL, PlayedSilo, statistics_of
from tests.support.waiting import until


def events(hub: Hub, run: Run, name: Event) -> list[str]:
    """The texts of the aggregator's events of that name."""
    return [line.text for line in hub.record(run).lines.get(AGGREGATOR, []) if line.name == name]


def test_statistics_are_added_up_over_the_silos(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, weight in (("cleveland", 0.25), ("hungary", 0.75)):
        features = torch.lerp(LEAST, MOST, weight).repeat(50, 1)
        PlayedSilo(hub, name).online(statistics=statistics_of(features))
    first, second = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    sync = first.wait()
    torch.testing.assert_close(sync.groups["model"]["mean"], ((LEAST + MOST) / 2).float())
    torch.testing.assert_close(sync.groups["model"]["std"], ((MOST - LEAST) / 4).float())
    first.answer(sync, 1.0)
    second.answer(second.wait(), 4.0)
    final = first.wait()
    assert final.round_idx == 1
    assert final.groups["model"]["linear.weight"].eq(2.5).all()
    for silo in (first, second):
        silo.finish(final)
    assert aggregator.end() is None
    ledger = hub.record(run)
    assert ledger.metric("Test:Accuracy") == ledger.metric("Test:Accuracy", "hungary") == 1.0


def test_a_notice_without_a_mail_is_dropped_and_a_second_online_brings_a_lost_notice_back(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    bad, good = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    bad.online()
    good.online()
    good.wait()  # as if the notice were lost
    missing = run.keys.mail("cleveland", AGGREGATOR, 5, "update", 0)
    bad.mailbox.remind(AGGREGATOR, Notice(missing, 100, "0" * 64))
    good.online()
    bad.answer(bad.wait(), 1.0)
    good.play()
    bad.status("FINISHED")
    assert aggregator.end() is None


def test_a_deadline_is_paid_once_for_a_silo_that_only_says_that_it_is_there(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("good", "better", "talker")
    run = hub.run_of(rounds=3, quorum=2, deadline_seconds=4.0)
    aggregator = Party(hub, AGGREGATOR, run)
    good, better, talker = (PlayedSilo(hub, name) for name in ("good", "better", "talker"))
    for silo in (good, better, talker):
        silo.online()
    for _ in range(run.rounds):
        talker.online()
        for silo in (good, better):
            silo.answer(silo.wait())
    talker.online()
    for silo in (good, better):
        silo.finish(silo.wait())
    assert aggregator.end() is None
    assert events(hub, run, Event.DEADLINE) == ["closed with 2; missing talker"]
    assert hub.record(run).statuses[AGGREGATOR].present == ("better", "good")


def test_a_late_silo_is_waited_for_again_once_it_needs_no_longer_than_its_deadline(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("good", "better", "late")
    run = hub.run_of(rounds=4, quorum=2, deadline_seconds=4.0)
    aggregator = Party(hub, AGGREGATOR, run)
    good, better, late = (PlayedSilo(hub, name) for name in ("good", "better", "late"))
    for silo in (good, better, late):
        silo.online()
    missed = late.wait()
    for round_idx in (0, 1):
        assert good.answer_next() == better.answer_next() == round_idx
    second = good.wait()
    late.answer(missed)  # after more than the deadline: the run would pay it again and again
    assert better.answer_next() == 2
    good.answer(second)
    third = good.wait()
    assert third.round_idx == 3, "round 2 did not wait"
    assert late.wait("sync").round_idx == 1
    assert late.wait("sync").round_idx == 2
    late.answer(second)  # too late for its round, but quick
    until(lambda: "late is back" in events(hub, run, Event.JOINED), "the silo to be waited for")
    good.answer(third, 1.0)
    assert better.answer_next(1.0) == 3
    late.answer(third, 4.0)
    final = good.wait()
    assert final.groups["model"]["linear.weight"].eq(2).all(), "round 3 waited for the third silo"
    for silo in (good, better, late):
        silo.finish(final)
    assert aggregator.end() is None
    assert events(hub, run, Event.DEADLINE) == ["closed with 2; missing late"]
    slow, quick = events(hub, run, Event.LATE)
    assert slow.startswith("late answered round 0; dropped; it took ")
    assert slow.endswith(" of its 4 s, and rounds do not wait for it")
    assert quick == "late answered round 2; dropped"


def test_a_refusal_survives_a_restart_of_the_aggregator(make_hub: Callable[..., Hub]) -> None:
    """The refused silo has sent a good update since. The test plays the first aggregator."""
    hub = make_hub("good", "better", "refused")
    run = hub.run_of(rounds=1, quorum=2)
    before = hub.mailbox(AGGREGATOR)
    played = {name: PlayedSilo(hub, name) for name in ("good", "better", "refused")}
    for silo in played.values():
        silo.online()
    before.broadcast(played, MailKind.SYNC, 0, {WEIGHT_CAP: 500}, {"model": SOME_MODEL})
    before.send("refused", MailKind.FINISH, 0, {"reason": "declares 51 training samples", "refused": True}, {})
    played["refused"].answer(played["refused"].wait("sync"), 99.0)
    aggregator = Party(hub, AGGREGATOR, run)
    for name in ("good", "better"):
        played[name].answer(played[name].wait("sync"), 2.0)
    for name in ("good", "better"):
        while (final := played[name].wait("sync")).round_idx == 0:
            pass  # the new aggregator has sent the notice of round 0 again
        assert final.groups["model"]["linear.weight"].eq(2).all()
        played[name].finish(final)
    assert aggregator.end() is None
    assert hub.record(run).statuses[AGGREGATOR].refused == {"refused": "declares 51 training samples"}


def test_who_has_contributed_is_in_every_broadcast_and_in_the_record(hub: Hub) -> None:
    run = hub.run_of(rounds=2, quorum=1)
    aggregator = Party(hub, AGGREGATOR, run)
    good, bad = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    for silo in (good, bad):
        silo.online()
    first = good.wait()
    good.answer(first)
    bad.answer(bad.wait())
    second = good.wait()
    assert (first.fields["contributions"], second.fields["contributions"]) == (
        {"cleveland": 0, "hungary": 0},
        {"cleveland": 1, "hungary": 1},
    )
    bad.answer(bad.wait(), samples=51)  # is refused
    good.answer(second)
    good.finish(good.wait())
    assert aggregator.end() is None
    status = hub.record(run).statuses[AGGREGATOR]
    assert status.contributions == {"cleveland": 2, "hungary": 1}
    assert contributions_in_words(run, status) == "1 of 2 silos contributed to all 2 rounds; hungary to 1"


def test_a_run_fails_as_soon_as_the_silos_that_it_requires_can_not_all_contribute(hub: Hub) -> None:
    run = hub.run_of(rounds=2, quorum=1, require_silos=2)
    aggregator = Party(hub, AGGREGATOR, run)
    good, bad = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    for silo in (good, bad):
        silo.online()
    bad.answer(bad.wait(), samples=51)
    good.answer(good.wait())  # its update is opened first
    error = aggregator.end()
    assert isinstance(error, RunError)
    assert str(error).startswith("the run requires 2 silos that contribute to all rounds, and 1 still can: not hungary")
    assert "refused hungary (declares 51 training samples" in str(error)
