"""The index of runs in the mail bucket: a key per run, so that a list of runs reads no object."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fedsilo.config.run import Run
from fedsilo.keys import INDEX, RUN_PATTERN
from fedsilo.workload import registry

_KEY = re.compile(
    rf"{INDEX}(?P<left>[0-9]{{13}})/(?P<run>{RUN_PATTERN})/(?P<workload>{registry.NAME_PATTERN})/"
    r"(?P<silos>[0-9]{1,4})/(?P<rounds>[0-9]{1,6})"
)
_EPOCH = datetime.fromtimestamp(0, UTC)
_LAST_MILLISECOND = 10**13 - 1
"""Since the epoch; in the year 2286."""


@dataclass(frozen=True)
class RunIndexEntry:
    """What a list of runs shows of a run. It is stored as the key of an empty object: S3 lists a thousand keys a call.

    S3 lists in the order of keys. So a key begins with the milliseconds that are left until the last one of 13 digits:
    the newest run comes first.
    """

    run: str
    """The run's id."""
    created: datetime
    workload: str
    silos: int
    """The number of silos."""
    rounds: int

    @classmethod
    def of(cls, run: Run) -> "RunIndexEntry":
        """The entry of a run."""
        return cls(run.id, run.created, run.workload, len(run.silos), run.rounds)

    @classmethod
    def parse(cls, key: str) -> "RunIndexEntry | None":
        """Read a key; None if it is not the key of an entry."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        created = _EPOCH + timedelta(milliseconds=_LAST_MILLISECOND - int(found["left"]))
        return cls(found["run"], created, found["workload"], int(found["silos"]), int(found["rounds"]))

    @property
    def key(self) -> str:
        """The key in the mail bucket, below ``index/``."""
        left = _LAST_MILLISECOND - (self.created - _EPOCH) // timedelta(milliseconds=1)
        return f"{INDEX}{left:013d}/{self.run}/{self.workload}/{self.silos}/{self.rounds}"
