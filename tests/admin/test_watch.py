"""Following a run: until when it is watched, and how it is shown on a terminal and elsewhere."""

from io import StringIO

import pytest
from rich.console import Console

from fedsilo.admin import progress, watch
from fedsilo.admin.progress import RunProgress
from fedsilo.config.run import Run
from fedsilo.errors import AuthenticationError, HubError
from fedsilo.ledger.schema import Status
from tests.support.operator_harness import SILOS, OperatorHarness, between_polls


def test_watch_waits_for_silos_at_work_but_not_for_silent_ones(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = operator.begin("run-1")
    operator.say("run-1", "aggregator", state="FINISHED")
    operator.say("run-1", "cleveland", state="FINISHING")
    reader = operator.reader
    with between_polls(lambda: None, lambda: operator.say("run-1", "cleveland", state="FINISHED")):
        last = watch.follow(reader, run, Console(file=StringIO()), poll_seconds=0.05)
    assert last.statuses["cleveland"].state == "FINISHED"
    operator.say("run-1", "cleveland", state="FINISHING")
    monkeypatch.setattr(progress, "PARTY_SILENT_SECONDS", -1.0)
    monkeypatch.setattr(watch, "GRACE_SECONDS", 1e9)
    watch.follow(reader, run, Console(file=StringIO()), poll_seconds=0.05)
    assert (
        "no heartbeat for"
        in RunProgress(run, reader.statuses(run)).note("hungary") + operator.run("run", "show").stdout
    )


def test_watch_on_a_terminal_redraws_one_table(operator: OperatorHarness) -> None:
    run = operator.begin("run-1", rounds=2)
    operator.say("run-1", "aggregator", state="TRAINING", answered=["hungary"], present=list(SILOS))
    screen = StringIO()
    reader = operator.reader
    with between_polls(lambda: None, lambda: operator.finish("run-1")):
        watch.follow(reader, run, Console(file=screen, force_terminal=True, width=150), poll_seconds=0.05)
    drawn = screen.getvalue()
    assert "not yet" in drawn
    assert "yes" in drawn
    assert "FINISHED" in drawn
    assert "\x1b[2K" in drawn  # lines are erased and drawn again


def test_watch_survives_a_short_outage_of_aws(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    run = operator.begin("run-1")
    operator.finish("run-1")
    reader = operator.reader
    answers = iter([HubError("AWS could not be reached"), None])
    real = reader.statuses

    def statuses(run: Run) -> dict[str, Status]:
        if error := next(answers, None):
            raise error
        return real(run)

    monkeypatch.setattr(reader, "statuses", statuses)
    screen = StringIO()
    assert watch.follow(reader, run, Console(file=screen), poll_seconds=0.01).succeeded
    assert "AWS could not be reached; trying again" in screen.getvalue()
    answers = iter([HubError("AWS could not be reached")] * 100)
    with pytest.raises(HubError):
        watch.follow(reader, run, Console(file=screen), poll_seconds=0.0)
    answers = iter([AuthenticationError("renew them")])
    with pytest.raises(AuthenticationError):
        watch.follow(reader, run, Console(file=screen), poll_seconds=0.0)
