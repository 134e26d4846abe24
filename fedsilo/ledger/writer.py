"""A party's part of a run's ledger: ``status.json`` and ``metrics.jsonl`` in the mail bucket.

Lines are kept in memory and written by a thread, at most once every ``INTERVAL_SECONDS``, so that learning never waits
for the ledger. A ledger that can't be written is a warning, not the end of the run.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import fedsilo
from fedsilo.config.environment import Settings
from fedsilo.config.run import Run
from fedsilo.errors import FedsiloError
from fedsilo.ledger.objects import MailBucket
from fedsilo.states import TERMINAL

INTERVAL_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
"""An idle party still writes its status this often, so that a reader can tell waiting from dead."""

log = logging.getLogger(__name__)


def now() -> str:
    """The time in UTC, to the millisecond, as the ledger stores it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ledger:
    """Collects lines and status and writes them below the party's prefix.

    A party that is started again goes on with the lines it had written before.
    """

    def __init__(self, settings: Settings, run: Run) -> None:
        self._bucket = MailBucket.of(settings, settings.role)
        self._status_key = run.keys.status(settings.party)
        self._metrics_key = run.keys.metrics(settings.party)
        self._lock = threading.Lock()
        self._lines: list[str] = self._earlier_lines()
        self._status: dict[str, Any] = {
            "run": run.id,
            "party": settings.party,
            "version": fedsilo.__version__,
            "state": "STARTING",
            "reason": "",
            "round": 0,
            "rounds": run.rounds,
            "started": now(),
        }
        self._changed = {"status", "metrics"}
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="ledger", daemon=True)
        self._thread.start()

    def status(self, **fields: Any) -> None:
        """Change fields of the status: ``state``, ``round``, ``reason`` and what else a reader may want to know."""
        known = json.loads(json.dumps(fields, default=str), parse_constant=lambda _: None)  # JSON has no NaN
        with self._lock:
            self._status.update(known)
            self._changed.add("status")
        self._wake.set()

    def metric(self, name: str, value: float, step: int, silo: str | None = None) -> None:
        """A metric of this party, or with ``silo`` the aggregator's metric of that silo."""
        self._append({"kind": "metric", "name": name, "value": value, "step": step} | ({"silo": silo} if silo else {}))

    def event(self, name: str, round_idx: int, text: str) -> None:
        """Something an operator wants to know; logged too."""
        log.info("round %d: %s: %s", round_idx, name, text)
        self._append({"kind": "event", "name": name, "round": round_idx, "text": text})

    @contextmanager
    def span(self, name: str, round_idx: int | Callable[[], int]) -> Iterator[None]:
        """Record how long the block took: start, train, wait, mail, aggregate or evaluate."""
        start = time.time()
        try:
            yield
        finally:
            closed = round_idx() if callable(round_idx) else round_idx
            self._append(
                {"kind": "span", "name": name, "start": round(start, 4), "end": round(time.time(), 4), "round": closed}
            )

    def close(self, **fields: Any) -> None:
        """Write what is left, with the last ``fields`` of the status, and when the part ended if it has."""
        self.status(**fields, **({"finished": now()} if fields.get("state") in TERMINAL else {}))
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=60)

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps({"time": round(time.time(), 4)} | line, allow_nan=False, default=str)
        with self._lock:
            self._lines.append(text)
            self._changed.add("metrics")
        self._wake.set()

    def _earlier_lines(self) -> list[str]:
        found = self._bucket.get(self._metrics_key)
        return [] if found is None else found.body.decode(errors="replace").splitlines()

    def _write_on(self) -> None:
        while True:
            self._wake.wait(HEARTBEAT_SECONDS)
            self._wake.clear()
            closing = self._closing.is_set()
            self._write()
            if closing:
                return
            # Long ledgers are written less often: each writing sends all of it.
            self._closing.wait(INTERVAL_SECONDS * (1 + sum(map(len, self._lines)) // 2**20))

    def _write(self) -> None:
        with self._lock:
            self._status["heartbeat"] = now()
            bodies = {self._status_key: json.dumps(self._status)}
            if "metrics" in self._changed:
                bodies[self._metrics_key] = "".join(f"{line}\n" for line in self._lines)
            self._changed.clear()
        for key, body in bodies.items():
            try:
                self._bucket.put(key, body.encode())
            except FedsiloError as error:
                log.warning("the ledger could not write %s: %s", key, error)
                with self._lock:
                    self._changed.add("metrics")
