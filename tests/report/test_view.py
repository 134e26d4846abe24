"""The report says what the ledger says."""

import re

import pytest

from tests.support.ledgers import RUN, START, WrittenLedger, event, finished, span


def test_a_finished_run_opens_with_its_outcome() -> None:
    text = finished(20).page().text
    told = "20 of 20 rounds in 41.5 s, 4 of 4 silos finished; test AUC 0.875 ± 0.002, accuracy 0.812, loss 0.432."
    assert f"Finished: {told}" in text
    assert "2026-11-22 08:15:00 UTC" in text
    assert "heart-aggregator (aggregator)" in text
    assert "lr0.01" in text
    assert "Not listed: openings and closings of rounds (21)." in text
    assert "best 0.875 after 1 rounds" in text


def test_silos_show_their_last_scores_and_samples() -> None:
    page = finished(3).page()
    cells = [text for tag, text in page.texts if tag == "span"]
    assert cells[:3] == ["0.865 ± 0.002", "0.802", "199"]
    assert [attrs["style"] for tag, attrs in page.elements if tag == "i"][:3] == [
        "width:86.5%",
        "width:80.2%",
        "width:100.0%",
    ]


def test_a_dead_silo_is_named_and_the_rounds_without_it_are_marked() -> None:
    page = finished(10, dead_from=4).page()
    assert "3 of 4 silos finished" in page.text
    assert "No word after 7.5 s, last state TRAINING in round 4." in page.text
    assert "Training, no word since, scores after 3 rounds" in page.text
    assert "Deadline: closed with 3; missing long-beach (6 times)" in page.text
    assert "7 rounds after which not all silos evaluated the model" in page.text
    assert page.count("mark closed") == 6 + 1
    assert page.count("mark lost") == 1 + 1


def test_a_heartbeat_counts_as_a_word_of_the_party() -> None:
    dead = finished(10, dead_from=4)
    dead.statuses["long-beach"]["heartbeat"] = "2026-11-22T08:15:11.250Z"
    assert "No word after 11.2 s, last state TRAINING" in dead.page().text


def test_an_event_that_closes_no_round_is_marked_as_an_event() -> None:
    late = finished(3)
    late.lines["aggregator"] += [event("late", 1, START + 3.5, "hungary answered a closed round")]
    assert late.page().count("mark closed") == 0
    assert late.page().count("mark event") == 1 + 1


def test_a_round_that_was_closed_counts_as_done() -> None:
    lines = {"aggregator": [event("opened", 0, START, ""), event("deadline", 0, START + 60, "closed with 3")]}
    assert "1 of 20 rounds in 1 min," in WrittenLedger(lines=lines).page().text


def test_a_failed_run_gives_its_reason_first() -> None:
    no_quorum = {"state": "FAILED", "reason": "no quorum in round 0: missing hungary"}
    failed = WrittenLedger(
        statuses={
            "aggregator": no_quorum,
            "cleveland": no_quorum,
            "switzerland": no_quorum,
            "hungary": {"state": "REFUSED", "reason": "policy.max_rounds: 20 is more than 10"},
        },
        lines={"aggregator": [span("wait", START + 1, START + 61, 0)]},
    )
    text = failed.page().text
    assert "Failed: no quorum in round 0: missing hungary. 0 of 20 rounds in 1 min 1 s, 0 of 4 silos finished." in text
    assert "hungaryRefused: policy.max_rounds: 20 is more than 10" in text
    assert "cleveland, switzerlandFailed for the same reason." in text
    assert "long-beachNo word, last state unknown." in text
    assert "No round was closed" in text


def test_a_run_that_goes_on_is_not_called_finished() -> None:
    going = finished(3)
    for status in going.statuses.values():
        status["state"] = "TRAINING"
    text = going.page().text
    assert "Training: the run has not ended. 3 of 3 rounds" in text
    assert "4 of 4 silos taking part" in text
    assert "No word" not in text


def test_an_empty_ledger_gives_a_page_that_says_so() -> None:
    text = WrittenLedger().page().text
    assert "No outcome: the aggregator has no status. 0 of 20 rounds in 0 s, 0 of 4 silos taking part." in text
    assert "No party recorded what it did." in text
    assert "Nothing else was noted." in text


def test_a_status_without_a_known_state_is_no_missing_status() -> None:
    text = WrittenLedger(statuses={"aggregator": {"state": "DREAMING"}}).page().text
    assert "Unknown: the run has not ended." in text


def test_a_long_hyperparameter_is_cut() -> None:
    text = WrittenLedger(RUN | {"hyperparameters": {"client_optimizer": "x" * 5000}}).page().text
    assert "client_optimizer" + "x" * 1999 + "…" in text


@pytest.mark.parametrize("dead_from", [None, 37])
def test_500_rounds_stay_small_and_the_page_says_what_it_sums_up(dead_from: int | None) -> None:
    page = finished(500, dead_from).page()
    assert len(page.html.encode()) < 400_000
    assert "spans are too many to draw one by one: each column stands for 4.2 s" in page.text
    assert re.search(r"5000\.875 ± 0\.0020\.4320\.812[34] of 4\d+\.\d", page.text)  # the last row of the table


def test_an_epoch_belongs_to_the_round_in_which_it_was_trained() -> None:
    hints = [text for tag, text in finished(3).page().texts if tag == "title" and text.startswith("2 rounds done\n")]
    assert hints[0].splitlines() == ["2 rounds done", "global: 0.875", *(f"{silo}: 0.510" for silo in RUN["silos"])]
