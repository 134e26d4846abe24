"""The log of a process: where it goes, its form, and its level, which ``FEDSILO_LOG_LEVEL`` sets."""

import json
import logging
import os
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fedsilo import redaction
from fedsilo.errors import SpecError
from fedsilo.text import plain

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger and message, and the run and the traceback of a record that has them.

    Secrets are masked, because AWS's errors may quote one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": plain(record.getMessage(), redaction.LONGEST_LINE),
        }
        if run := getattr(record, "run", None):
            line["run"] = run
        if record.exc_info:
            line["traceback"] = redaction.without_secrets(self.formatException(record.exc_info))
        return json.dumps(line)


class LineFormatter(logging.Formatter):
    """One line a record, whatever its message quotes; a traceback follows it, and no line of that looks like a record.

    ``fedsilo.redaction`` recognises fedsilo's own records by this format.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record as one line."""
        return plain(super().formatMessage(record), redaction.LONGEST_LINE)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, indented."""
        return textwrap.indent(super().formatException(ei), "  ")


def set_up(*, as_json: bool = False) -> None:
    """Log to stderr, as plain text or as JSON lines.

    fedsilo's own log starts at ``FEDSILO_LOG_LEVEL`` (INFO unless it is set), everybody else's at WARNING: FedML logs
    several lines per message. Call it before other modules are imported that set up a log: it changes nothing then.

    Raises:
        SpecError: ``FEDSILO_LOG_LEVEL`` is not a level. fedsilo's own log then starts at INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("fedsilo").setLevel(logging.INFO)
    logging.getLogger("fedsilo").setLevel(level())


def level(environment: Mapping[str, str] = os.environ) -> str:
    """The level of fedsilo's own log. Raises ``SpecError`` if ``FEDSILO_LOG_LEVEL`` is not a level."""
    value = environment.get("FEDSILO_LOG_LEVEL") or "INFO"
    if value.upper() not in LEVELS:
        raise SpecError(f"FEDSILO_LOG_LEVEL: {value!r} should be one of {', '.join(LEVELS)}")
    return value.upper()
