"""The Kubernetes objects of a party, as plain dictionaries. They need no CDK, so they can be tested by themselves."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from fedsilo import names
from fedsilo.agent.health import Probe
from fedsilo.agent.launcher import RETRIES
from fedsilo.config.federation import SERVICE_CIDR, Compute, Party
from fedsilo.states import TrainerExit

Manifest = dict[str, Any]

_USER = 65532
"""The user id in workloads/image/Dockerfile."""

_AGENT_RESOURCES = {"cpu": "100m", "memory": "256Mi"}

_AGENT_SCRATCH = "256Mi"
"""How much the agent may write below HOME, and again below TMPDIR."""

_TRAINER_HOME_GIB = 4
"""How much a trainer may write below HOME: FedML's logs, and at FedML's own agent its packages."""

_MAILS = 3
"""Files of a model's size that a trainer may have below TMPDIR: a mail that comes, one that goes, and one to spare."""

_SHARED_MEMORY_GIB = 1
"""The memory that processes on several GPUs may share, for each GPU. It counts as the trainer's memory. Without it
they would have 64 MiB, and NCCL needs more:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html#shared-memory"""

_HOME = "/home/fedsilo"
_POLICY_FOLDER = "/etc/fedsilo"

_POD_FAILURE_RULES = [
    # Another try would fail the same way.
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": names.TRAINER, "operator": "In", "values": [TrainerExit.FATAL.value]},
    },
    # The pod was evicted or preempted, or its node was drained: the trainer did not fail.
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
]
"""Every other failure counts as one of the tries."""

_NOT_DISRUPTED = {"karpenter.sh/do-not-disrupt": "true"}
"""Auto Mode moves no pod with this annotation to save a node: https://karpenter.sh/docs/concepts/disruption/."""

_JOB_TTL_SECONDS = 3600
"""How long a finished Job stays, so that the agent or a person can still see how it ended."""

_MAX_JOBS = 1000
"""Jobs in the namespace, with the finished ones: enough for a run every four seconds."""

_POD_IDENTITY_AGENT = "169.254.170.23/32"
_RESOLVER = "169.254.169.253/32"


def network_policy_controller() -> Manifest:
    """Auto Mode enforces network policies only with this setting.

    https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
        "data": {"enable-network-policy-controller": "true"},
    }


def gpu_node_pool(compute: Compute) -> Manifest:
    """A pool of NVIDIA nodes for trainers with a GPU only. A node is removed ten minutes after its last trainer.

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
                        *_kinds_of_gpus(compute),
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


def _kinds_of_gpus(compute: Compute) -> list[Manifest]:
    """What the party asks of its GPUs, besides their number."""
    kinds: list[Manifest] = []
    if compute.gpu_families:
        families = list(compute.gpu_families)
        kinds.append({"key": "eks.amazonaws.com/instance-family", "operator": "In", "values": families})
    if compute.gpu_memory_gib:
        less = str(compute.gpu_memory_gib * 1024 - 1)  # the label counts MiB
        kinds.append({"key": "eks.amazonaws.com/instance-gpu-memory", "operator": "Gt", "values": [less]})
    return kinds


def namespace() -> Manifest:
    """The namespace of the agent and the trainers. It admits only pods that satisfy Pod Security *restricted*."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.NAMESPACE,
            "labels": {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")},
        },
    }


def quota(compute: Compute) -> Manifest:
    """A quota with room for the agent and for as many trainers as the spec says."""
    cpu = compute.cpu * compute.nodes + 0.1
    memory = compute.memory_gib * compute.nodes + 0.25
    hard = {
        "requests.cpu": f"{cpu:g}",
        "requests.memory": f"{memory:g}Gi",
        "limits.memory": f"{memory:g}Gi",
        "pods": str(compute.nodes + 2),
        "count/jobs.batch": str(_MAX_JOBS),
    }
    if compute.gpu:
        hard["requests.nvidia.com/gpu"] = str(compute.gpu * compute.nodes)
    return _object("v1", "ResourceQuota", "fedsilo", spec={"hard": hard})


def service_account(name: str) -> Manifest:
    """A service account. Each pod says itself whether it gets the account's token."""
    return _object("v1", "ServiceAccount", name, automountServiceAccountToken=False)


def agent_rbac() -> list[Manifest]:
    """The agent may make, watch and remove Jobs, and read the trainers' template, pods and logs."""
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


