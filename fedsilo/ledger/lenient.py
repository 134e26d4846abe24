"""Reading values that another party wrote: each is of the expected type and size, or None, and nothing raises."""

import json
import math
from datetime import UTC, datetime
from typing import Any

from fedsilo.text import REASON_LIMIT, plain

MEMBERS_LIMIT = 1000
"""Entries of a list or an object that are read: no run has more silos."""

LARGEST_NUMBER = 1e15
"""Numbers from here on are not shown, and so not read."""

NAME_LIMIT = 40
"""Characters of a name: of a silo, a run, a version."""

KEY_LIMIT = 80
"""Characters of a key, and of a parameter's value."""


def json_object(body: str | bytes | None) -> dict[str, Any]:
    """The JSON object in ``body``; an empty one if it holds anything else."""
    if body is None:
        return {}
    try:
        value = json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return fields(value)


def fields(value: object) -> dict[str, Any]:
    """The value if it is a JSON object; else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """The value if it is a number smaller than ``LARGEST_NUMBER``; else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST_NUMBER < value < LARGEST_NUMBER:
        return float(value)
    return None


def count(value: object) -> int | None:
    """The value, rounded down, if it is a number that is not negative; else None."""
    found = number(value)
    return None if found is None or found < 0 else math.floor(found)


def moment(value: object) -> datetime | None:
    """The time in UTC that an ISO 8601 text names, which counts as UTC if it names no zone; else None."""
    try:
        time = datetime.fromisoformat(str(value)[:40])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def utc(time: datetime | None) -> str | None:
    """The time as fedsilo stores it: ``2026-11-22T08:15:00.000Z``."""
    if time is None:
        return None
    try:
        return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:  # the first or last hours of the calendar
        return None


def names(value: object) -> tuple[str, ...]:
    """The members of a list as names; no names if the value is anything else."""
    return tuple(plain(name, NAME_LIMIT) for name in value[:MEMBERS_LIMIT]) if isinstance(value, list) else ()


def mapping(value: object) -> list[tuple[str, Any]]:
    """The entries of a JSON object, with their keys as names; no entries if the value is anything else."""
    return [(plain(key, KEY_LIMIT), item) for key, item in list(fields(value).items())[:MEMBERS_LIMIT]]


def texts(value: object) -> dict[str, str]:
    """The entries of a JSON object as texts."""
    return {key: plain(item, REASON_LIMIT) for key, item in mapping(value)}


def metrics(value: object) -> dict[str, float]:
    """The entries of a JSON object that are numbers, without those that the metric of that name can't have."""
    found = {key: number(item) for key, item in mapping(value)}
    return {key: item for key, item in found.items() if item is not None and is_possible(key, item)}


def counts(value: object) -> dict[str, int]:
    """The entries of a JSON object that are counts."""
    found = {key: count(item) for key, item in mapping(value)}
    return {key: item for key, item in found.items() if item is not None}


def is_possible(metric: str, value: float) -> bool:
    """Whether the metric can have the value: an AUC and an accuracy are from 0 to 1."""
    return not metric.endswith((":AUC", ":Accuracy")) or 0 <= value <= 1


def scalars(value: object) -> dict[str, int | float | str]:
    """The entries of a JSON object: numbers as they are, everything else as text."""
    return {key: item if number(item) is not None else plain(item, KEY_LIMIT) for key, item in mapping(value)}
