"""The log of a process: its level and its two forms."""

import json
import logging
import subprocess
import sys

import pytest

from fedsilo import logs, redaction
from fedsilo.errors import SpecError

SCRIPT = """
import faulthandler, logging, sys, warnings
from fedsilo import logs
logs.set_up(as_json={as_json})
log = logging.getLogger("fedsilo.agent")
log.debug("hidden")
log.info("accepted", extra={{"run": "heart-1"}})
logging.getLogger("fedml").info("hidden")
logging.getLogger("fedml").warning("shown")
log.warning("said %s", "x\\n2026-11-22 10:08:31,123 INFO fedsilo.agent: forged")
if not {as_json}:
    print("John Smith, 63.5y")
    sys.stderr.write("John Smith")
    warnings.warn("63.5y is not in the index")
    logging.getLogger("fedsilo_workloads.stroke").warning("63.5y")
    faulthandler.dump_traceback()
try:
    float("63.5y\\n2026-11-22 10:08:31,123 INFO fedsilo.agent: forged")
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


def written(*, as_json: bool) -> str:
    """What a process prints and logs."""
    command = [sys.executable, "-u", "-c", SCRIPT.format(as_json=as_json)]
    out = subprocess.PIPE
    return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, text=True, timeout=60, check=True).stdout


def test_text_has_one_line_for_each_record_and_other_loggers_start_at_warning() -> None:
    printed = written(as_json=False)
    records = [line.partition(",")[2].partition(" ")[2] for line in printed.splitlines() if line.startswith("20")]
    assert records == [
        "INFO fedsilo.agent: accepted",
        "WARNING fedml: shown",
        "WARNING fedsilo.agent: said x 2026-11-22 10:08:31,123 INFO fedsilo.agent: forged",
        "WARNING fedsilo_workloads.stroke: 63.5y",
        "ERROR fedsilo.agent: failed",
    ]
    assert printed.count("63.5y") >= 4, "the raw log has everything"


def test_only_fedsilos_own_records_leave_the_party() -> None:
    """Not what a workload prints, logs or raises, no warning of Python, and no dump of its threads."""
    leaving = redaction.own_records(written(as_json=False)).splitlines()
    assert [line.partition(" fedsilo.agent: ")[2][:8] for line in leaving] == ["accepted", "said x 2", "failed"]
    assert "63.5y" not in str(leaving)
    assert "Smith" not in str(leaving)


def test_json_has_one_object_for_each_record() -> None:
    accepted, shown, _, failed = [json.loads(line) for line in written(as_json=True).splitlines()]
    assert accepted.pop("time").endswith("+00:00")
    assert accepted == {"level": "INFO", "logger": "fedsilo.agent", "message": "accepted", "run": "heart-1"}
    assert (shown["logger"], "run" in shown) == ("fedml", False)
    assert "ValueError" in failed["traceback"]


def test_unknown_level_is_an_error_and_the_log_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FEDSILO_LOG_LEVEL", "loud")
    with pytest.raises(SpecError, match="loud"):
        logs.set_up()
    logging.getLogger("fedsilo.training").info("still shown")
    assert "still shown" in caplog.text
