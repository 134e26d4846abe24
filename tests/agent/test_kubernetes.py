"""The Kubernetes launcher against a stateful API server over real HTTP, with the manifests that the stacks deploy."""

import threading
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from fedsilo.agent import kubernetes
from fedsilo.agent.kubernetes import KubernetesLauncher
from fedsilo.agent.launcher import LOG_BYTES
from fedsilo.errors import LauncherError
from fedsilo.states import JobState, TrainerExit
from stacks import manifests
from tests.support.fake_kubernetes import FakeKubernetes
from tests.support.kubernetes_launcher import CLEVELAND, IDENTITY, JOB, RUN, connect, only
from tests.support.waiting import WAIT_SECONDS, until


def test_job_is_the_cronjobs_template_with_the_run_in_it(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 2 * 3600)
    job = server.job(JOB)
    kubernetes_validate.validate(job, "1.36", strict=True)
    template = manifests.trainer("registry/image@sha256:1", CLEVELAND)["spec"]["jobTemplate"]["spec"]
    made = job["spec"]
    (container,) = made["template"]["spec"]["containers"]
    about_the_run = {each["name"]: each["value"] for each in container["env"][-3:]}
    assert about_the_run == IDENTITY.to_environment()
    del container["env"][-3:]
    for labels in (job["metadata"]["labels"], made["template"]["metadata"]["labels"]):
        assert labels["fedsilo/run"] == RUN
    template["template"]["metadata"] = made["template"]["metadata"]
    assert made == template | {"activeDeadlineSeconds": 7200}
    fail, ignore = made["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [TrainerExit.FATAL])
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_starting_twice_makes_one_job(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    launcher.start(IDENTITY, 3600)
    assert len(server.all("jobs")) == 1


def test_a_missing_template_is_an_error(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.remove("cronjobs", "trainer")
    with pytest.raises(LauncherError, match='read CronJob trainer: 404 NotFound: cronjobs "trainer" not found'):
        launcher.start(IDENTITY, 3600)


def test_exhausted_quota_is_an_error_and_the_next_try_may_succeed(
    server: FakeKubernetes, launcher: KubernetesLauncher
) -> None:
    server.refusals.append(("create jobs", 403, "Forbidden", "exceeded quota: fedsilo, used: count/jobs.batch=50"))
    with pytest.raises(LauncherError, match=f"make Job {JOB}: 403 Forbidden: exceeded quota"):
        launcher.start(IDENTITY, 3600)
    launcher.start(IDENTITY, 3600)


def test_an_unreachable_api_server_is_an_error(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.close()
    with pytest.raises(LauncherError, match="could not be asked to list Jobs and pods: ConnectError"):
        launcher.jobs()


def test_deleted_job_is_there_until_its_pods_are_gone(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    launcher.delete(RUN)
    assert only(launcher).state == JobState.ENDING
    server.remove("jobs", JOB)
    assert launcher.jobs() == []
    launcher.delete(RUN)


def test_jobs_without_the_label_are_ignored(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    server.put("jobs", {"metadata": {"name": "by-hand"}, "spec": {"template": {"spec": {"containers": []}}}})
    launcher.start(IDENTITY, 3600)
    assert [job.run for job in launcher.jobs()] == [RUN]


def test_log_holds_all_tries_up_to_a_limit(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    first, second = server.add_pod(JOB, age=9), server.add_pod(JOB)
    server.logs[first] = "first\n"
    assert launcher.log(RUN) == f"--- pod {first}\nfirst\n", "the second has none yet"
    server.logs[second] = ("x" * 999 + "\n") * 1000 + "last\n"
    text = launcher.log(RUN)
    assert len(text) <= LOG_BYTES
    assert text.endswith("last\n")


def test_log_of_a_pod_that_has_logged_nothing_is_empty(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    launcher.start(IDENTITY, 3600)
    server.logs[server.add_pod(JOB)] = ""
    assert launcher.log(RUN) == ""


def heard(changes: threading.Semaphore, do: Callable[[], Any]) -> bool:
    """Whether a change is reported after ``do``."""
    while changes.acquire(blocking=False):
        pass
    do()
    return changes.acquire(timeout=WAIT_SECONDS)


def test_watch_reports_changes_after_a_break_and_after_410(
    server: FakeKubernetes, launcher: KubernetesLauncher, changes: threading.Semaphore
) -> None:
    assert heard(changes, lambda: launcher.start(IDENTITY, 3600))
    server.forget_history()
    server.break_watches()  # lightkube goes on from the last version it saw
    until(lambda: server.expired == 1, "the watch to be too old")
    assert heard(changes, lambda: server.end_job(JOB, "Failed", "BackoffLimitExceeded"))
    assert heard(changes, lambda: server.remove("jobs", JOB))


def test_role_allows_exactly_the_calls_that_are_made(server: FakeKubernetes, launcher: KubernetesLauncher) -> None:
    """Every call of the launcher, as RBAC sees it, against the Role that the stack deploys."""
    launcher.start(IDENTITY, 3600)
    server.logs[server.add_pod(JOB)] = "a line\n"
    launcher.jobs()
    launcher.log(RUN)
    launcher.delete(RUN)
    until(lambda: ("batch", "jobs", "", "watch") in server.calls, "the watch")
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
