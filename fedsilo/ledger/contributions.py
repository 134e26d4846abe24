"""Who contributed to a run. A silo has contributed to a round if its update is in the round's aggregate."""

from collections.abc import Mapping

from fedsilo.config.run import Run
from fedsilo.ledger.schema import Status
from fedsilo.text import members


def contributions_of(run: Run, aggregator: Status) -> dict[str, int]:
    """To how many rounds each silo of the run has contributed, as the aggregator's status says."""
    return {silo: min(aggregator.contributions.get(silo, 0), _closed(run, aggregator)) for silo in run.silos}


def contributions_in_words(run: Run, aggregator: Status) -> str:
    """Who has contributed to how many of the closed rounds; empty without one, or if the aggregator does not say it.

    For example ``5 of 7 silos contributed to all 50 rounds; hungary to 31, basel to none``; where a round asks only a
    fraction of the silos, ``93 of 95 silos contributed each time they were asked; hungary 3 of 5 times``.
    """
    closed = _closed(run, aggregator)
    if not closed or not aggregator.contributions:
        return ""
    counts = contributions_of(run, aggregator)
    if run.fraction < 1:
        return _sampled_in_words(counts, aggregator)
    others = [f"{silo} to {count or 'none'}" for silo, count in counts.items() if count < closed]
    rounds = f"all {closed} rounds" if closed > 1 else "the first round"
    words = f"{len(counts) - len(others)} of {len(counts)} silos contributed to {rounds}"
    return f"{words}; {members(others)}" if others else words


def _sampled_in_words(counts: Mapping[str, int], aggregator: Status) -> str:
    asked = {silo: times for silo, times in aggregator.asked_rounds.items() if silo in counts and times}
    others = [f"{silo} {counts[silo]} of {times} times" for silo, times in asked.items() if counts[silo] < times]
    words = f"{len(asked) - len(others)} of {len(asked)} silos contributed each time they were asked"
    return f"{words}; {members(others)}" if others else words


def _closed(run: Run, aggregator: Status) -> int:
    """How many rounds have been closed: the number of the open round, counted from 0."""
    return min(aggregator.round or 0, run.rounds)
