"""Formats of values for people, the same in a terminal, a log and a report."""

from collections.abc import Sequence
from decimal import ROUND_UP, Decimal

NONE = "-"
"""The text for a value that does not exist."""

TEXT_LIMIT = 1000
"""How many characters of a reason are shown."""

REASON_LIMIT = 200
"""How many characters of another party's reason are part of a message."""

QUOTE_LIMIT = 60
"""How many characters of a name or a value that another party chose are part of a message."""

LONGEST = 2000
"""How many characters ``clip`` keeps by default."""


def plain(value: object, limit: int = TEXT_LIMIT) -> str:
    """One line of text that is safe to show, whatever another party wrote.

    Args:
        value: A text, or any value; None is an empty text.
        limit: How many characters are kept.

    Returns:
        The text without escape sequences, changes of writing direction and lone surrogates.
    """
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if len(text) <= limit and text.isprintable():
        return text
    shown = "".join(each if each.isprintable() else " " if each == "\n" else "�" for each in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def clip(text: str, length: int = LONGEST) -> str:
    """The text, cut to ``length`` characters; a text that was cut ends with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def duration(seconds: float) -> str:
    """A duration, such as ``40 ms``, ``0.4 s``, ``41.2 s``, ``9 min 5 s`` or ``1 h 12 min``."""
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    big, small = (f"{minutes} min", f"{rest} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60} min")
    return big if small.startswith("0 ") else f"{big} {small}"


def ago(seconds: float | None) -> str:
    """How long ago something was, such as ``9 min 5 s ago``; ``never`` for None."""
    return "never" if seconds is None else f"{duration(float(round(seconds)))} ago"


def score(value: float | None, bound: float = 0.0) -> str:
    """A metric with three digits, such as ``0.878`` or ``0.878 ± 0.002``; ``NONE`` for None.

    Args:
        value: The metric.
        bound: How far its exact value can be from ``value``, shown rounded up to one digit; 0 is not shown.
    """
    if value is None:
        return NONE
    shown = f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
    return f"{shown} ± {_rounded_up(bound)}" if bound > 0 else shown


def _rounded_up(bound: float) -> str:
    exact = Decimal(str(max(bound, 1e-4)))  # a smaller one says nothing beside three digits
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted()), ROUND_UP)
    return f"{rounded.normalize():f}"


def members(names: Sequence[str], most: int = 5) -> str:
    """The names with commas; if there are more than ``most``, the number of the others instead of their names."""
    rest = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *rest])
