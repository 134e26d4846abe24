"""Reads the runs of a federation from the mail bucket, for operators and for the aggregator.

Nothing that parties wrote is trusted: objects are read up to a limit, and what can't be read is left out. An object
that can't be read is a problem of the party that wrote it, and does not keep a reader from the others.
"""

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from fedsilo import aws, names, runtime
from fedsilo.config.run import RUN_JSON_BYTES, Run, RunIdentity
from fedsilo.errors import AccessError, HubError, NotFoundError, SpecError, UnreadableError
from fedsilo.keys import INDEX, RunKeys, agent_key, waiting_agent_key
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import AgentStatus, LedgerLine, Status
from fedsilo.states import LineKind, PartyState
from fedsilo.text import REASON_LIMIT, plain

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
_S = TypeVar("_S")


class Reader:
    """Reads the runs of a federation.

    Every method raises ``AccessError`` where AWS denies a read, and ``HubError`` where AWS does not answer. A method
    that reads from several parties raises them only if it can read from none of them; otherwise its result says what it
    could not read.
    """

    def __init__(self, bucket: MailBucket) -> None:
        self.bucket = bucket

    # --- runs

    def run(self, run_id: str) -> tuple[Run, RunIdentity]:
        """Read a run.

        Returns:
            The run, and which run.json it was read from.

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
            return Run.parse(found.body), RunIdentity.of(run_id, found.body, found.version)
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
        found = self._statuses([run.keys.status(party) for party in parties])
        return {party: status or Status() for party, status in zip(parties, found, strict=True)}

    def status(self, run: Run, party: str) -> Status:
        """The status of one party; the default one if it has written none."""
        [found] = self._statuses([run.keys.status(party)])
        return found or Status()

    def aggregator_statuses(self, entries: Iterable[RunIndexEntry]) -> list[Status]:
        """The status of each run's aggregator."""
        found = self._statuses([RunKeys(entry.run).status(names.AGGREGATOR) for entry in entries])
        return [status or Status() for status in found]

    def record(self, run: Run) -> Record:
        """Everything that the ledger holds of the run."""

        def lines_of(party: str) -> tuple[list[LedgerLine], int] | None:
            limit = METRICS_BYTES if party == names.AGGREGATOR else SILO_METRICS_BYTES
            found = self.bucket.get(run.keys.metrics(party), limit)
            return None if found is None else _lines(run, party, found.body, limit // SHORTEST_LINE)

        statuses = self._statuses([run.keys.status(party) for party in run.parties])
        found = dict(zip(run.parties, _each(lines_of, run.parties, lambda problem: problem), strict=True))
        read = {party: lines for party, lines in found.items() if isinstance(lines, tuple)}
        return Record(
            run,
            {party: status for party, status in zip(run.parties, statuses, strict=True) if status is not None},
            {party: lines for party, (lines, _) in read.items()},
            {party: left_out for party, (_, left_out) in read.items() if left_out},
            {party: problem for party, problem in found.items() if isinstance(problem, str)},
        )

    def log(self, run: Run, party: str) -> bytes | None:
        """The end of the party's log; None if its agent has sent none, or an empty one."""
        found = self.bucket.get_end(run.keys.log(party), LOG_BYTES)
        return (found.body or None) if found else None

    def agents(self, parties: Iterable[str]) -> list[AgentStatus]:
        """The last heartbeat of each party's agent, and of a second one that waits."""

        def read(party: str, key: str) -> AgentStatus:
            found = self.bucket.get(key, STATUS_BYTES)
            if found is None:
                return AgentStatus(party=party)
            return AgentStatus.of(party, found.body, found.modified, found.age_seconds)

        def one(party: str) -> AgentStatus:
            agent, second = read(party, agent_key(party)), read(party, waiting_agent_key(party))
            waits = not second.silent and second.instance != agent.instance
            return agent.model_copy(update={"second": second if waits else None})

        parties = list(parties)
        found = _each(one, parties, lambda problem: problem)
        return [
            AgentStatus(party=party, unreadable=agent) if isinstance(agent, str) else agent
            for party, agent in zip(parties, found, strict=True)
        ]

    def download_model(self, run: Run, party: str, to: Path) -> int | None:
        """Write the party's model to a file. Returns its size in bytes, or None if the party has published none."""
        return self.bucket.download(run.keys.model(party), to)

    def _statuses(self, keys: Sequence[str]) -> list[Status | None]:
        def one(key: str) -> Status | None:
            found = self.bucket.get(key, STATUS_BYTES)
            return None if found is None else Status.of(found.body, found.age_seconds)

        return _each(one, keys, lambda problem: Status(state=PartyState.UNKNOWN, unreadable=problem))


def _each(read: Callable[[_T], _R], keys: Sequence[_T], unreadable: Callable[[str], _S]) -> list[_R | _S]:
    """Read several parties' objects at the same time.

    Args:
        read: Reads one object.
        keys: What ``read`` is called with.
        unreadable: Makes the result of an object that can't be read, of the reason.

    Raises:
        AccessError, HubError: No object can be read, and not because of how it is stored.
    """

    def one(key: _T) -> _R | AccessError | HubError | UnreadableError:
        try:
            return read(key)
        except (AccessError, HubError, UnreadableError) as error:
            return error

    with runtime.pool("aws", aws.POOL_CONNECTIONS) as pool:
        found = list(pool.map(one, keys))
    errors = [each for each in found if isinstance(each, AccessError | HubError)]
    if errors and len(errors) == len(found):
        raise errors[0]
    failed = (AccessError, HubError, UnreadableError)
    return [unreadable(plain(str(each), REASON_LIMIT)) if isinstance(each, failed) else each for each in found]


def _lines(run: Run, party: str, body: bytes, most: int) -> tuple[list[LedgerLine], int]:
    """Read a party's ``metrics.jsonl``.

    Returns:
        The lines, and how many were left out. All lines after the first ``most`` count as one.
    """
    stream = io.BytesIO(body)
    read = [LedgerLine.of(party, line) if len(line) <= LONGEST_LINE else None for line in islice(stream, most)]
    lines = [line for line in read if line is not None and _can_be_of(run, line)]
    return lines, len(read) - len(lines) + bool(stream.read(1))


def _can_be_of(run: Run, line: LedgerLine) -> bool:
    """Whether the line names a silo and a round that the run has. The metrics of a silo count in epochs.

    Only the aggregator records events: those of a silo would be about others.
    """
    if line.kind is LineKind.EVENT and line.party != names.AGGREGATOR:
        return False
    own_metric = line.kind is LineKind.METRIC and line.party != names.AGGREGATOR
    if line.silo is not None and (own_metric or line.silo not in run.silos):
        return False
    return own_metric or line.round is None or line.round <= run.rounds
