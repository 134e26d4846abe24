"""A round of a run that asks a fraction of the silos draws them by seed and round."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from fedsilo.config.run import Run
from fedsilo.training.roster import Roster
from fedsilo.training.sampling import draw

SILOS = [f"silo-{number}" for number in range(1, 21)]


def run_of(**choices: Any) -> Run:
    values: dict[str, Any] = {
        "run": "heart-1", "federation": "heart", "workload": "heart_disease", "silos": SILOS, "rounds": 3,
        "hyperparameters": {}, "seed": 1, "quorum": 2, "fraction": 0.2, "deadline_seconds": 1.0, "join_seconds": 1.0,
        "created": datetime.now(UTC),
    }  # fmt: skip
    return Run.checked(values | choices)


def joined(run: Run) -> Roster:
    roster = Roster(run)
    for silo in roster:
        roster.welcome(silo)
    return roster


def test_seed_and_round_decide_which_silos_are_asked() -> None:
    run = run_of()
    silos = joined(run).remaining
    drawn = [draw(run, round_idx, silos) for round_idx in range(300)]
    assert drawn == [draw(run, round_idx, joined(run).remaining) for round_idx in range(300)]
    assert draw(run_of(seed=2), 0, silos) != drawn[0] != drawn[1]
    assert {len(set(names or [])) for names in drawn} == {4}
    times = Counter(name for names in drawn for name in names or [])
    assert min(times[name] for name in SILOS) > 30, "each is drawn 60 times on average"


def test_a_run_of_all_silos_draws_none() -> None:
    run = run_of(fraction=1)
    assert draw(run, 0, joined(run).remaining) is None


def test_a_round_asks_as_many_as_the_quorum_of_the_silos_that_it_waits_for() -> None:
    run = run_of(quorum=5, fraction=0.1)
    roster = joined(run)
    assert len(draw(run, 0, roster.remaining) or []) == 5
    for name in SILOS[6:]:
        roster.miss(roster[name])
    asked = draw(run, 0, roster.remaining) or []
    assert sum(roster[name].active for name in asked) == 5
    assert any(roster[name].late for name in asked), "only an update shows that a late silo is back"
    for name in SILOS[1:6]:
        roster.miss(roster[name])
    assert SILOS[0] in (draw(run, 0, roster.remaining) or [])
