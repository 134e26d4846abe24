"""Takes secrets and values of data out of a trainer's log before it leaves the party.

Secrets are known by their form. Values of data get into a log by exceptions ("could not convert '63.0'"), by printed
arrays and by rows; so quoted texts and numbers are masked in everything but fedsilo's own lines and the places of a
traceback, and rows of numbers everywhere. It is a net below the rule that nobody logs data, not a reason to.
"""

import re

MASK = "[…]"

LONGEST_LINE = 2000
"""Characters of a line that are kept, up to the last blank: half a secret would not be known by its form."""

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
# What a trainer logs must not keep the agent's only loop busy: no part of a row can be read in two ways.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_ROW = re.compile(rf"(?<!\d){_NUMBER}(?:(?:\s*+[,;|]\s*+|\s++){_NUMBER}){{3,}}")
_QUOTED = re.compile(rf"'(?:[^'\\]|\\.)*(?:'|{CUT}\Z)|\"(?:[^\"\\]|\\.)*(?:\"|{CUT}\Z)")
_ANY_NUMBER = re.compile(rf"(?<![\w.]){_NUMBER}(?!\w)")
_OWN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) fedsilo[\w.]*: ")
_PLACE = re.compile(r"\s*(?:File \"[^\"]*\", line \d+|Traceback \(most recent call last\)|--- )")


def text(log: str) -> str:
    """The log with what may be a secret or a value of data masked, line by line."""
    return "".join(f"{line(each)}\n" for each in log.splitlines())


def line(message: str) -> str:
    """A line of a log, or a message that is not fedsilo's own, masked; a long one is cut, and says so."""
    message = _without_secrets(message)
    own = _OWN.match(message)
    start = own.end() if own else 0
    head, body = message[:start], message[start:]
    if own is None and not _PLACE.match(body):
        body = _ANY_NUMBER.sub(MASK, _QUOTED.sub(MASK, body))
    elif own and own["level"] == "ERROR":  # a workload's reason may quote a cell
        body = _QUOTED.sub(MASK, body)
    return head + _ROW.sub(MASK, body)


def reason(message: str) -> str:
    """What fedsilo, or a workload, gave as the reason of an end, masked as it is in the log, line by line."""
    return "\n".join(_ROW.sub(MASK, _QUOTED.sub(MASK, _without_secrets(each))) for each in message.splitlines())


def _without_secrets(message: str) -> str:
    if len(message) > LONGEST_LINE:
        message = f"{message[:LONGEST_LINE].rpartition(' ')[0]} {CUT}"
    for secret in _SECRETS:
        message = secret.sub(MASK, message)
    return message
