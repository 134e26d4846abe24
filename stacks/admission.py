"""The rule by which a cluster admits a trainer's Job: the agent starts the party's template and nothing else.

The agent's role alone would let it make a Job of any image, with the trainer's service account. The API server refuses
such a Job by a ValidatingAdmissionPolicy: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/.
"""

from typing import Any

from fedsilo import names
from fedsilo.config.run import RunIdentity

_NAME = "fedsilo-trainer"
"""The name of the policy and its binding. They belong to the cluster, not to a namespace."""

_VERSION = "admissionregistration.k8s.io/v1"

_POD_FIELDS = (
    "serviceAccountName", "automountServiceAccountToken", "volumes", "securityContext", "initContainers",
    "restartPolicy", "nodeSelector", "nodeName", "resourceClaims", "tolerations", "affinity", "enableServiceLinks",
    "hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases", "dnsPolicy", "dnsConfig",
    "priorityClassName", "runtimeClassName", "schedulerName", "shareProcessNamespace",
)  # fmt: skip
"""The fields of a pod that decide what runs, with which rights, and whom it can reach."""

_CONTAINER_FIELDS = (
    "name", "image", "imagePullPolicy", "command", "args", "workingDir", "envFrom", "resources", "volumeMounts",
    "volumeDevices", "securityContext", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports",
)  # fmt: skip
"""The fields of a container but its ``env``, which has the run."""

_POD = "variables.pod"
_TEMPLATE = "variables.template"


def trainers_admission() -> list[dict[str, Any]]:
    """The policy and its binding.

    A Job that the agent makes has to be the CronJob ``trainer``, field by field. Its container has the template's
    environment, and of other variables only those that name the run, as plain values.
    """
    policy = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "batch/v1", "kind": "CronJob"},
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["batch"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["jobs"],
                }
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": names.NAMESPACE}},
        },
        "matchConditions": [
            {
                "name": "the-agent-asks",
                "expression": f"request.userInfo.username == 'system:serviceaccount:{names.NAMESPACE}:{names.AGENT}'",
            }
        ],
        "variables": [
            {"name": "pod", "expression": "object.spec.template.spec"},
            {"name": "template", "expression": "params.spec.jobTemplate.spec.template.spec"},
        ],
        "validations": [_one_container(), *_same_pod(), *_same_container(), *_environment()],
    }
    binding = {
        "policyName": _NAME,
        "paramRef": {"name": names.TRAINER, "namespace": names.NAMESPACE, "parameterNotFoundAction": "Deny"},
        "validationActions": ["Deny"],
    }
    return [
        {"apiVersion": _VERSION, "kind": kind, "metadata": {"name": _NAME}, "spec": spec}
        for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding))
    ]


def _one_container() -> dict[str, str]:
    return _validation("size(variables.pod.containers) == 1", "should have one container")


def _same_pod() -> list[dict[str, str]]:
    return [_validation(_same(_POD, _TEMPLATE, field), _differs(field)) for field in _POD_FIELDS]


def _same_container() -> list[dict[str, str]]:
    return [
        _validation(_same(f"{_POD}.containers[0]", f"{_TEMPLATE}.containers[0]", field), _differs(f"container.{field}"))
        for field in _CONTAINER_FIELDS
    ]


def _environment() -> list[dict[str, str]]:
    """Rules of the variables. Of two with one name the last counts, so none may appear twice."""
    own, templates = f"{_POD}.containers[0].env", f"{_TEMPLATE}.containers[0].env"
    run = sorted(RunIdentity("", "", "").to_environment())
    return [
        _validation(f"{templates}.all(t, {own}.exists_one(e, e == t))", _differs("container.env")),
        _validation(
            f"{own}.all(e, {templates}.exists(t, t == e) || (e.name in {run} && !has(e.valueFrom)))",
            f"has a variable beside the template's and {', '.join(run)}",
        ),
        _validation(f"{own}.all(e, {own}.exists_one(other, other.name == e.name))", "has a variable twice"),
    ]


def _same(one: str, other: str, field: str) -> str:
    one, other = f"{one}.{field}", f"{other}.{field}"
    return f"has({one}) == has({other}) && (!has({one}) || {one} == {other})"


def _differs(field: str) -> str:
    return f"differs from CronJob {names.TRAINER} in {field}"


def _validation(expression: str, problem: str) -> dict[str, str]:
    return {"expression": expression, "message": f"the trainer's Job {problem}"}
