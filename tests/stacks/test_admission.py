"""The cluster admits the Job that the agent makes of the template, and no other: the policy's CEL, on Google's runtime.

The Jobs are those that the launcher sends to an API server. What the API server itself adds is the same in both
objects, because a template's defaults are those of a Job's pods.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
import pytest
from cel_expr_python import cel

from fedsilo import names
from fedsilo.agent.kubernetes import KubernetesLauncher
from stacks import manifests
from stacks.admission import trainers_admission
from stacks.cluster import KUBERNETES
from tests.support.fake_kubernetes import FakeKubernetes
from tests.support.kubernetes_launcher import CLEVELAND, IDENTITY, JOB, connect

IMAGE = "registry/image@sha256:1"
AGENT = "system:serviceaccount:fedsilo:agent"
POLICY, BINDING = trainers_admission()


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return manifests.trainer(IMAGE, CLEVELAND)


@pytest.fixture(scope="module")
def job(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The Job that the agent makes of the template."""
    fake = FakeKubernetes()
    fake.put("cronjobs", copy.deepcopy(template))
    KubernetesLauncher(connect(fake.url), lambda: None).start(IDENTITY, 3600.0)
    yield fake.job(JOB)
    fake.close()


def refusals(job: dict[str, Any], template: dict[str, Any], user: str = AGENT) -> list[str]:
    """Why the policy refuses the Job. An expression that fails refuses it, too (failurePolicy)."""
    spec = POLICY["spec"]
    kinds = cel.NewEnv(variables=dict.fromkeys(("object", "params", "request", "variables"), cel.Type.DYN))
    known: dict[str, Any] = {
        "object": job, "params": template, "request": {"userInfo": {"username": user}}, "variables": {},
    }  # fmt: skip

    def evaluate(expression: str) -> Any:
        return kinds.compile(expression).eval(data=known)

    if not all(evaluate(condition["expression"]).value() is True for condition in spec["matchConditions"]):
        return []
    for variable in spec["variables"]:
        known["variables"][variable["name"]] = evaluate(variable["expression"]).plain_value()
    return [rule["message"] for rule in spec["validations"] if evaluate(rule["expression"]).value() is not True]


def test_job_of_the_launcher_is_admitted(job: dict[str, Any], template: dict[str, Any]) -> None:
    assert refusals(job, template) == []
    names_of_run = {"FEDSILO_RUN", "FEDSILO_RUN_SHA256", "FEDSILO_RUN_VERSION"}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert names_of_run <= {variable["name"] for variable in container["env"]}


Change = Callable[[dict[str, Any], dict[str, Any]], Any]

CHANGES: dict[str, tuple[Change, str]] = {
    "another image": (lambda pod, container: container.update(image="attacker/image@sha256:2"), "container.image"),
    "another command": (lambda pod, container: container.update(command=["sh"]), "container.command"),
    "arguments": (lambda pod, container: container.update(args=["-c", "curl"]), "container.args"),
    "an init container": (
        lambda pod, container: pod.update(initContainers=[{"name": "first", "image": IMAGE}]),
        "initContainers",
    ),
    "a second container": (
        lambda pod, container: pod["containers"].append({"name": "second", "image": IMAGE}),
        "one container",
    ),
    "the agent's account": (lambda pod, container: pod.update(serviceAccountName="agent"), "serviceAccountName"),
    "a token": (lambda pod, container: pod.update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    "a volume": (
        lambda pod, container: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volumes",
    ),
    "another address of AWS": (
        lambda pod, container: pod.update(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["s3.amazonaws.com"]}]),
        "hostAliases",
    ),
    "a hook": (
        lambda pod, container: container.update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
        "container.lifecycle",
    ),
    "a variable": (
        lambda pod, container: container["env"].append({"name": "LD_PRELOAD", "value": "x.so"}), "beside the",
    ),
    "a variable of fedsilo": (
        lambda pod, container: container["env"].append({"name": "FEDSILO_RUN_X", "value": "x"}),
        "beside the template's",
    ),
    "a run from a secret": (
        lambda pod, container: container["env"][-1].update(
            value=None, valueFrom={"secretKeyRef": {"name": "a", "key": "b"}}
        ),
        "beside the template's",
    ),
    "a variable of the template with another value": (
        lambda pod, container: container["env"].append({"name": "HOME", "value": "/elsewhere"}), "beside the",
    ),
    "a run twice": (
        lambda pod, container: container["env"].append({"name": "FEDSILO_RUN", "value": "other"}), "twice",
    ),
    "no policy file": (
        lambda pod, container: container.update(env=[e for e in container["env"] if "POLICY" not in e["name"]]),
        "container.env",
    ),
    "no environment": (lambda pod, container: container.pop("env"), "container.env"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_job_that_is_not_the_template_is_refused(job: dict[str, Any], template: dict[str, Any], change: str) -> None:
    other = copy.deepcopy(job)
    pod = other["spec"]["template"]["spec"]
    apply, problem = CHANGES[change]
    apply(pod, pod["containers"][0])
    assert any(problem in refusal for refusal in refusals(other, template))


def test_owner_may_make_other_jobs(job: dict[str, Any], template: dict[str, Any]) -> None:
    other = copy.deepcopy(job)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "owners/image"
    assert refusals(other, template) != []
    assert refusals(other, template, user="arn:aws:sts::111111111111:assumed-role/platform/me") == []


def test_policy_is_bound_to_the_template_and_denies_without_it() -> None:
    for thing in (POLICY, BINDING):
        kubernetes_validate.validate(thing, KUBERNETES.version, strict=True)
    assert BINDING["spec"] == {
        "policyName": POLICY["metadata"]["name"],
        "paramRef": {"name": names.TRAINER, "namespace": names.NAMESPACE, "parameterNotFoundAction": "Deny"},
        "validationActions": ["Deny"],
    }
    assert POLICY["spec"]["failurePolicy"] == "Fail"
