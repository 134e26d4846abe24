"""Processes that are known by their folder."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsilo.agent.process import LocalProcess
from tests.support.waiting import until

SLEEPS = "print('here', flush=True); import time; time.sleep(600)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[LocalProcess]:
    process = LocalProcess(tmp_path)
    yield process
    process.end()


def start(process: LocalProcess, script: str) -> None:
    process.start([sys.executable, "-c", script], os.environ)


def test_a_process_is_found_again_by_its_folder(process: LocalProcess, tmp_path: Path) -> None:
    assert not process.alive
    assert process.log(100) == ""
    start(process, SLEEPS)
    found = LocalProcess(tmp_path)
    assert found.alive
    until(lambda: found.log(100) == "here\n", "what it prints")
    found.end()
    assert not process.alive


def test_a_process_that_is_alive_is_not_started_again(process: LocalProcess, tmp_path: Path) -> None:
    start(process, SLEEPS)
    until(lambda: process.log(100) == "here\n", "the first")
    LocalProcess(tmp_path).start([sys.executable, "-c", "print('another')"], os.environ)
    assert process.log(100) == "here\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137)],
)
def test_the_exit_code_is_a_shells(process: LocalProcess, script: str, code: int) -> None:
    start(process, script)
    until(lambda: not process.alive, "its end")
    assert process.exit_code == code


def test_a_process_whose_shell_was_killed_too_counts_as_killed(process: LocalProcess, tmp_path: Path) -> None:
    start(process, SLEEPS)
    until(lambda: process.log(100) == "here\n", "the process")
    os.killpg(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    until(lambda: not process.alive, "its end")
    assert process.exit_code == 128 + signal.SIGKILL


def test_what_a_process_has_started_ends_with_it(process: LocalProcess) -> None:
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    start(process, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    pid = int(until(lambda: process.log(100), "the process that it started"))
    process.end()
    until(lambda: not is_running(pid), "the end of the process that it started")


def test_a_fork_keeps_the_process_alive(process: LocalProcess) -> None:
    start(process, f"import os\nif os.fork() == 0: {SLEEPS}")
    until(lambda: process.log(100) == "here\n", "the fork")
    assert process.alive
    process.end()
    assert not process.alive


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_process_that_ignores_sigterm_is_killed(process: LocalProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsilo.agent.process.STOP_SECONDS", 1.0)
    start(process, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}")
    until(lambda: process.log(100) == "here\n", "the process")
    process.end()
    assert process.exit_code == 128 + signal.SIGKILL


def test_only_the_end_of_a_long_log_is_read(process: LocalProcess) -> None:
    start(process, "print('x' * 1000 + 'end')")
    until(lambda: not process.alive, "its end")
    assert process.log(5) == "xend\n"
