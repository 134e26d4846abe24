"""Values as people read them: the same words and the same digits in a terminal, a log and a report."""

from collections.abc import Sequence

NONE = "-"
"""Stands for a value that does not exist."""

TEXT_LIMIT = 1000
"""Characters of a reason that are shown."""

LONGEST = 2000
"""Characters after which ``clip`` cuts a text, unless told otherwise."""


def plain(value: object, limit: int = TEXT_LIMIT) -> str:
    """The value as one line of printable text: no escape sequence, no change of direction, no lone surrogate."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    shown = "".join(each if each.isprintable() else " " if each == "\n" else "�" for each in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def clip(text: str, length: int = LONGEST) -> str:
    """``text``, with an ellipsis in place of what is longer than ``length``."""
    return text if len(text) <= length else text[: length - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds for a reader: ``40 ms``, ``0.4 s``, ``41.2 s``, ``9 min 5 s``, ``1 h 12 min``."""
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    big, small = (f"{minutes} min", f"{rest} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60} min")
    return big if small.startswith("0 ") else f"{big} {small}"


def ago(seconds: float | None) -> str:
    """How long ago something was."""
    return "never" if seconds is None else f"{duration(float(round(seconds)))} ago"


def score(value: float | None) -> str:
    """A metric to three digits."""
    return NONE if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def members(names: Sequence[str], most: int = 5) -> str:
    """Names with commas, those beyond ``most`` as their number."""
    rest = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *rest])
