"""Masks secrets and values of data in a trainer's log, before the log leaves the party.

Secrets are recognised by their form. Values of data get into a log through exceptions ("could not convert '63.0'"),
printed arrays and printed rows. So rows of numbers are masked everywhere; quoted texts and numbers are masked in all
lines except fedsilo's own and the lines of a traceback that name a place. This is a safety net: trainers must not log
data in the first place.
"""

import re

MASK = "[…]"

LONGEST_LINE = 2000
"""How many characters of a line are kept. The line is cut at a blank, because half a secret is not recognised."""

CUT = "…"

_SECRETS = [
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"),
    re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]+"),
    re.compile(r"(?i)(?<=\bbasic )[\w+/=-]{8,}"),
    re.compile(r"(?i)\bX-Amz-(?:Signature|Credential|Security-Token)=[^&\s]+"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),
    re.compile(
        r"(?i)(?<![\w-])"
        r"(?=[\w-]*(?:secret|token|passw(?:or)?d|api[_-]?key|access[_-]?key|credential|authorization))"
        r"[\w-]++[\"']?\s*[=:]\s*[\"']?[^\s\"',;}]+"
    ),
    re.compile(r"://[^/\s:@]+:[^/\s@]+@"),
    re.compile(r"(?<![\w+/])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*[0-9])[A-Za-z0-9+/]{40,}={0,2}(?![\w+/])"),
]
# No part of a row can be matched in two ways: a trainer's log must not keep the agent's only loop busy.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_ROW = re.compile(rf"(?<!\d){_NUMBER}(?:(?:\s*+[,;|]\s*+|\s++){_NUMBER}){{3,}}")
_QUOTED = re.compile(rf"'(?:[^'\\]|\\.)*(?:'|{CUT}\Z)|\"(?:[^\"\\]|\\.)*(?:\"|{CUT}\Z)")
_ANY_NUMBER = re.compile(rf"(?<![\w.]){_NUMBER}(?!\w)")
_OWN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) fedsilo[\w.]*: ")
_PLACE = re.compile(r"\s*(?:File \"[^\"]*\", line \d+|Traceback \(most recent call last\)|--- )")


def text(log: str) -> str:
    """Mask secrets and values of data in every line of a log."""
    return "".join(f"{line(each)}\n" for each in log.splitlines())


def line(message: str) -> str:
    """Mask secrets and values of data in a line of a log, or in another program's message.

    Returns:
        The masked line. A line that is longer than ``LONGEST_LINE`` is cut and ends with ``CUT``.
    """
    message = _without_secrets(message)
    own = _OWN.match(message)
    start = own.end() if own else 0
    head, body = message[:start], message[start:]
    if own is None and not _PLACE.match(body):
        body = _ANY_NUMBER.sub(MASK, _QUOTED.sub(MASK, body))
    elif own and own["level"] == "ERROR":  # the reason of a workload may quote a cell
        body = _QUOTED.sub(MASK, body)
    return head + _ROW.sub(MASK, body)


def reason(message: str) -> str:
    """Mask the reason that fedsilo or a workload gives for an end: as in the log, but single numbers stay."""
    return "\n".join(_ROW.sub(MASK, _QUOTED.sub(MASK, _without_secrets(each))) for each in message.splitlines())


def _without_secrets(message: str) -> str:
    if len(message) > LONGEST_LINE:
        message = f"{message[:LONGEST_LINE].rpartition(' ')[0]} {CUT}"
    for secret in _SECRETS:
        message = secret.sub(MASK, message)
    return message
