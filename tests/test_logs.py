"""The log of a process: its level and its two forms."""

import json
import logging
import subprocess
import sys

import pytest

from fedsilo import logs
from fedsilo.errors import SpecError

SCRIPT = """
import logging
from fedsilo import logs
logs.set_up(as_json={as_json})
log = logging.getLogger("fedsilo.agent")
log.debug("hidden")
log.info("accepted", extra={{"run": "heart-1"}})
logging.getLogger("fedml").info("hidden")
logging.getLogger("fedml").warning("shown")
try:
    float("63.5y")
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize(
    ("value", "level"), [("debug", "DEBUG"), ("Info", "INFO"), ("", "INFO"), (None, "INFO"), ("10", ""), ("loud", "")]
)
def test_level_is_read_in_any_case_and_an_unknown_one_is_an_error(value: str | None, level: str) -> None:
    environment = {} if value is None else {"FEDSILO_LOG_LEVEL": value}
    if level:
        assert logs.level(environment) == level
    else:
        with pytest.raises(SpecError, match=f"^FEDSILO_LOG_LEVEL: '{value}' should be one of DEBUG, INFO, WARNING"):
            logs.level(environment)


def written(*, as_json: bool) -> list[str]:
    """What a process logs to stderr."""
    command = [sys.executable, "-c", SCRIPT.format(as_json=as_json)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr.splitlines()


def test_text_has_one_line_for_each_record_and_other_loggers_start_at_warning() -> None:
    accepted, shown, failed, *traceback = written(as_json=False)
    assert accepted.endswith(" INFO fedsilo.agent: accepted")
    assert shown.endswith(" WARNING fedml: shown")
    assert failed.endswith(" ERROR fedsilo.agent: failed")
    assert "63.5y" in traceback[-1], "a trainer's log is redacted when the agent uploads it"


def test_json_has_one_object_for_each_record_and_no_value_of_data() -> None:
    accepted, shown, failed = [json.loads(line) for line in written(as_json=True)]
    assert accepted.pop("time").endswith("+00:00")
    assert accepted == {"level": "INFO", "logger": "fedsilo.agent", "message": "accepted", "run": "heart-1"}
    assert (shown["logger"], "run" in shown) == ("fedml", False)
    assert "ValueError" in failed["traceback"]
    assert "63.5y" not in failed["traceback"]


def test_unknown_level_is_an_error_and_the_log_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FEDSILO_LOG_LEVEL", "loud")
    with pytest.raises(SpecError, match="loud"):
        logs.set_up()
    logging.getLogger("fedsilo.training").info("still shown")
    assert "still shown" in caplog.text
