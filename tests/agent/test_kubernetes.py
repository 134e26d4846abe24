"""The Kubernetes launcher against a stateful API server over real HTTP, with the manifests that the stacks deploy."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest
from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, Context, User

from fedsilo import names
from fedsilo.agent import kubernetes
from fedsilo.agent.kubernetes import KubernetesLauncher
from fedsilo.agent.launcher import LOG_BYTES, Job
from fedsilo.config import federation
from fedsilo.errors import LauncherError
from fedsilo.states import TrainerExit
from stacks import manifests
from tests.support.fake_kubernetes import FakeKubernetes

RUN = "heart-20261122-081500-3f"
JOB = f"trainer-{RUN}"
CLEVELAND = federation.parse(
    {
        "name": "heart",
        "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16"},
        "silos": [{"name": "cleveland", "vpc_cidr": "10.1.0.0/16", "policy": {"max_hours": 2}}],
    }
).party("cleveland")


@pytest.fixture
def server() -> Iterator[FakeKubernetes]:
    fake = FakeKubernetes()
    fake.put("cronjobs", manifests.trainer("registry/image@sha256:1", CLEVELAND))
    yield fake
    fake.close()


@pytest.fixture
def changes() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def launcher(server: FakeKubernetes, changes: threading.Semaphore) -> KubernetesLauncher:
    return KubernetesLauncher(connect(server.url), changes.release)


def connect(url: str) -> Client:
    config = KubeConfig(
        clusters={"fake": Cluster(server=url)},
        contexts={"fake": Context(cluster="fake", user="agent", namespace=names.NAMESPACE)},
        users={"agent": User()},
        current_context="fake",
    )
    return Client(config=config, namespace=names.NAMESPACE, trust_env=False)


def only(launcher: KubernetesLauncher) -> Job:
    (job,) = launcher.jobs()
    return job


def container(state: dict[str, Any]) -> dict[str, Any]:
    seen = {"name": "trainer", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"containerStatuses": [seen]}


def terminated(code: int, reason: str = "Error") -> dict[str, Any]:
    return container({"terminated": {"exitCode": code, "reason": reason}})


def waiting(reason: str, message: str) -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}})


def test_job_is_the_cronjobs_template_with_the_run_in_it(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 2 * 3600)
    job = server.job(JOB)
    kubernetes_validate.validate(job, "1.36", strict=True)
    template = manifests.trainer("registry/image@sha256:1", CLEVELAND)["spec"]["jobTemplate"]["spec"]
    made = job["spec"]
    (container,) = made["template"]["spec"]["containers"]
    assert container["env"].pop() == {"name": "FEDSILO_RUN", "value": RUN}
    for labels in (job["metadata"]["labels"], made["template"]["metadata"]["labels"]):
        assert labels["fedsilo/run"] == RUN
    template["template"]["metadata"] = made["template"]["metadata"]
    assert made == template | {"activeDeadlineSeconds": 7200}
    fail, ignore = made["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [TrainerExit.FATAL])
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_starting_twice_makes_one_job(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 3600)
    launcher.start(RUN, 3600)
    assert len(server.all("jobs")) == 1


def test_without_a_template_there_is_a_reason(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.remove("cronjobs", "trainer")
    with pytest.raises(LauncherError, match='read CronJob trainer: 404 NotFound: cronjobs "trainer" not found'):
        launcher.start(RUN, 3600)


def test_quota_that_is_used_up_is_said(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.refusals.append(("create jobs", 403, "Forbidden", "exceeded quota: fedsilo, used: count/jobs.batch=50"))
    with pytest.raises(LauncherError, match=f"make Job {JOB}: 403 Forbidden: exceeded quota"):
        launcher.start(RUN, 3600)
    launcher.start(RUN, 3600)


def test_server_that_is_away_is_an_error_in_words(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.close()
    with pytest.raises(LauncherError, match="could not be asked to list Jobs and pods: ConnectError"):
        launcher.jobs()


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient"}
DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "node drained"}


@pytest.mark.parametrize(
    ("phase", "status", "age", "state", "reason"),
    [
        ("Pending", {}, 0, "PENDING", "the trainer's pod is starting"),
        ("Pending", {"conditions": [NO_NODE]}, 0, "PENDING", "no node for the trainer (Unschedulable): 0/1 nodes: 1 I"),
        ("Pending", waiting("ContainerCreating", ""), 0, "PENDING", "the trainer's pod is starting"),
        ("Pending", waiting("ImagePullBackOff", "no such image"), 60, "PENDING", "image can't be had (ImagePullBackOf"),
        ("Pending", waiting("ImagePullBackOff", "no such image"), 700, "STUCK", "(ImagePullBackOff): no such image"),
        ("Pending", waiting("CreateContainerConfigError", "no map"), 0, "PENDING", "can't start (CreateContainerConfi"),
        ("Running", {}, 0, "RUNNING", ""),
        ("Failed", terminated(137, "OOMKilled"), 0, "PENDING", "out of memory (OOMKilled)"),
        ("Failed", terminated(1), 0, "PENDING", "the trainer ended with exit code 1; it is started again"),
        ("Failed", {"reason": "Evicted", "message": "low on memory"}, 0, "PENDING", "was evicted: low on memory"),
        ("Failed", {"conditions": [DRAINED]}, 0, "PENDING", "was evicted (EvictionByEvictionAPI): node drained"),
    ],
)  # fmt: skip
def test_what_a_pod_says_is_told(
    server: FakeKubernetes,
    launcher: KubernetesLauncher,
    phase: str,
    status: dict[str, Any],
    age: float,
    state: str,
    reason: str,
) -> None:
    launcher.start(RUN, 3600)
    assert only(launcher) == Job(RUN, "PENDING", "its Job has no pod yet; the namespace's quota may be used up")
    server.pod_status(server.add_pod(JOB, age=age), phase, **status)
    job = only(launcher)
    assert job.state == state
    assert reason in job.reason
    assert bool(job.reason) is bool(reason)


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        (terminated(137, "OOMKilled"), "BackoffLimitExceeded", "the trainer ran out of memory (OOMKilled) at try 2;"),
        (terminated(137), "BackoffLimitExceeded", "the trainer was killed by signal 9 at try 2"),
        (terminated(TrainerExit.FATAL), "PodFailurePolicy", "the trainer ended with exit code 3 at try 2"),
        ({"reason": "Evicted", "message": "disk"}, "BackoffLimitExceeded", "the trainer was evicted at try 2: disk"),
        (terminated(143), "DeadlineExceeded", "the trainer ran over its deadline of 1 h"),
    ],
)
def test_why_a_job_failed_is_told(
    server: FakeKubernetes, launcher: KubernetesLauncher, status: dict[str, Any], verdict: str, reason: str
) -> None:
    launcher.start(RUN, 3600)
    server.pod_status(server.add_pod(JOB, age=9), "Failed", **terminated(1))
    server.pod_status(server.add_pod(JOB), "Failed", **status)
    server.end_job(JOB, "Failed", verdict)
    job = only(launcher)
    assert job.state == "FAILED"
    assert job.reason.startswith(reason)


def test_done_is_done(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 3600)
    server.pod_status(server.add_pod(JOB), "Succeeded", **terminated(0, "Completed"))
    assert only(launcher).state == "RUNNING", "until the Job controller has seen it"
    server.end_job(JOB, "Complete")
    assert only(launcher) == Job(RUN, "DONE")


def test_pod_that_is_started_again_says_why(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 3600)
    server.pod_status(server.add_pod(JOB, age=9), "Failed", **terminated(137, "OOMKilled"))
    server.add_pod(JOB)
    assert "is starting; before, the trainer ran out of memory" in only(launcher).reason


def test_deleted_job_is_there_until_its_pods_are_gone(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 3600)
    launcher.delete(RUN)
    assert only(launcher).state == "ENDING"
    server.remove("jobs", JOB)
    assert launcher.jobs() == []
    launcher.delete(RUN)


def test_jobs_of_other_people_are_none_of_its(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.put("jobs", {"metadata": {"name": "by-hand"}, "spec": {"template": {"spec": {"containers": []}}}})
    launcher.start(RUN, 3600)
    assert [job.run for job in launcher.jobs()] == [RUN]


def test_log_is_that_of_all_tries_and_bounded(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(RUN, 3600)
    first, second = server.add_pod(JOB, age=9), server.add_pod(JOB)
    server.logs[first] = "first\n"
    assert launcher.log(RUN) == f"--- pod {first}\nfirst\n", "the second has none yet"
    server.logs[second] = ("x" * 999 + "\n") * 1000 + "last\n"
    text = launcher.log(RUN)
    assert len(text) <= LOG_BYTES
    assert text.endswith("last\n")


def heard(changes: threading.Semaphore, do: Callable[[], Any]) -> bool:
    """Whether a change is told after ``do``."""
    while changes.acquire(blocking=False):
        pass
    do()
    return changes.acquire(timeout=5)


def test_watch_tells_of_changes_after_a_break_and_after_410(
    server: FakeKubernetes, launcher: KubernetesLauncher, changes: threading.Semaphore
) -> None:
    assert heard(changes, lambda: launcher.start(RUN, 3600))
    server.forget_history()
    server.break_watches()  # lightkube goes on from the last version it saw
    deadline = time.monotonic() + 5
    while not server.expired and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.expired == 1
    assert heard(changes, lambda: server.end_job(JOB, "Failed", "BackoffLimitExceeded"))
    time.sleep(0.3)
    assert heard(changes, lambda: server.remove("jobs", JOB))


def test_role_allows_exactly_the_calls_that_are_made(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    """Every call of the launcher, as RBAC sees it, against the Role that the stack deploys."""
    launcher.start(RUN, 3600)
    server.logs[server.add_pod(JOB)] = "a line\n"
    launcher.jobs()
    launcher.log(RUN)
    launcher.delete(RUN)
    deadline = time.monotonic() + 5
    while ("batch", "jobs", "", "watch") not in server.calls and time.monotonic() < deadline:
        time.sleep(0.02)
    (role,) = [m for m in manifests.agent_rbac() if m["kind"] == "Role"]
    allowed = {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    assert server.calls == allowed


def test_watch_has_a_time_limit(server: FakeKubernetes) -> None:
    """lightkube sets none; the attribute is its own and may move with a new version."""
    client = connect(server.url)
    assert client._client._watch_timeout.read is None
    KubernetesLauncher(client, lambda: None)
    assert client._client._watch_timeout.read == kubernetes.WATCH_SECONDS + 10
