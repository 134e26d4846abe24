"""What parties wrote into the ledger, made safe to show: every field of the type and size that a reader expects.

A party may write anything below its own prefix. Nothing here raises for it, and no text that leaves this module holds
a character that a terminal acts on.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fedsilo.states import TERMINAL, AgentState, PartyState
from fedsilo.text import plain

_WRITTEN_STATES = tuple(set(PartyState) - {PartyState.REQUESTED, PartyState.UNKNOWN})

LINE_TEXT_LIMIT = 300
"""Characters of an event's text that are shown."""

MAX_TIME = 1e10
"""The Unix time (in the year 2286) after which no time is believed."""

MEMBERS_LIMIT = 1000
"""Entries of a list or a mapping that are read: no run has more silos."""


def json_object(body: str | bytes | None) -> dict[str, Any]:
    """The JSON object in ``body``; empty where it is none."""
    if body is None:
        return {}
    try:
        value = json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return fields(value)


def fields(value: object) -> dict[str, Any]:
    """The value if it is an object of JSON, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """The value if it is a number that can be shown, else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e15 < value < 1e15:
        return float(value)
    return None


def count(value: object) -> int | None:
    """The value if it is a number from 0 on, as an integer, else None."""
    found = number(value)
    return None if found is None or found < 0 else math.floor(found)


def moment(value: object) -> datetime | None:
    """The time of an ISO 8601 text, UTC where it names no zone; None where it is none that can be."""
    try:
        time = datetime.fromisoformat(str(value)[:40])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def utc(time: datetime | None) -> str | None:
    """The time as fedsilo stores it."""
    if time is None:
        return None
    try:
        return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:  # the first or last hours of the calendar
        return None


def _names(value: object) -> tuple[str, ...]:
    return tuple(plain(name, 40) for name in value[:MEMBERS_LIMIT]) if isinstance(value, list) else ()


def _mapping(value: object) -> list[tuple[str, Any]]:
    return [(plain(key, 80), item) for key, item in list(fields(value).items())[:MEMBERS_LIMIT]]


@dataclass(frozen=True)
class Status:
    """A party's ``status.json``. ``answered``, ``present``, ``refused`` and ``metrics`` are the aggregator's."""

    state: str = PartyState.REQUESTED
    reason: str = ""
    round: int | None = None
    version: str = ""
    samples: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    tracking_failures: int = 0
    started: datetime | None = None
    heartbeat: datetime | None = None
    finished: datetime | None = None
    silent_seconds: float | None = None
    """How long ago the status was written, by the clock of S3; None where there is none."""
    experiment: str = ""
    answered: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, body: bytes | None, silent_seconds: float | None = None) -> "Status":
        """The status in ``body``; None where the party has not written one."""
        if body is None:
            return cls()
        raw = json_object(body)
        numbers = [(name, number(value)) for name, value in _mapping(raw.get("metrics"))]
        return cls(
            state=raw["state"] if raw.get("state") in _WRITTEN_STATES else PartyState.UNKNOWN,
            reason=plain(raw.get("reason")),
            round=count(raw.get("round")),
            version=plain(raw.get("version"), 40),
            samples=count(fields(raw.get("parameters")).get("train data size")),
            parameters={name: plain(value, 80) for name, value in _mapping(raw.get("parameters"))},
            tracking_failures=count(raw.get("tracking_failures")) or 0,
            started=moment(raw.get("started")),
            heartbeat=moment(raw.get("heartbeat")),
            finished=moment(raw.get("finished")),
            silent_seconds=silent_seconds,
            experiment=plain(raw.get("experiment"), 120),
            answered=_names(raw.get("answered")),
            present=_names(raw.get("present")),
            refused={name: plain(reason) for name, reason in _mapping(raw.get("refused"))},
            metrics={name: value for name, value in numbers if value is not None},
        )

    @property
    def over(self) -> bool:
        return self.state in TERMINAL

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "state": self.state,
            "reason": self.reason,
            "round": self.round,
            "samples": self.samples,
            "version": self.version,
            "started": utc(self.started),
            "finished": utc(self.finished),
            "silent_seconds": self.silent_seconds,
        }


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A line of a party's ``metrics.jsonl``. Times are Unix times; a metric's step is its ``round``.

    Only a metric's ``value`` and a span's ``start`` mean anything.
    """

    party: str
    kind: str
    name: str
    start: float
    time: float
    value: float
    round: int | None
    silo: str | None
    text: str

    @classmethod
    def of(cls, party: str, body: bytes) -> "LedgerLine | None":
        """The line, or None where it lacks what its kind must have, or can't be believed."""
        raw = json_object(body)
        kind, name = raw.get("kind"), plain(raw.get("name"), 80)
        time = number(raw.get("end" if kind == "span" else "time"))
        start = number(raw.get("start")) if kind == "span" else time
        value = number(raw.get("value")) if kind == "metric" else 0.0
        if kind not in ("metric", "span", "event") or time is None or start is None or value is None:
            return None
        if not 0 <= start <= time <= MAX_TIME or (name.endswith((":AUC", ":Accuracy")) and not 0 <= value <= 1):
            return None
        silo = None if raw.get("silo") is None else plain(raw["silo"], 40)
        text = plain(raw.get("text"), LINE_TEXT_LIMIT)
        return cls(party, kind, name, start, time, value, count(raw.get("round", raw.get("step"))), silo, text)


@dataclass(frozen=True)
class AgentStatus:
    """A party's ``agents/<party>.json``: what its agent last said of itself. ``seen`` is by the clock of S3."""

    party: str
    state: str = ""
    """``IDLE`` or ``BUSY``; empty where no agent has ever been there."""
    run: str = ""
    queued: tuple[str, ...] = ()
    version: str = ""
    launcher: str = ""
    started: datetime | None = None
    seen: datetime | None = None
    silent_seconds: float | None = None

    @classmethod
    def of(cls, party: str, body: bytes, seen: datetime, silent_seconds: float) -> "AgentStatus":
        raw = json_object(body)
        return cls(
            party=party,
            state=raw["state"] if raw.get("state") in ("IDLE", "BUSY") else AgentState.UNKNOWN,
            run=plain(raw.get("run"), 40),
            queued=_names(raw.get("queued")),
            version=plain(raw.get("version"), 40),
            launcher=plain(raw.get("launcher"), 40),
            started=moment(raw.get("started")),
            seen=seen,
            silent_seconds=silent_seconds,
        )

    @property
    def silent(self) -> bool:
        """Whether the agent has missed three of the words that it gives once a minute."""
        return self.silent_seconds is None or self.silent_seconds > AGENT_SILENT_SECONDS

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "party": self.party,
            "state": self.state or None,
            "run": self.run or None,
            "queued": list(self.queued),
            "version": self.version or None,
            "launcher": self.launcher or None,
            "started": utc(self.started),
            "seen": utc(self.seen),
            "silent_seconds": self.silent_seconds,
            "silent": self.silent,
        }


AGENT_SILENT_SECONDS = 180.0
"""How long an agent may say nothing before it counts as away; it says something once a minute."""
