"""How a run is going, from its statuses alone: its line, its notes, and what is news."""

from typing import Any

import pytest

from fedsilo.admin.progress import Answer, ProgressLines, RunProgress
from fedsilo.config.run import plan
from fedsilo.ledger.schema import PARTY_SILENT_SECONDS, Status
from fedsilo.names import AGGREGATOR
from fedsilo.states import PartyState

SILOS = ["cleveland", "hungary", "long-beach"]
RUN = plan("heart", "heart_disease", SILOS, overrides={}, run_id="run-1", rounds=5, quorum=2)
SILENT = PARTY_SILENT_SECONDS + 1


def progress(aggregator: dict[str, Any] | None = None, **silos: dict[str, Any]) -> RunProgress:
    """The run, of which ``aggregator`` and ``silos`` (with underscores for hyphens) are fields of statuses."""
    statuses = {party: Status() for party in RUN.parties} | {AGGREGATOR: Status(**aggregator or {})}
    return RunProgress(RUN, statuses | {silo.replace("_", "-"): Status(**fields) for silo, fields in silos.items()})


TRAINING = {"state": PartyState.TRAINING, "round": 2, "answered": ["cleveland"], "present": ["cleveland", "hungary"]}


def test_the_line_of_an_open_round_names_the_silos_that_are_waited_for() -> None:
    line = progress(
        TRAINING | {"metrics": {"Test:AUC": 0.81, "Test:Loss": 0.44}, "bounds": {"Test:AUC": 0.00111}}
    ).line()
    assert line == "TRAINING  round 2/5  AUC 0.810 ± 0.002  Loss 0.440  1 of 3 answered  waiting for hungary"


def test_the_line_of_a_run_that_has_ended_says_who_contributed() -> None:
    """A run that had dropped two of its sites reported success."""
    ended = {"state": PartyState.FINISHED, "round": 5, "contributions": {"cleveland": 5, "hungary": 3, "other": 5}}
    words = "1 of 3 silos contributed to all 5 rounds; hungary to 3, long-beach to none"
    assert progress(ended).line() == f"FINISHED  round 5/5  {words}"
    assert progress(ended | {"contributions": {}}).line() == "FINISHED  round 5/5", "another version does not say"
    sampled = ended | {"asked_rounds": {"cleveland": 5, "hungary": 4, "long-beach": 0}}
    words = "1 of 2 silos contributed each time they were asked; hungary 3 of 4 times"
    assert RunProgress(RUN.model_copy(update={"fraction": 0.5}), progress(sampled).statuses).line().endswith(words)
    assert "contributed" not in progress(TRAINING | {"contributions": {"cleveland": 1}}).line()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PartyState.REQUESTED, "waiting for the aggregator's agent to answer"),
        (PartyState.QUEUED, "waiting for its turn at the aggregator"),
        (PartyState.PENDING, "waiting for the aggregator's trainer to be scheduled"),
        (PartyState.STARTING, "waiting for the aggregator's trainer to come up"),
        (PartyState.RESTARTING, "waiting for the aggregator's trainer to be started again"),
        (PartyState.WAITING, "waiting for silos to come up"),
    ],
)
def test_the_line_says_what_a_run_waits_for(state: PartyState, words: str) -> None:
    assert words in progress({"state": state}).line()


def test_a_silo_has_answered_is_waited_for_is_late_or_was_refused() -> None:
    open_round = progress(TRAINING | {"refused": {"long-beach": "declares 0 training samples"}})
    assert {party: open_round.answer(party) for party in RUN.parties} == {
        AGGREGATOR: Answer.NONE_DUE,
        "cleveland": Answer.YES,
        "hungary": Answer.NOT_YET,
        "long-beach": Answer.REFUSED,
    }
    assert progress(TRAINING).answer("long-beach") == Answer.LATE
    sampled = progress(TRAINING | {"asked": ["cleveland", "hungary"], "present": SILOS})
    assert [sampled.answer(silo) for silo in SILOS] == [Answer.YES, Answer.NOT_YET, Answer.NOT_ASKED]
    assert "1 of 2 answered  waiting for hungary" in sampled.line()
    assert progress({"state": PartyState.WAITING}).answer("hungary") == Answer.NONE_DUE
    assert open_round.awaited() == ["hungary"]


def test_notes_tell_what_an_operator_should_know() -> None:
    shown = progress(
        TRAINING | {"refused": {"long-beach": "declares 0 training samples"}},
        cleveland={"state": PartyState.WAITING, "silent_seconds": SILENT},
        long_beach={"state": PartyState.TRAINING},
    )
    assert shown.note("cleveland") == "no heartbeat for 1 min 1 s"
    assert shown.note("hungary") == "its agent has not answered"
    assert shown.note("long-beach") == "refused by the aggregator: declares 0 training samples"
    late = progress(TRAINING, long_beach={"state": PartyState.TRAINING})
    assert late.note("long-beach") == "has missed a deadline or has not joined; the run does not wait for it"
    failed = progress(TRAINING, hungary={"state": PartyState.FAILED, "reason": "out of memory", "silent_seconds": 1e6})
    assert failed.note("hungary") == "out of memory"


def test_the_line_warns_of_a_silent_aggregator_and_of_a_quorum_out_of_reach() -> None:
    refused = {"state": PartyState.REFUSED}
    shown = progress(TRAINING | {"silent_seconds": SILENT}, cleveland=refused, hungary=refused)
    assert "no heartbeat from the aggregator for 1 min 1 s" in shown.line()
    assert "silos left: 1, fewer than the quorum of 2: fedsilo run abort run-1" in shown.line()
    over = progress({"state": PartyState.FAILED, "silent_seconds": SILENT}, cleveland=refused, hungary=refused)
    assert over.line() == "FAILED  round 0/5"


def test_silos_linger_that_still_work_and_are_not_silent() -> None:
    shown = progress(
        {"state": PartyState.FINISHED},
        cleveland={"state": PartyState.FINISHING},
        hungary={"state": PartyState.FINISHING, "silent_seconds": SILENT},
        long_beach={"state": PartyState.FINISHED},
    )
    assert shown.lingering() == ["cleveland"]
    assert shown.over
    assert shown.succeeded


def test_only_news_are_lines() -> None:
    lines = ProgressLines()
    waiting = progress({"state": PartyState.WAITING})
    assert list(lines.news(waiting)) == [waiting.line()]
    assert list(lines.news(waiting)) == []
    refused = progress({"state": PartyState.WAITING}, hungary={"state": PartyState.REFUSED, "reason": "policy"})
    assert list(lines.news(refused)) == ["hungary: REFUSED: policy"]
    assert list(lines.news(refused)) == []
    failed = progress({"state": PartyState.FAILED, "reason": "no quorum"})
    assert list(lines.news(failed)) == [f"{failed.line()}  no quorum"]
