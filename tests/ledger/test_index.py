"""The index of runs: an entry is its key, and the newest run comes first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo.config.run import plan
from fedsilo.ledger.index import RunIndexEntry

RUN = plan("heart", "heart_disease", ["cleveland", "hungary"], overrides={}, run_id="heart-20261122-081500-3f")
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2286, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS)
def test_an_entry_is_read_from_its_key_and_the_newest_run_comes_first(one: datetime, other: datetime) -> None:
    run = RUN.model_copy(update={"created": one})
    entry = RunIndexEntry.of(run)
    assert RunIndexEntry.parse(entry.key) == replace(
        entry, created=entry.created.replace(microsecond=one.microsecond // 1000 * 1000)
    )
    assert len(entry.key.encode()) < 1024
    if one - other > timedelta(milliseconds=1):
        assert entry.key < replace(entry, run="another", created=other).key


@pytest.mark.parametrize("key", ["index/x", "index/0000000000000/../heart_disease/3/50", "runs/x/run.json", ""])
def test_other_keys_are_no_entries(key: str) -> None:
    assert RunIndexEntry.parse(key) is None