def network_policies(party: Party, *more_ports: int) -> list[Manifest]:
    """Policies that allow no incoming traffic, and only DNS, credentials and HTTPS as outgoing traffic.

    HTTPS may go to every address, because the addresses of S3's gateway endpoint are public and change. The VPC's
    routes and endpoint policies limit what it reaches.

    Args:
        party: The owner of the cluster.
        more_ports: Further TCP ports for outgoing traffic.
    """

    def to(*cidrs: str) -> list[Manifest]:
        return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]

    egress = [
        {
            "to": to(SERVICE_CIDR, party.vpc_cidr, _RESOLVER),
            "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
        },
        {"to": to(_POD_IDENTITY_AGENT), "ports": [{"protocol": "TCP", "port": 80}]},
        {"to": to("0.0.0.0/0"), "ports": [{"protocol": "TCP", "port": port} for port in (443, *more_ports)]},
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
    """The environment variables of every pod."""
    return _object("v1", "ConfigMap", "settings", data=dict(values))


def policy(party: Party) -> Manifest:
    """The file with the party's policy, which the agent and the trainers read."""
    return _object("v1", "ConfigMap", "policy", data={"policy.json": party.policy.model_dump_json(indent=2)})


def agent(image: str) -> Manifest:
    """The agent's Deployment. It has one replica: a party has one agent."""
    container = {
        **_container("agent", image, ["fedsilo", "agent"]),
        "resources": {"requests": _AGENT_RESOURCES, "limits": {"memory": _AGENT_RESOURCES["memory"]}},
        "livenessProbe": _probe(Probe.ALIVE, period=300),
        "readinessProbe": _probe(Probe.READY, period=120),
    }
    container["env"] = [
        *container["env"],
        {"name": "FEDSILO_LAUNCHER", "value": "kubernetes"},
    ]
    pod = _with_policy(_pod(names.AGENT, container, home=_AGENT_SCRATCH, tmp=_AGENT_SCRATCH))
    pod["automountServiceAccountToken"] = True
    return _agent_deployment(pod)


def mlops_agent(image: str, party: Party, secret: str) -> Manifest:
    """The Deployment of FedML's own agent. The agent trains in its own pod, so the pod has a trainer's size."""
    container = {
        **_container(names.AGENT, image, ["python", "-m", "fedsilo.mlops.agent"]),
        "resources": _trainer_resources(party.compute),
        "workingDir": _HOME,
    }
    container["env"] = [*container["env"], {"name": names.MLOPS_SECRET_VARIABLE, "value": secret}]
    return _agent_deployment(_training_pod(names.AGENT, container, party.compute))


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
    """A probe that checks the age of a file. It runs seldom, because it is a process of 0.2 CPU seconds."""
    command = ["fedsilo", "agent", "--probe", probe.value]
    return {"exec": {"command": command}, "initialDelaySeconds": 10, "periodSeconds": period, "timeoutSeconds": 10}


def trainer(image: str, party: Party) -> Manifest:
    """The template of every trainer: a suspended CronJob.

    The agent copies it and adds the run's id. Without an id, a trainer ends with a usage error.
    """
    container = {
        **_container("trainer", image, ["fedsilo", "trainer"]),
        "resources": _trainer_resources(party.compute),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod = {**_with_policy(_training_pod(names.TRAINER, container, party.compute)), "restartPolicy": "Never"}
    job = {
        "backoffLimit": RETRIES,
        "podFailurePolicy": {"rules": _POD_FAILURE_RULES},
        "activeDeadlineSeconds": int(party.policy.max_hours * 3600),
        "ttlSecondsAfterFinished": _JOB_TTL_SECONDS,
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": names.TRAINER}, "annotations": _NOT_DISRUPTED},
            "spec": pod,
        },
    }
    return _object(
        "batch/v1",
        "CronJob",
        names.TRAINER,
        spec={"schedule": "0 0 1 1 *", "suspend": True, "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}},
    )


def _trainer_resources(compute: Compute) -> Manifest:
    limits = {"memory": f"{compute.memory_gib:g}Gi"}
    if compute.gpu:
        limits["nvidia.com/gpu"] = str(compute.gpu)
    disk = f"{_TRAINER_HOME_GIB + _tmp_gib(compute)}Gi"
    return {"requests": {"cpu": f"{compute.cpu:g}", "ephemeral-storage": disk, **limits}, "limits": limits}


def _tmp_gib(compute: Compute) -> int:
    """How much a trainer may write below TMPDIR: mail, and a GiB for everything else."""
    return 1 + ceil(_MAILS * compute.model_gib)


def _training_pod(service_account: str, container: Manifest, compute: Compute) -> Manifest:
    """A pod that trains: it has disk for mail, and its processes on several GPUs share memory."""
    pod = _pod(service_account, container, home=f"{_TRAINER_HOME_GIB}Gi", tmp=f"{_tmp_gib(compute)}Gi")
    if compute.gpu:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    if compute.gpu > 1:
        size = f"{_SHARED_MEMORY_GIB * compute.gpu}Gi"
        pod["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
        container["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return pod


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


def _pod(service_account: str, container: Manifest, *, home: str, tmp: str) -> Manifest:
    """A pod that satisfies Pod Security *restricted*. It can write only to its volumes, which are removed with it."""
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
        "volumes": [{"name": name, "emptyDir": {"sizeLimit": size}} for name, size in (("home", home), ("tmp", tmp))],
    }


def _with_policy(pod: Manifest) -> Manifest:
    """The pod, whose container finds the party's policy in a file."""
    (container,) = pod["containers"]
    variable = {"name": "FEDSILO_POLICY_FILE", "value": f"{_POLICY_FOLDER}/policy.json"}
    mount = {"name": "policy", "mountPath": _POLICY_FOLDER, "readOnly": True}
    container = {
        **container,
        "env": [*container["env"], variable],
        "volumeMounts": [*container["volumeMounts"], mount],
    }
    volume = {"name": "policy", "configMap": {"name": "policy"}}
    return {**pod, "containers": [container], "volumes": [*pod["volumes"], volume]}


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
