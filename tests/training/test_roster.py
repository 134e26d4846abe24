"""The roster knows which silos take part, which ones the run waits for, and what their updates weigh."""

from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from fedsilo.config.run import Run
from fedsilo.errors import MailError
from fedsilo.keys import RunKeys
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from fedsilo.training.roster import WEIGHT_CAP, Roster, Silo, names_of

SUMS = {"count": torch.tensor(3)}
NOTICE = Notice(RunKeys("heart-1").mail("west", AGGREGATOR, 1, "update", 0), 1, "")


VALUES: dict[str, Any] = {
    "run": "heart-1", "federation": "heart", "workload": "heart_disease", "silos": ["west", "east", "north"],
    "rounds": 3, "hyperparameters": {}, "seed": 1, "quorum": 2, "deadline_seconds": 1.0, "join_seconds": 1.0,
    "created": datetime.now(UTC),
}  # fmt: skip


@pytest.fixture
def roster() -> Roster:
    return Roster(Run.checked(VALUES))


def join(roster: Roster, *names: str) -> None:
    for name in names:
        roster.declare(roster[name], 50)
        roster[name].active, roster[name].statistics = True, SUMS


def names(silos: list[Silo]) -> list[str]:
    return [silo.name for silo in silos]


def test_silos_are_in_the_order_of_their_ranks(roster: Roster) -> None:
    assert [(silo.name, silo.rank) for silo in roster] == [("west", 1), ("east", 2), ("north", 3)]
    assert names(roster.remaining) == ["west", "east", "north"]
    assert roster.active == roster.responded == roster.missing == []
    assert names_of(roster) == ["east", "north", "west"]


def test_before_round_0_who_has_joined_has_responded(roster: Roster) -> None:
    join(roster, "east")
    assert names(roster.active) == names(roster.responded) == ["east"]
    assert roster.missing == []
    assert names(roster.awaited) == ["west", "east", "north"], "one that has joined may still fail"
    assert roster["east"].statistics == SUMS


def test_a_round_waits_for_active_silos_until_they_answer(roster: Roster) -> None:
    join(roster, "west", "east")
    roster.begin_round(final=False, weight_cap=500)
    assert names(roster.missing) == ["west", "east"]
    roster["east"].answered, roster["east"].evaluation = True, SUMS
    assert names(roster.responded) == ["east"]
    assert names(roster.missing) == ["west"]
    assert names(roster.awaited) == ["west", "north"], "north may still come"
    roster.begin_round(final=False, weight_cap=500)
    assert roster.responded == []
    assert [silo.evaluation for silo in roster] == [None] * 3


def test_the_final_round_waits_until_silos_have_evaluated_the_model(roster: Roster) -> None:
    join(roster, "west", "east")
    roster.begin_round(final=True, weight_cap=500)
    roster["west"].answered = True
    roster["east"].finished = True
    assert names(roster.responded) == ["east"]
    assert names(roster.missing) == ["west"]


def test_a_silo_that_is_refused_after_it_answered_leaves_its_update_in_the_sum(roster: Roster) -> None:
    join(roster, "west", "east")
    roster.begin_round(final=False, weight_cap=500)
    roster["west"].answered, roster["west"].evaluation = True, SUMS
    roster.refuse(roster["west"], "declares 51 training samples")
    assert names(roster.remaining) == ["east", "north"]
    assert names(roster.responded) == ["west"]
    assert names(roster.missing) == ["east"]
    assert [silo.evaluation for silo in roster] == [None] * 3
    assert roster["east"].statistics == SUMS
    assert roster.status_fields()["refused"] == {"west": "declares 51 training samples"}


def test_a_lost_silo_is_back_once_it_declares_its_samples_again(roster: Roster) -> None:
    join(roster, "west")
    roster.lose(roster["west"], "FAILED: no node")
    assert names(roster.remaining) == ["east", "north"]
    assert roster.active == []
    assert roster["west"].statistics is None
    join(roster, "west")
    assert names(roster.remaining) == ["west", "east", "north"]
    assert names(roster.active) == ["west"]


def test_refused_and_lost_silos_are_named_with_their_reasons(roster: Roster) -> None:
    assert roster.losses == ""
    roster.lose(roster["east"], "FAILED: no node")
    roster.refuse(roster["north"], "declares 0 training samples")
    assert roster.losses == "refused north (declares 0 training samples); lost east (FAILED: no node)"


@pytest.mark.parametrize("end", ["refuse", "lose"])
def test_a_reason_is_quoted_in_one_short_line(roster: Roster, end: str) -> None:
    getattr(roster, end)(roster["west"], "bad\n2026-11-22 10:08:31 INFO forged" + "x" * 10**6)
    assert roster.losses.isprintable()
    assert len(roster.losses) < 300


