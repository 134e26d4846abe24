"""What becomes of runs when their jobs change."""

import pytest

from fedsilo.agent.launcher import Job
from fedsilo.errors import LauncherError
from fedsilo.states import JobState, PartyState
from tests.support.agent_harness import AgentHarness

LAST_WORDS = "2026-11-22 10:08:31,123 INFO fedsilo.training: the last words\n"


def test_stuck_job_has_failed_only_once_it_is_deleted(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.launcher.all["heart-1"] = Job("heart-1", JobState.STUCK, "no image")
    harness.launcher.failing = {"delete"}
    with pytest.raises(LauncherError):
        harness.agent.step()
    assert harness.state("heart-1")[0] != PartyState.FAILED
    harness.launcher.failing = set()
    harness.agent.step()
    assert harness.launcher.deleted == ["heart-1"]
    assert harness.state("heart-1") == (PartyState.FAILED, "no image")


def test_run_whose_job_somebody_deleted_has_failed(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.launcher.all.clear()
    harness.agent.step()
    assert harness.state("heart-1") == (PartyState.FAILED, "the trainer's job is gone: somebody deleted it")


def test_end_of_a_job_is_recorded_with_its_tries_and_its_log(harness: AgentHarness) -> None:
    harness.ask("start", "heart-1")
    harness.launcher.logs["heart-1"] = LAST_WORDS
    harness.launcher.all["heart-1"] = Job("heart-1", JobState.FAILED, "the trainer ended with exit code 3", 1)
    harness.agent.step()
    assert harness.state("heart-1") == (PartyState.FAILED, "the trainer ended with exit code 3")
    assert harness.hub.statuses["heart-1"].failed_tries == 1
    assert harness.hub.statuses["heart-1"].finished is not None
    assert harness.hub.logs == {"heart-1": LAST_WORDS}
    harness.hub.written.clear()
    harness.agent.step()
    assert harness.hub.written == [], "a run that has ended is not looked at again"
