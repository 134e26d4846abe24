"""How the agent survives errors."""

import logging

import pytest

from fedsilo.agent import retries
from fedsilo.errors import HubError


def fail(error: Exception) -> None:
    raise error


def test_an_error_is_logged_and_a_defect_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert retries.attempt(lambda: None)
    assert caplog.records == []
    assert not retries.attempt(lambda: fail(HubError("S3 does not answer")))
    assert not retries.attempt(lambda: fail(KeyError("x")))
    known, defect = caplog.records
    assert (known.getMessage(), known.levelno, known.exc_info) == ("S3 does not answer", logging.ERROR, None)
    assert defect.exc_info


def test_an_action_is_tried_until_it_succeeds_with_longer_and_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retries.runtime, "sleep", waits.append)

    def action() -> None:
        if len(waits) < 8:
            raise HubError("S3 does not answer")

    retries.retry(action)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
