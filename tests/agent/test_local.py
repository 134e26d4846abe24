"""Trainers as local processes: how often one is tried, and what is left of one that is deleted."""

import sys
from pathlib import Path

import pytest

from fedsilo.agent import local
from fedsilo.agent.launcher import RETRIES, Job
from fedsilo.agent.local import LocalLauncher
from fedsilo.states import JobState, TrainerExit
from tests.support.waiting import until

RUN = "heart-1"


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLauncher:
    monkeypatch.setattr(local, "BACKOFF_SECONDS", 0.01)
    return LocalLauncher(tmp_path)


def run_instead(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let every launcher run the script in place of a trainer."""
    monkeypatch.setattr(LocalLauncher, "command", (sys.executable, "-c", script))


def ended(launcher: LocalLauncher) -> Job:
    """The only job, once it has ended."""
    return until(lambda: next((job for job in launcher.jobs() if job.ended), None), "the end of the job")


def test_a_deleted_job_leaves_its_log_and_no_scratch(
    tmp_path: Path, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import os, time; open(os.environ['TMPDIR'] + '/mail', 'w').write('x'); print('here', flush=True); "
    run_instead(monkeypatch, f"{script}time.sleep(60)")
    launcher.start(RUN, 60.0)
    until(lambda: [job.state for job in launcher.jobs()] == [JobState.RUNNING] and "here" in launcher.log(RUN), "it")
    assert (tmp_path / RUN / "tmp" / "mail").exists()
    launcher.delete(RUN)
    assert launcher.jobs() == []
    assert not (tmp_path / RUN / "tmp").exists()
    assert "here" in launcher.log(RUN)


def test_a_trainer_that_succeeds_is_done(launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "pass")
    launcher.start(RUN, 60.0)
    assert ended(launcher) == Job(RUN, JobState.DONE)


def test_a_trainer_that_may_succeed_later_is_tried_four_times(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, "print('a try'); raise SystemExit(1)")
    launcher.start(RUN, 60.0)
    reason = "the trainer ended with exit code 1; it will be started again"
    until(lambda: Job(RUN, JobState.PENDING, reason, failed_tries=1) in launcher.jobs(), "the first failure")
    failed = Job(RUN, JobState.FAILED, "the trainer ended with exit code 1 on try 4", failed_tries=RETRIES + 1)
    assert ended(launcher) == failed
    assert launcher.log(RUN) == "a try\n" * 4
    assert launcher.jobs() == [failed], "the end is remembered"


def test_a_trainer_that_would_fail_the_same_way_is_not_tried_again(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, f"raise SystemExit({TrainerExit.FATAL})")
    launcher.start(RUN, 60.0)
    assert ended(launcher) == Job(RUN, JobState.FAILED, "the trainer ended with exit code 3", failed_tries=1)


def test_a_trainer_is_ended_at_its_deadline(launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "import time; time.sleep(600)")
    launcher.start(RUN, 0.36)
    assert ended(launcher).reason == "the trainer ran over its deadline of 0.0001 h"


def test_another_launcher_finds_the_trainers(
    tmp_path: Path, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, "import time; time.sleep(600)")
    launcher.start(RUN, 60.0)
    launcher.jobs()
    after = LocalLauncher(tmp_path)
    assert after.jobs() == [Job(RUN, JobState.RUNNING)]
    after.close()
    assert after.jobs() == launcher.jobs() == []
