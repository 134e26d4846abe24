"""Reads the runs of a federation from the mail bucket, for operators and for the aggregator.

Nothing that parties wrote is trusted: objects are read up to a limit, and what can't be read is left out.
"""

import io
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from fedsilo import aws, names, runtime
from fedsilo.config.run import RUN_JSON_BYTES, Run
from fedsilo.errors import NotFoundError, SpecError
from fedsilo.keys import INDEX, RunKeys, agent_key
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import AgentStatus, LedgerLine, Status

STATUS_BYTES = 2**20
"""How much of a status or a heartbeat is read."""

METRICS_BYTES = 64 * 2**20
"""How much of an aggregator's metrics is read: 500 rounds of 100 silos take a quarter of this."""

SILO_METRICS_BYTES = 8 * 2**20
"""How much of a silo's metrics is read: 500 rounds of 10 epochs take less than a quarter of this."""

SHORTEST_LINE = 64
"""Bytes of the shortest line that a party writes. It limits how many lines the bytes above may hold."""

LONGEST_LINE = 2**16
"""Bytes of the longest line that is read."""

LOG_BYTES = 4 * 2**20
"""How much of the end of a log is read."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class Reader:
    """Reads the runs of a federation.

    Every method raises ``AccessError`` where AWS denies a read, and ``HubError`` where AWS does not answer.
    """

    def __init__(self, bucket: MailBucket) -> None:
        self.bucket = bucket

    # --- runs

    def run(self, run_id: str) -> tuple[Run, bytes]:
        """Read a run.

        Returns:
            The run, and the bytes of its run.json.

        Raises:
            NotFoundError: There is no run with this id.
            SpecError: Its run.json is not valid.
        """
        key = RunKeys(run_id).run_json
        found = self.bucket.get(key, RUN_JSON_BYTES)
        if found is None:
            raise NotFoundError(
                f"no run {run_id} in federation {self.bucket.federation}; `fedsilo run list` lists the runs"
            )
        try:
            return Run.parse(found.body), found.body
        except SpecError as error:
            raise SpecError(f"{self.bucket.name}/{key}: {error}") from error

    def newest_runs(self) -> Iterator[RunIndexEntry]:
        """The runs in the index, the newest first; S3 is asked for the next page only when it is needed.

        Parties can't write to the index, so none can make up a run.
        """
        yield from filter(None, map(RunIndexEntry.parse, self.bucket.keys(INDEX)))

    # --- what parties wrote

    def statuses(self, run: Run, parties: Collection[str] | None = None) -> dict[str, Status]:
        """The status of each party, or of some; the default one for a party that has written none."""
        parties = run.parties if parties is None else parties
        return dict(zip(parties, _parallel(lambda party: self.status(run, party), parties), strict=True))

    def status(self, run: Run, party: str) -> Status:
        """The status of one party; the default one if it has written none."""
        return self._status(run.keys.status(party)) or Status()

    def aggregator_statuses(self, entries: Iterable[RunIndexEntry]) -> list[Status]:
        """The status of each run's aggregator."""
        keys = (RunKeys(entry.run).status(names.AGGREGATOR) for entry in entries)
        return [found or Status() for found in _parallel(self._status, keys)]

    def record(self, run: Run) -> Record:
        """Everything that the ledger holds of the run."""

        def one(party: str) -> tuple[Status | None, list[LedgerLine] | None, int]:
            limit = METRICS_BYTES if party == names.AGGREGATOR else SILO_METRICS_BYTES
            found = self.bucket.get(run.keys.metrics(party), limit)
            status = self._status(run.keys.status(party))
            return (status, None, 0) if found is None else (status, *_lines(party, found.body, limit // SHORTEST_LINE))

        found = dict(zip(run.parties, _parallel(one, run.parties), strict=True))
        return Record(
            run,
            {party: status for party, (status, _, _) in found.items() if status is not None},
            {party: lines for party, (_, lines, _) in found.items() if lines is not None},
            sum(left_out for _, _, left_out in found.values()),
        )

    def log(self, run: Run, party: str) -> bytes | None:
        """The end of the party's log; None if its agent has sent none, or an empty one."""
        found = self.bucket.get_end(run.keys.log(party), LOG_BYTES)
        return (found.body or None) if found else None

    def agents(self, parties: Iterable[str]) -> list[AgentStatus]:
        """The last heartbeat of each party's agent."""

        def one(party: str) -> AgentStatus:
            found = self.bucket.get(agent_key(party), STATUS_BYTES)
            if found is None:
                return AgentStatus(party=party)
            return AgentStatus.of(party, found.body, found.modified, found.age_seconds)

        return _parallel(one, parties)

    def download_model(self, run: Run, party: str, to: Path) -> int | None:
        """Write the party's model to a file. Returns its size in bytes, or None if the party has published none."""
        return self.bucket.download(run.keys.model(party), to)

    def _status(self, key: str) -> Status | None:
        found = self.bucket.get(key, STATUS_BYTES)
        return None if found is None else Status.of(found.body, found.age_seconds)


def _parallel(read: Callable[[_T], _R], keys: Iterable[_T]) -> list[_R]:
    with runtime.pool("aws", aws.POOL_CONNECTIONS) as pool:
        return list(pool.map(read, keys))


def _lines(party: str, body: bytes, most: int) -> tuple[list[LedgerLine], int]:
    """Read a party's ``metrics.jsonl``.

    Returns:
        The lines, and how many were left out. All lines after the first ``most`` count as one.
    """
    stream = io.BytesIO(body)
    read = [LedgerLine.of(party, line) if len(line) <= LONGEST_LINE else None for line in islice(stream, most)]
    lines = [line for line in read if line is not None]
    return lines, len(read) - len(lines) + bool(stream.read(1))
