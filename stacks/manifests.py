"""The Kubernetes objects of a party, as plain dictionaries. No CDK in here: they can be read and checked alone."""

from collections.abc import Mapping
from typing import Any

from fedsilo import names
from fedsilo.agent.health import Probe
from fedsilo.agent.launcher import RETRIES
from fedsilo.config.federation import SERVICE_CIDR, Compute, Party
from fedsilo.states import TrainerExit

Manifest = dict[str, Any]

_USER = 65532
"""The user of workloads/image/Dockerfile."""

_AGENT_RESOURCES = {"cpu": "100m", "memory": "256Mi"}

_SCRATCH = "4Gi"
"""What a trainer may write below HOME and TMPDIR, together twice this: FedML's logs, and mail on its way."""

_HOME = "/home/fedsilo"
_POLICY_FOLDER = "/etc/fedsilo"

_WHAT_FAILURES_MEAN = [
    # Another try would end the same way.
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": names.TRAINER, "operator": "In", "values": [TrainerExit.FATAL.value]},
    },
    # Evicted or preempted, or its node was drained: no fault of the trainer's.
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
]
"""All other failures count as one of the tries."""

_KEEP_FINISHED_JOBS = 3600
"""Seconds that a finished Job stays, so that the agent, or a person, can still see how it ended."""

_MOST_JOBS = 1000
"""Jobs in the namespace, finished ones included: a run every four seconds for as long as they stay."""

_POD_IDENTITY_AGENT = "169.254.170.23/32"
_RESOLVER = "169.254.169.253/32"


def network_policy_controller() -> Manifest:
    """Auto Mode takes network policies and does not enforce them until told to.

    https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
        "data": {"enable-network-policy-controller": "true"},
    }


def gpu_node_pool(compute: Compute) -> Manifest:
    """NVIDIA nodes that only trainers with a GPU get, and that are gone ten minutes after the last of them.

    https://docs.aws.amazon.com/eks/latest/userguide/auto-accelerated.html
    """
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "gpu"},
        "spec": {
            "template": {
                "spec": {
                    "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
                    "requirements": [
                        {
                            "key": "eks.amazonaws.com/instance-gpu-manufacturer",
                            "operator": "In",
                            "values": ["nvidia"],
                        },
                        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    ],
                    "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
                }
            },
            "limits": {"nvidia.com/gpu": str(compute.gpu * compute.nodes)},
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "10m"},
        },
    }


def namespace() -> Manifest:
    """The namespace of agent and trainers; only pods as Pod Security *restricted* wants them get in."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.NAMESPACE,
            "labels": {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")},
        },
    }


def quota(compute: Compute) -> Manifest:
    """Room for the agent and for as many trainers as the spec says."""
    cpu = compute.cpu * compute.nodes + 0.1
    memory = compute.memory_gib * compute.nodes + 0.25
    hard = {
        "requests.cpu": f"{cpu:g}",
        "requests.memory": f"{memory:g}Gi",
        "limits.memory": f"{memory:g}Gi",
        "pods": str(compute.nodes + 2),
        "count/jobs.batch": str(_MOST_JOBS),
    }
    if compute.gpu:
        hard["requests.nvidia.com/gpu"] = str(compute.gpu * compute.nodes)
    return _object("v1", "ResourceQuota", "fedsilo", spec={"hard": hard})


def service_account(name: str) -> Manifest:
    """An account for pods; whether one gets its token is said by the pod."""
    return _object("v1", "ServiceAccount", name, automountServiceAccountToken=False)