@pytest.mark.parametrize("samples", [0, -5, 1.5, "50", True, None, 10**12 + 1, 10**400])
def test_what_is_not_a_count_of_samples_is_an_error(roster: Roster, samples: object) -> None:
    with pytest.raises(MailError) as raised:
        roster.declare(roster["west"], samples)
    assert str(raised.value) == f"declares {samples!r:.40} training samples"
    assert roster["west"].samples is None


def test_a_silo_may_not_change_its_number_of_samples(roster: Roster) -> None:
    roster.declare(roster["west"], 50)
    roster.declare(roster["west"], 50)
    with pytest.raises(MailError, match=r"^declares 51 training samples, but had declared 50$"):
        roster.declare(roster["west"], 51)
    assert roster["west"].samples == 50


def test_no_silo_weighs_more_than_ten_median_silos_of_those_that_take_part_when_a_round_opens(roster: Roster) -> None:
    for name, samples in (("west", 100), ("north", 10**9)):
        roster.declare(roster[name], samples)
    assert roster.next_weight_cap == WEIGHT_CAP * 100
    assert roster.capped == []
    roster.begin_round(final=False, weight_cap=roster.next_weight_cap)
    roster.declare(roster["east"], 200)
    assert roster.next_weight_cap == WEIGHT_CAP * 200
    assert [roster.weight(silo) for silo in roster] == [100, 200, WEIGHT_CAP * 100], "a late silo moves no cap"
    assert names(roster.capped) == ["north"]
    status = roster.status_fields()
    assert (status["weight_cap"], status["capped"]) == (WEIGHT_CAP * 100, ["north"])
    roster.refuse(roster["north"], "no")
    assert roster.capped == []
    assert roster.next_weight_cap == WEIGHT_CAP * 100


def test_updates_are_due_in_the_order_of_ranks_or_when_the_round_can_close(roster: Roster) -> None:
    join(roster, "west", "east")
    roster.begin_round(final=False, weight_cap=500)
    assert roster.next_update is None
    roster["north"].update = NOTICE
    assert roster.next_update is None, "west and east may still answer"
    assert names(roster.responded) == ["north"]
    roster["west"].update = NOTICE
    assert roster.next_update is roster["west"]
    roster["west"].update, roster["west"].answered = None, True
    assert roster.next_update is None, "east may still answer"
    roster["east"].active = False
    assert roster.next_update is roster["north"], "the round waits for nobody and has its quorum"
    roster["east"].active = True
    roster.refuse(roster["east"], "no")
    assert roster.next_update is roster["north"]


def test_contributions_are_counted_by_round_and_survive_a_restart(roster: Roster) -> None:
    """A silo contributes to a round if its update is in the aggregate, also if it is refused after that."""
    join(roster, "west", "east", "north")
    roster["west"].answered = roster["east"].answered = True
    roster.refuse(roster["east"], "its evaluation")
    roster.close_round()
    roster.begin_round(final=False, weight_cap=500)
    roster["west"].answered = True
    roster.close_round()
    assert roster.counts["contributions"] == {"west": 2, "east": 1, "north": 0}
    roster.begin_round(final=False, weight_cap=500)
    roster.resume(5, {"west": 5, "east": 1}, {})
    roster["north"].answered = True
    roster.close_round()
    assert roster.counts["contributions"] == {"west": 5, "east": 1, "north": 1}


@pytest.mark.parametrize(("required", "met"), [(1, True), (2, False)])
def test_a_requirement_counts_the_rounds_before_a_restart(required: int, met: bool) -> None:
    roster = Roster(Run.checked(VALUES | {"require_silos": required}))
    roster.resume(5, {"west": 5, "east": 1, "north": 1}, {"west": 5, "east": 5, "north": 5})
    assert (roster.unmet == "") is met


def test_a_requirement_is_unmet_as_soon_as_a_silo_can_not_contribute_to_all_rounds() -> None:
    roster = Roster(Run.checked(VALUES | {"require_silos": 3}))
    join(roster, "west", "east", "north")
    assert roster.unmet == ""
    for name in ("west", "east"):
        roster[name].answered = True
    assert roster.unmet == "", "north may still answer"
    missed = "the run requires 3 silos that contribute to all rounds, and 2 still can: not north (0 of 1)"
    assert roster.close_round() == missed
    roster = Roster(Run.checked(VALUES | {"require_silos": 3}))
    roster.lose(roster["east"], "REFUSED: policy")
    assert roster.unmet.endswith("and 2 still can: not east (0 of 0); lost east (REFUSED: policy)")
