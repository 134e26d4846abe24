"""``fedsilo run watch``, ``run start --watch`` and ``run logs -f``: what they print while a run goes on."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from fedsilo.cli import run as run_commands
from tests.support.operator_harness import SILOS, OperatorHarness, between_polls


def test_watch_shows_a_run_until_it_has_finished(operator: OperatorHarness) -> None:
    operator.begin("run-1", rounds=2)
    everyone = list(SILOS)
    with between_polls(
        lambda: None,
        lambda: operator.say("run-1", "aggregator", state="WAITING"),
        lambda: operator.say("run-1", "aggregator", state="TRAINING", round=1, answered=["hungary"], present=everyone),
        lambda: operator.say("run-1", "hungary", state="REFUSED", reason="policy.hours: [red]it is 3, not 8 to 17"),
        lambda: operator.finish("run-1"),
    ):
        result = operator.run("run", "watch")
    assert result.exit_code == 0, result.output
    assert "REQUESTED  round 0/2  waiting for the aggregator's agent to answer" in result.stdout
    assert "WAITING  round 0/2  waiting for silos to come up" in result.stdout
    assert "TRAINING  round 1/2  1 of 3 answered  waiting for cleveland, long-beach" in result.stdout
    assert "hungary: REFUSED: policy.hours: [red]it is 3, not 8 to 17" in result.stdout
    assert "run-1: FINISHED  round 2/2  AUC 0.875" in result.stdout


@pytest.mark.parametrize("state", ["FAILED", "REFUSED", "ABORTED"])
def test_watch_of_a_run_that_fails_gives_the_reason_and_exits_with_3(operator: OperatorHarness, state: str) -> None:
    operator.begin("run-1")
    operator.say("run-1", "aggregator", state=state, reason="because of [this]")
    result = operator.run("run", "watch", "run-1")
    assert result.exit_code == 3
    assert f"error: run run-1: {state}: because of [this]" in result.stderr


def test_ctrl_c_ends_the_watching_but_not_the_run(operator: OperatorHarness) -> None:
    run_id = operator.start()
    command = [sys.executable, "-m", "fedsilo", "run", "watch", run_id, "--federation", str(operator.file)]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert "REQUESTED" in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    out, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert f"the run goes on: fedsilo run watch {run_id}" in out
    assert "Traceback" not in err
    assert all(request["action"] == "start" for request in operator.requests("aggregator"))


def test_start_can_watch_the_run(operator: OperatorHarness) -> None:
    with between_polls(lambda: None, lambda: operator.say("both", "aggregator", state="FAILED", reason="no quorum")):
        result = operator.run("run", "start", "heart_disease", "--run-id", "both", "--watch")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == "both"
    assert "FAILED: no quorum" in result.stderr


def test_logs_are_printed_without_control_characters(operator: OperatorHarness) -> None:
    operator.begin("run-1")
    operator.put("runs/run-1/hungary/log.txt", b"one\n[bold]two[/]\x1b]0;owned\x07\n\xff\tthree\n\r\x9b2Jfour :smile:")
    shown = operator.run("run", "logs", "hungary").stdout
    assert shown.splitlines() == ["one", "[bold]two[/]�]0;owned�", "�   three", "", "�2Jfour :smile:"]


def test_logs_are_followed_until_the_party_has_ended(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_commands, "SETTLE_SECONDS", 1e9)
    operator.begin("run-1")

    def say(text: str) -> Callable[[], None]:
        return lambda: operator.put("runs/run-1/hungary/log.txt", text)

    def settle() -> None:
        say("line three\nline four\nlast words\n")()  # uploaded after the agent has noticed the end
        monkeypatch.setattr(run_commands, "SETTLE_SECONDS", 0.0)

    with between_polls(
        lambda: None,
        say(""),
        lambda: None,
        say("line one\nline tw"),
        say("line one\nline two\nline three\n"),
        say("line two\nline three\nline four\n"),  # the beginning was cut off
        lambda: operator.say("run-1", "hungary", state="FINISHED"),
        settle,
        read="status",
    ):
        result = operator.run("run", "logs", "hungary", "run-1", "-f")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["line one", "line two", "line three", "line four", "last words"]
    assert result.stderr.count("waiting until the agent of hungary uploads the log") == 1


def test_missing_logs_and_unknown_parties_are_reported(operator: OperatorHarness) -> None:
    operator.begin("run-1")
    operator.put("runs/run-1/cleveland/log.txt", b"")
    for party in ("cleveland", "hungary"):
        missing = operator.run("run", "logs", party)
        assert missing.exit_code == 1
        assert f"the agent of {party} has uploaded no log of run run-1 yet" in missing.stderr
    unknown = operator.run("run", "logs", "nobody")
    assert unknown.exit_code == 2
    assert "PARTY: 'nobody' is not in run run-1; its parties are aggregator, cleveland" in unknown.stderr
