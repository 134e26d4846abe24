"""The log of a process: where it goes, its form, and its level, which ``FEDSILO_LOG_LEVEL`` sets."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fedsilo import redaction
from fedsilo.errors import SpecError

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger and message, and the run and the traceback of a record that has them.

    A traceback may quote a value of a party's data, so it is redacted.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run := getattr(record, "run", None):
            line["run"] = run
        if record.exc_info:
            line["traceback"] = redaction.text(self.formatException(record.exc_info))
        return json.dumps(line)


def set_up(*, as_json: bool = False) -> None:
    """Log to stderr, as plain text or as JSON lines.

    fedsilo's own log starts at ``FEDSILO_LOG_LEVEL`` (INFO unless it is set), everybody else's at WARNING: FedML logs
    several lines per message. Call it before other modules are imported that set up a log: it changes nothing then.

    Raises:
        SpecError: ``FEDSILO_LOG_LEVEL`` is not a level. fedsilo's own log then starts at INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("fedsilo").setLevel(logging.INFO)
    logging.getLogger("fedsilo").setLevel(level())


def level(environment: Mapping[str, str] = os.environ) -> str:
    """The level of fedsilo's own log. Raises ``SpecError`` if ``FEDSILO_LOG_LEVEL`` is not a level."""
    value = environment.get("FEDSILO_LOG_LEVEL") or "INFO"
    if value.upper() not in LEVELS:
        raise SpecError(f"FEDSILO_LOG_LEVEL: {value!r} should be one of {', '.join(LEVELS)}")
    return value.upper()
