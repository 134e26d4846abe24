"""Which log of a trainer gets into the ledger, and when."""

import pytest

from fedsilo.agent.log_shipping import INTERVAL_SECONDS, LogShipper
from tests.support.agent_harness import Clock, MemoryHub, MemoryLauncher

RUN = "heart-1"


def line(text: str) -> str:
    """A line that fedsilo logs."""
    return f"2026-11-22 10:08:31,123 INFO fedsilo.training: {text}\n"


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def launcher() -> MemoryLauncher:
    return MemoryLauncher()


@pytest.fixture
def logs(hub: MemoryHub, launcher: MemoryLauncher, clock: Clock) -> LogShipper:
    return LogShipper(hub, launcher)  # type: ignore[arg-type]


def test_an_empty_log_is_never_uploaded(hub: MemoryHub, launcher: MemoryLauncher, logs: LogShipper) -> None:
    """`fedsilo run logs` took an empty object for a log, and printed nothing."""
    logs.upload(RUN)
    assert hub.uploads == 0
    launcher.logs[RUN] = line("first")
    logs.upload(RUN)
    assert hub.logs == {RUN: line("first")}


def test_a_log_is_uploaded_only_if_it_has_changed(hub: MemoryHub, launcher: MemoryLauncher, logs: LogShipper) -> None:
    launcher.logs[RUN] = line("one")
    for _ in range(2):
        logs.upload(RUN)
    assert hub.uploads == 1
    launcher.logs[RUN] += line("two")
    logs.upload(RUN)
    assert hub.logs[RUN] == line("one") + line("two")


def test_a_running_trainers_log_is_looked_at_now_and_then(
    hub: MemoryHub, launcher: MemoryLauncher, logs: LogShipper, clock: Clock
) -> None:
    for word in ("one", "two", "three"):
        launcher.logs[RUN] = line(word)
        logs.upload_if_due(RUN)
    assert hub.uploads == 1
    clock.pass_time(INTERVAL_SECONDS)
    logs.upload_if_due(RUN)
    assert hub.logs[RUN] == line("three")


def test_what_a_workload_prints_stays_with_the_party(
    hub: MemoryHub, launcher: MemoryLauncher, logs: LogShipper
) -> None:
    launcher.logs[RUN] = f"patient_id=AB4711\n{line('the first')}John Smith\n"
    logs.upload(RUN)
    assert hub.logs == {RUN: line("the first")}


def test_a_log_that_cannot_be_uploaded_is_a_warning_and_is_tried_again(
    hub: MemoryHub, launcher: MemoryLauncher, logs: LogShipper, caplog: pytest.LogCaptureFixture
) -> None:
    launcher.logs[RUN] = line("one")
    hub.failing = {"put_log"}
    logs.upload(RUN)
    assert "the trainer's log could not be uploaded: put_log failed" in caplog.text
    hub.failing = set()
    logs.upload(RUN)
    assert hub.logs == {RUN: line("one")}