def agent_rbac() -> list[Manifest]:
    """The agent makes, watches and removes Jobs from the trainer's template, and reads their pods and logs."""
    rules = [
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "resourceNames": [names.TRAINER], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    subject = {"kind": "ServiceAccount", "name": names.AGENT, "namespace": names.NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names.AGENT}
    version = "rbac.authorization.k8s.io/v1"
    return [
        _object(version, "Role", names.AGENT, rules=rules),
        _object(version, "RoleBinding", names.AGENT, subjects=[subject], roleRef=role),
    ]


def network_policies(party: Party, *also: int) -> list[Manifest]:
    """Nothing comes in; DNS, credentials and HTTPS go out, and TCP to the ports ``also``.

    HTTPS is open to every address because those of S3's gateway endpoint are public ones that change; the VPC's
    routes and endpoint policies say where it gets to.
    """

    def to(*cidrs: str) -> list[Manifest]:
        return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]

    egress = [
        {
            "to": to(SERVICE_CIDR, party.vpc_cidr, _RESOLVER),
            "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
        },
        {"to": to(_POD_IDENTITY_AGENT), "ports": [{"protocol": "TCP", "port": 80}]},
        {"to": to("0.0.0.0/0"), "ports": [{"protocol": "TCP", "port": port} for port in (443, *also)]},
    ]
    version = "networking.k8s.io/v1"
    return [
        _object(version, "NetworkPolicy", "deny-all", spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        _object(
            version,
            "NetworkPolicy",
            "allow-aws",
            spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": egress},
        ),
    ]


def settings(values: Mapping[str, str]) -> Manifest:
    """What every pod has as environment variables."""
    return _object("v1", "ConfigMap", "settings", data=dict(values))


def policy(party: Party) -> Manifest:
    """The party's policy, as the file that the agent reads."""
    return _object("v1", "ConfigMap", "policy", data={"policy.json": party.policy.model_dump_json(indent=2)})


def agent(image: str) -> Manifest:
    """The agent's Deployment: one replica, because it alone answers for the party."""
    container = {
        **_container("agent", image, ["fedsilo", "agent"]),
        "resources": {"requests": _AGENT_RESOURCES, "limits": {"memory": _AGENT_RESOURCES["memory"]}},
        "livenessProbe": _probe(Probe.ALIVE, period=300),
        "readinessProbe": _probe(Probe.READY, period=120),
    }
    container["env"] = [
        *container["env"],
        {"name": "FEDSILO_LAUNCHER", "value": "kubernetes"},
        {"name": "FEDSILO_POLICY_FILE", "value": f"{_POLICY_FOLDER}/policy.json"},
    ]
    container["volumeMounts"] = [*container["volumeMounts"], {"name": "policy", "mountPath": _POLICY_FOLDER}]
    pod = _pod(names.AGENT, container, scratch="256Mi")
    pod["automountServiceAccountToken"] = True
    pod["volumes"] = [*pod["volumes"], {"name": "policy", "configMap": {"name": "policy"}}]
    return _agent_deployment(pod)


def mlops_agent(image: str, party: Party, secret: str) -> Manifest:
    """The Deployment of FedML's own agent, which trains in its pod, so the pod has a trainer's size all the time."""
    container = {
        **_container(names.AGENT, image, ["python", "-m", "fedsilo.mlops.agent"]),
        "resources": _trainer_resources(party.compute),
        "workingDir": _HOME,
    }
    container["env"] = [*container["env"], {"name": names.MLOPS_SECRET_VARIABLE, "value": secret}]
    pod = {**_pod(names.AGENT, container, scratch=_SCRATCH), **_tolerations(party.compute)}
    return _agent_deployment(pod)


def _agent_deployment(pod: Manifest) -> Manifest:
    labels = {"app.kubernetes.io/name": names.AGENT}
    return _object(
        "apps/v1",
        "Deployment",
        names.AGENT,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )


def _probe(probe: Probe, *, period: int) -> Manifest:
    """A process of 0.2 CPU seconds that looks at a file; so it comes seldom, and nothing has to listen."""
    command = ["fedsilo", "agent", "--probe", probe.value]
    return {"exec": {"command": command}, "initialDelaySeconds": 10, "periodSeconds": period, "timeoutSeconds": 10}


def trainer(image: str, party: Party) -> Manifest:
    """The template of every trainer: a CronJob that never starts a Job itself.

    The agent copies it and adds the run's id. Without an id, a trainer ends with a usage error.
    """
    container = {
        **_container("trainer", image, ["fedsilo", "trainer"]),
        "resources": _trainer_resources(party.compute),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod = {
        **_pod(names.TRAINER, container, scratch=_SCRATCH),
        "restartPolicy": "Never",
        **_tolerations(party.compute),
    }
    job = {
        "backoffLimit": RETRIES,
        "podFailurePolicy": {"rules": _WHAT_FAILURES_MEAN},
        "activeDeadlineSeconds": int(party.policy.max_hours * 3600),
        "ttlSecondsAfterFinished": _KEEP_FINISHED_JOBS,
        "template": {"metadata": {"labels": {"app.kubernetes.io/name": names.TRAINER}}, "spec": pod},
    }
    return _object(
        "batch/v1",
        "CronJob",
        names.TRAINER,
        spec={"schedule": "0 0 1 1 *", "suspend": True, "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}},
    )


def _trainer_resources(compute: Compute) -> Manifest:
    size: dict[str, str] = {"cpu": f"{compute.cpu:g}", "memory": f"{compute.memory_gib:g}Gi"}
    gpu = {"nvidia.com/gpu": str(compute.gpu)} if compute.gpu else {}
    return {"requests": {**size, **gpu}, "limits": {"memory": size["memory"], **gpu}}


def _tolerations(compute: Compute) -> Manifest:
    if not compute.gpu:
        return {}
    return {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}


def _object(version: str, kind: str, name: str, **body: Any) -> Manifest:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": names.NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "fedsilo"},
        },
        **body,
    }


def _pod(service_account: str, container: Manifest, *, scratch: str) -> Manifest:
    """A pod as Pod Security *restricted* wants it. Its only writable places are two that go with it."""
    return {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": name, "emptyDir": {"sizeLimit": scratch}} for name in ("home", "tmp")],
    }


def _container(name: str, image: str, command: list[str]) -> Manifest:
    return {
        "name": name,
        "image": image,
        "command": command,
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [{"name": "HOME", "value": _HOME}, {"name": "TMPDIR", "value": "/tmp"}],  # noqa: S108
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": _HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
