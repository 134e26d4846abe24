"""What the Kubernetes launcher says about a trainer, from its Job and pods as an API server shows them."""

from typing import Any

import pytest

from fedsilo.agent.kubernetes import KubernetesLauncher
from fedsilo.agent.launcher import Job
from fedsilo.states import JobState, TrainerExit
from tests.support.fake_kubernetes import FakeKubernetes
from tests.support.kubernetes_launcher import IDENTITY, JOB, RUN, only


def container(state: dict[str, Any]) -> dict[str, Any]:
    seen = {"name": "trainer", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"containerStatuses": [seen]}


def terminated(code: int, reason: str = "Error") -> dict[str, Any]:
    return container({"terminated": {"exitCode": code, "reason": reason}})


def waiting(reason: str, message: str) -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}})


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient"}
DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "node drained"}


@pytest.mark.parametrize(
    ("phase", "status", "age", "state", "reason"),
    [
        ("Pending", {}, 0, "PENDING", "the trainer's pod is starting"),
        ("Pending", {"conditions": [NO_NODE]}, 0, "PENDING", "no node for the trainer (Unschedulable): 0/1 nodes: 1 I"),
        ("Pending", waiting("ContainerCreating", ""), 0, "PENDING", "the trainer's pod is starting"),
        ("Pending", waiting("ImagePullBackOff", "no such image"), 60, "PENDING", "image can't be pulled (ImagePullBac"),
        ("Pending", waiting("ImagePullBackOff", "no such image"), 700, "STUCK", "(ImagePullBackOff): no such image"),
        ("Pending", waiting("CreateContainerConfigError", "no map"), 0, "PENDING", "can't start (CreateContainerConfi"),
        ("Running", {}, 0, "RUNNING", ""),
        ("Failed", terminated(137, "OOMKilled"), 0, "PENDING", "out of memory (OOMKilled)"),
        ("Failed", terminated(1), 0, "PENDING", "the trainer ended with exit code 1; it will be started again"),
        ("Failed", {"reason": "Evicted", "message": "low on memory"}, 0, "PENDING", "was evicted: low on memory"),
        ("Failed", {"conditions": [DRAINED]}, 0, "PENDING", "was evicted (EvictionByEvictionAPI): node drained"),
    ],
)  # fmt: skip
def test_state_of_the_newest_pod_is_the_trainers(
    server: FakeKubernetes,
    launcher: KubernetesLauncher,
    phase: str,
    status: dict[str, Any],
    age: float,
    state: str,
    reason: str,
) -> None:
    launcher.start(IDENTITY, 3600)
    assert only(launcher) == Job(
        RUN, JobState.PENDING, "the trainer's Job has no pod yet; the namespace's quota may be used up"
    )
    server.pod_status(server.add_pod(JOB, age=age), phase, **status)
    job = only(launcher)
    assert job.state == state
    assert reason in job.reason
    assert bool(job.reason) is bool(reason)
    assert job.failed_tries == (phase == "Failed")


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        (terminated(137, "OOMKilled"), "BackoffLimitExceeded", "the trainer ran out of memory (OOMKilled) on try 2;"),
        (terminated(137), "BackoffLimitExceeded", "the trainer was killed by signal 9 on try 2"),
        (terminated(TrainerExit.FATAL), "PodFailurePolicy", "the trainer ended with exit code 3 on try 2"),
        ({"reason": "Evicted", "message": "disk"}, "BackoffLimitExceeded", "the trainer was evicted on try 2: disk"),
        (terminated(143), "DeadlineExceeded", "the trainer ran over its deadline of 1 h"),
    ],
)
def test_reason_of_a_failed_job_is_how_its_last_pod_ended(
    server: FakeKubernetes, launcher: KubernetesLauncher, status: dict[str, Any], verdict: str, reason: str
) -> None:
    launcher.start(IDENTITY, 3600)
    server.pod_status(server.add_pod(JOB, age=9), "Failed", **terminated(1))
    server.pod_status(server.add_pod(JOB), "Failed", **status)
    server.end_job(JOB, "Failed", verdict)
    job = only(launcher)
    assert job.state == "FAILED"
    assert job.reason.startswith(reason)
    assert job.failed_tries == 2


def test_a_trainer_has_ended_when_its_job_is_complete(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    server.pod_status(server.add_pod(JOB), "Succeeded", **terminated(0, "Completed"))
    assert only(launcher).state == "RUNNING", "until the Job controller has seen it"
    server.end_job(JOB, "Complete")
    assert only(launcher) == Job(RUN, JobState.DONE)


def test_a_second_pod_says_how_the_first_ended(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    server.pod_status(server.add_pod(JOB, age=9), "Failed", **terminated(137, "OOMKilled"))
    server.add_pod(JOB)
    assert "is starting; earlier, the trainer ran out of memory" in only(launcher).reason
    assert only(launcher).failed_tries == 1
