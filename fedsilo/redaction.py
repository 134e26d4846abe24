"""What of a trainer's log leaves the party: the records of fedsilo's own loggers, without secrets.

A workload may print or log a patient's value, and so may the libraries that it uses, a traceback, or a warning of
Python. All of this stays in the raw log, which the party's owner can read. fedsilo's own messages hold no value of the
data. That they hold no secret either is made sure of here, because they quote AWS's errors.
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
# The format of fedsilo.logs; and the heading that an agent puts above the log of each try.
_OWN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ fedsilo(?:\.[\w.]+)?: |--- pod trainer-[a-z0-9-]+$")


def own_records(log: str) -> str:
    """The lines of a log that fedsilo's own loggers wrote, without secrets."""
    return "".join(f"{without_secrets(line)}\n" for line in log.split("\n") if _OWN.match(line))


def without_secrets(text: str) -> str:
    """Mask secrets in each line of a text. A line longer than ``LONGEST_LINE`` is cut and ends with ``CUT``."""
    return "\n".join(map(_masked, text.split("\n")))


def _masked(line: str) -> str:
    if len(line) > LONGEST_LINE:
        line = f"{line[:LONGEST_LINE].rpartition(' ')[0]} {CUT}"
    for secret in _SECRETS:
        line = secret.sub(MASK, line)
    return line
