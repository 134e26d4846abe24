"""Writes a party's part of a run's ledger: ``status.json`` and ``metrics.jsonl`` in the mail bucket.

Lines are kept in memory, and a thread writes them, at most once every ``INTERVAL_SECONDS``, so that training never
waits for the ledger. If the ledger can't be written, a warning is logged and the run goes on.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fedsilo
from fedsilo import runtime
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import STATUS_BYTES
from fedsilo.ledger.schema import LedgerLine, Status
from fedsilo.states import TERMINAL, Event, LineKind, PartyState, Span

INTERVAL_SECONDS = 1.0
"""The shortest time between two writes."""

HEARTBEAT_SECONDS = 15.0
"""An idle party still writes its status this often, so that a reader can tell waiting from dead."""

CLOSE_SECONDS = 60.0
"""How long the end of a party's part may wait until the ledger is written."""

log = logging.getLogger(__name__)


class Ledger:
    """Collects lines and the status, and writes them below the party's prefix.

    A party that is started again continues after the lines that it wrote before.
    """

    def __init__(self, settings: Settings, run: Run) -> None:
        """Read the earlier lines and start the thread that writes.

        Raises:
            AccessError: AWS denies the read of the earlier lines.
            HubError: AWS does not answer.
        """
        self._bucket = MailBucket(settings.hub_access(settings.role))
        self._party = settings.party
        self._status_key = run.keys.status(settings.party)
        self._metrics_key = run.keys.metrics(settings.party)
        self._lock = threading.Lock()
        self._lines: list[str] = self._earlier_lines()
        self._status = Status(
            run=run.id,
            party=settings.party,
            version=fedsilo.__version__,
            state=PartyState.STARTING,
            reason="",
            round=self._earlier_round(),
            rounds=run.rounds,
            started=runtime.now(),
        )
        self._lines_changed = True
        self._wake, self._closing = runtime.event(), runtime.event()
        self._thread = runtime.start_thread("ledger", self._write_on)

    def status(self, **fields: Any) -> None:
        """Change fields of the status. Raises pydantic's ``ValidationError`` for what ``Status`` does not allow."""
        with self._lock:
            self._status = self._status.changed(**fields)
        self._wake.set()

    def metric(self, name: str, value: float, step: int, silo: str | None = None, bound: float = 0.0) -> None:
        """Record a metric of this party.

        Args:
            name: The metric's name, as ``Test:AUC``.
            value: Its value. Raises ``ValueError`` if it is not finite.
            step: The epoch at a silo, the round at the aggregator.
            silo: The silo, if the aggregator records a metric of one.
            bound: How far the exact value can be from ``value``.
        """
        now = runtime.now().timestamp()
        self._append(LedgerLine(self._party, LineKind.METRIC, name, now, now, float(value), bound, step, silo))

    def event(self, name: Event, round_idx: int, text: str) -> None:
        """Record and log something that an operator wants to know."""
        log.info("round %d: %s: %s", round_idx, name, text)
        now = runtime.now().timestamp()
        self._append(LedgerLine(self._party, LineKind.EVENT, name, now, now, round=round_idx, text=text))

    @contextmanager
    def span(self, name: Span, round_idx: int | Callable[[], int]) -> Iterator[None]:
        """Record how long the block took.

        Args:
            name: What the party spends the time on.
            round_idx: The round, or a function that tells it when the block ends.
        """
        start = runtime.now().timestamp()
        try:
            yield
        finally:
            closed = round_idx() if callable(round_idx) else round_idx
            self._append(LedgerLine(self._party, LineKind.SPAN, name, start, runtime.now().timestamp(), round=closed))

    def close(self, **fields: Any) -> None:
        """Change fields of the status for the last time, and write what is left.

        A terminal state also sets ``finished``.
        """
        self.status(**fields, **({"finished": runtime.now()} if fields.get("state") in TERMINAL else {}))
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=CLOSE_SECONDS)

    def _append(self, line: LedgerLine) -> None:
        text = line.dumps()
        with self._lock:
            self._lines.append(text)
            self._lines_changed = True
        self._wake.set()

    def _earlier_lines(self) -> list[str]:
        found = self._bucket.get(self._metrics_key)
        return [] if found is None else found.body.decode(errors="replace").splitlines()

    def _earlier_round(self) -> int:
        """The round that the party had reached when it was ended; a reader never sees it go back."""
        found = self._bucket.get(self._status_key, STATUS_BYTES)
        status = None if found is None else Status.of(found.body)
        return (status.round or 0) if status else 0

    def _write_on(self) -> None:
        while True:
            self._wake.wait(HEARTBEAT_SECONDS)
            self._wake.clear()
            closing = self._closing.is_set()
            self._write()
            if closing:
                return
            # A write sends all lines, so a long ledger is written less often.
            self._closing.wait(INTERVAL_SECONDS * (1 + sum(map(len, self._lines)) // 2**20))

    def _write(self) -> None:
        with self._lock:
            self._status = self._status.changed(heartbeat=runtime.now())
            bodies = {self._status_key: self._status.dumps()}
            if self._lines_changed:
                bodies[self._metrics_key] = "".join(f"{line}\n" for line in self._lines)
            self._lines_changed = False
        for key, body in bodies.items():
            try:
                self._bucket.put(key, body.encode())
            except FedsiloError as error:
                log.warning("the ledger could not write %s: %s", key, error)
                with self._lock:
                    self._lines_changed = True
