"""Rounds open with the silos' statistics and close with their updates; a lost notice is sent again."""

import torch

from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from tests.support.hub import Hub, Party
from tests.support.played import PlayedSilo


def test_statistics_are_added_up_over_the_silos(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    for name, mean in (("cleveland", 1.0), ("hungary", 3.0)):
        statistics = {
            "count": torch.tensor(50),
            "sum": torch.full((13,), 50 * mean, dtype=torch.float64),
            "sum_of_squares": torch.full((13,), 50 * mean**2, dtype=torch.float64),
        }
        PlayedSilo(hub, name).online(statistics=statistics)
    first, second = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
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
    ledger = hub.record(run)
    assert ledger.metric("Test:Accuracy") == ledger.metric("Test:Accuracy", "hungary") == 1.0


def test_a_notice_without_a_mail_is_dropped_and_a_second_online_brings_a_lost_notice_back(hub: Hub) -> None:
    run = hub.run_of(rounds=1)
    aggregator = Party(hub, AGGREGATOR, run)
    bad, good = PlayedSilo(hub, "cleveland"), PlayedSilo(hub, "hungary")
    bad.online()
    good.online()
    good.wait()  # as if the notice were lost
    missing = run.keys.mail("cleveland", AGGREGATOR, 5, "update")
    bad.mailbox.remind(AGGREGATOR, Notice(missing, 100, "0" * 64))
    good.online()
    bad.answer(bad.wait(), 1.0)
    good.play()
    bad.status("FINISHED")
    assert aggregator.end() is None
