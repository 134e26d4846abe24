"""Trainers as local processes: how often one is tried, and what is left of one that is deleted."""

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fedsilo import runtime
from fedsilo.agent import local
from fedsilo.agent.launcher import RETRIES, Job
from fedsilo.agent.local import LocalLauncher
from fedsilo.agent.process import LocalProcess
from fedsilo.config.environment import Settings
from fedsilo.config.run import RunIdentity
from fedsilo.runtime import SystemRuntime
from fedsilo.states import JobState, TrainerExit
from tests.support.waiting import until

RUN = "heart-1"
IDENTITY = RunIdentity(RUN, "0" * 64, "a-version")


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
    launcher.start(IDENTITY, 60.0)
    until(lambda: [job.state for job in launcher.jobs()] == [JobState.RUNNING] and "here" in launcher.log(RUN), "it")
    assert (tmp_path / RUN / "tmp" / "mail").exists()
    launcher.delete(RUN)
    assert launcher.jobs() == []
    assert not (tmp_path / RUN / "tmp").exists()
    assert "here" in launcher.log(RUN)


def test_a_trainer_that_succeeds_is_done(launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "pass")
    launcher.start(IDENTITY, 60.0)
    assert ended(launcher) == Job(RUN, JobState.DONE)


def test_a_trainer_that_may_succeed_later_is_tried_four_times(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, "print('a try'); raise SystemExit(1)")
    launcher.start(IDENTITY, 60.0)
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
    launcher.start(IDENTITY, 60.0)
    assert ended(launcher) == Job(RUN, JobState.FAILED, "the trainer ended with exit code 3", failed_tries=1)


def test_credentials_that_stay_wrong_end_the_job_with_that_as_its_reason(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real trainer, which can't write the reason into the ledger."""
    who = {"federation": "heart", "party": "cleveland", "rank": 1, "hub_account": "1" * 12, "hub_region": "us-east-1"}
    for name, value in Settings.model_validate(who | {"authentication_seconds": 0.1}).to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FEDSILO_POLICY_FILE", "policy.json")
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if "AWS_" not in name})
    monkeypatch.setitem(os.environ, "AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(local, "RETRIES", 0)
    launcher.start(IDENTITY, 60.0)
    reason = "the trainer ended with exit code 4: AWS did not accept its credentials or its clock; its log says more"
    assert ended(launcher) == Job(RUN, JobState.FAILED, reason, failed_tries=1)
    assert "found no AWS credentials to use S3; " in launcher.log(RUN)
    assert "; waited 0.1 s" in launcher.log(RUN)


def test_a_trainer_is_ended_at_its_deadline(launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "import time; time.sleep(600)")
    launcher.start(IDENTITY, 0.36)
    assert ended(launcher).reason == "the trainer ran over its deadline of 0.0001 h"


SLEEPS = "import time; time.sleep(600)"


class WrongClock(SystemRuntime):
    """A machine whose wall clock is ``off``."""

    off = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.off


@pytest.mark.parametrize("jump", [-(10.0**8), 10.0**8])
def test_a_clock_that_is_set_neither_ends_nor_delays_a_trainer(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    machine = WrongClock()
    with runtime.using(machine):
        run_instead(monkeypatch, f"raise SystemExit({TrainerExit.RETRY})")
        launcher.start(IDENTITY, 60.0)
        until(lambda: launcher.jobs()[0].failed_tries == 1, "the first failure")
        machine.off = timedelta(seconds=jump)
        run_instead(monkeypatch, SLEEPS)
        until(lambda: launcher.jobs() == [Job(RUN, JobState.RUNNING)], "another try")
        launcher.end_own()


class Machine(SystemRuntime):
    """A machine whose time the test tells; ``reboot`` ends what runs on it, and its clock begins anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.awake, self.boots = folder, 1000.0, 0
        self.began = super().monotonic()
        self.agent()

    def monotonic(self) -> float:
        return self.awake + super().monotonic() - self.began

    def agent(self) -> None:
        """Start another agent."""
        self.launcher = LocalLauncher(self.folder, f"boot-{self.boots}")

    def reboot(self, clock: float) -> None:
        LocalProcess(self.folder / RUN).end()
        self.boots, self.awake = self.boots + 1, clock
        self.agent()

    def job(self) -> Job:
        (job,) = self.launcher.jobs()
        return job


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    run_instead(monkeypatch, SLEEPS)
    machine = Machine(tmp_path)
    with runtime.using(machine):
        machine.launcher.start(IDENTITY, 3600.0)
        assert machine.job().state == JobState.RUNNING
        yield machine
        machine.launcher.end_own()


def test_a_deadline_outlives_the_agent(machine: Machine) -> None:
    machine.awake += 3000
    assert machine.job().state == JobState.RUNNING
    machine.agent()
    assert machine.job().state == JobState.RUNNING
    machine.awake += 1000
    assert machine.job() == Job(RUN, JobState.FAILED, "the trainer ran over its deadline of 1 h", failed_tries=1)


@pytest.mark.parametrize("clock", [5.0, 10.0**6])
def test_a_deadline_outlives_a_reboot_and_the_next_try_does_not_wait(machine: Machine, clock: float) -> None:
    """The clock after a reboot may stand before the one of the last boot, or far after it."""
    machine.awake += 3000
    machine.job()
    machine.reboot(clock)
    assert machine.job().state == JobState.PENDING, "the try that the reboot ended has failed"
    machine.reboot(clock)
    assert machine.job() == Job(RUN, JobState.RUNNING), "nothing is left of the wait"
    machine.awake += 300
    assert machine.job().state == JobState.RUNNING
    machine.awake += 700
    assert machine.job().reason == "the trainer ran over its deadline of 1 h"


def test_another_launcher_finds_the_trainers(
    tmp_path: Path, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(monkeypatch, "import time; time.sleep(600)")
    launcher.start(IDENTITY, 60.0)
    launcher.jobs()
    after = LocalLauncher(tmp_path)
    assert after.jobs() == [Job(RUN, JobState.RUNNING)]
    after.end_own()
    assert after.jobs() == launcher.jobs() == []


def test_the_folders_of_old_runs_are_removed_but_not_of_one_that_runs(
    tmp_path: Path, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "KEPT_RUNS", 2)
    run_instead(monkeypatch, "import time; time.sleep(600)")
    launcher.start(IDENTITY, 60.0)
    launcher.jobs()
    run_instead(monkeypatch, "print('here')")
    for number in range(5):
        run = f"heart-2-{number}"
        launcher.start(RunIdentity(run, "0" * 64, "a-version"), 60.0)
        until(lambda run=run: Job(run, JobState.DONE) in launcher.jobs(), "its end")
    kept = ["heart-1", "heart-2-2", "heart-2-3", "heart-2-4"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == kept
    assert launcher.log("heart-2-2") == "here\n"
    launcher.end_own()
