"""The Kubernetes objects satisfy Kubernetes' schemas and the rules of this project."""

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest

from fedsilo import names
from fedsilo.config.federation import Aggregator, Compute, Party
from fedsilo.config.policy import Policy
from stacks import manifests
from stacks.cluster import KUBERNETES
from tests.support.synthesis import Synthesized

CUSTOM = {"NodePool"}
"""Kinds of custom resources, for which Kubernetes has no schema."""


def pods(synthesized: Synthesized) -> Iterator[tuple[Party, str, dict[str, Any]]]:
    """The pod specs of each party's agent and trainers: party, service account and spec."""
    for party in synthesized.federation.parties:
        agent = synthesized.objects(party, "Deployment")[names.AGENT]
        yield party, names.AGENT, agent["spec"]["template"]["spec"]
        for trainer in synthesized.objects(party, "CronJob").values():
            yield party, names.TRAINER, trainer["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_every_manifest_is_valid_for_kubernetes(whichever: Synthesized) -> None:
    checked = 0
    for party in whichever.federation.parties:
        for manifest in whichever.manifests(party.name):
            if manifest["kind"] not in CUSTOM:
                kubernetes_validate.validate(manifest, KUBERNETES.version, strict=True)
                checked += 1
    of_party = {"self-hosted": 15, "mlops": 8}[whichever.federation.control_plane]
    own = sum(2 for party in whichever.federation.parties if party.manifests)
    assert checked == of_party * len(whichever.federation.parties) + own


def test_pods_satisfy_pod_security_restricted(whichever: Synthesized) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for party, _, pod in pods(whichever):
        labels = whichever.objects(party, "Namespace")[names.NAMESPACE]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_pod_can_write_only_to_volumes_that_are_removed_with_it(whichever: Synthesized) -> None:
    for _, _, pod in pods(whichever):
        (container,) = pod["containers"]
        empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        places = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in empty}
        home_and_tmp = {each["value"] for each in container["env"] if each["name"] in ("HOME", "TMPDIR")}
        assert places - {"/dev/shm"} == home_and_tmp  # noqa: S108


def test_only_the_agent_has_a_token_for_the_kubernetes_api(synthesized: Synthesized) -> None:
    for party, name, pod in pods(synthesized):
        assert pod["serviceAccountName"] == name
        assert pod["automountServiceAccountToken"] is (name == names.AGENT)
        accounts = synthesized.objects(party, "ServiceAccount")
        assert all(account["automountServiceAccountToken"] is False for account in accounts.values())


def test_agent_may_run_jobs_in_its_own_namespace_and_nothing_else(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        (binding,) = synthesized.objects(party, "RoleBinding").values()
        assert not synthesized.objects(party, "ClusterRoleBinding")
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": names.AGENT, "namespace": names.NAMESPACE}]
        role = synthesized.objects(party, "Role")[binding["roleRef"]["name"]]
        allowed = {
            (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        assert allowed == {
            ("cronjobs", "get"),
            *(("jobs", verb) for verb in ("create", "list", "watch", "delete")),
            ("pods", "list"),
            ("pods/log", "get"),
        }


def test_pods_accept_no_traffic_and_send_only_dns_credentials_and_https(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        policies = synthesized.objects(party, "NetworkPolicy")
        deny = policies.pop("deny-all")["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        (allow,) = policies.values()
        assert allow["spec"]["policyTypes"] == ["Egress"]
        open_ports = {port["port"]: rule["to"] for rule in allow["spec"]["egress"] for port in rule["ports"]}
        assert set(open_ports) == {53, 80, 443}
        assert {"ipBlock": {"cidr": "0.0.0.0/0"}} not in open_ports[53] + open_ports[80]
        (controller,) = [m for m in synthesized.manifests(party.name) if m["metadata"]["name"] == "amazon-vpc-cni"]
        assert controller["data"] == {"enable-network-policy-controller": "true"}


def test_trainer_is_a_suspended_template(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        spec = synthesized.objects(party, "CronJob")[names.TRAINER]["spec"]
        job = spec["jobTemplate"]["spec"]
        assert spec["suspend"] is True
        assert job["activeDeadlineSeconds"] == party.policy.max_hours * 3600
        a_run_a_minute = job["ttlSecondsAfterFinished"] / 60
        quota = synthesized.objects(party, "ResourceQuota")["fedsilo"]["spec"]["hard"]
        assert 0 < a_run_a_minute < int(quota["count/jobs.batch"])
        (container,) = job["template"]["spec"]["containers"]
        assert container["command"] == ["fedsilo", "trainer"]


def test_no_trainer_is_moved_to_save_a_node(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        job = synthesized.objects(party, "CronJob")[names.TRAINER]["spec"]["jobTemplate"]["spec"]
        assert job["template"]["metadata"]["annotations"] == {"karpenter.sh/do-not-disrupt": "true"}


def test_trainer_has_the_size_of_the_spec_and_fits_in_the_quota(everything: Synthesized) -> None:
    party = everything.federation.party("near")
    cronjob = everything.objects(party, "CronJob")[names.TRAINER]
    (container,) = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "13Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": "2"},
    }
    (quota,) = everything.objects(party, "ResourceQuota").values()
    assert quota["spec"]["hard"] == {
        "requests.cpu": "8.1",
        "requests.memory": "32.25Gi",
        "limits.memory": "32.25Gi",
        "requests.nvidia.com/gpu": "4",
        "pods": "4",
        "count/jobs.batch": "1000",
    }


def test_only_a_party_with_gpus_has_gpu_nodes_and_they_are_removed_when_unused(everything: Synthesized) -> None:
    for party in everything.federation.parties:
        pools = everything.objects(party, "NodePool")
        assert set(pools) == ({"gpu"} if party.compute.gpu else set())
    pool = everything.objects(everything.federation.party("near"), "NodePool")["gpu"]["spec"]
    assert pool["disruption"]["consolidationPolicy"] == "WhenEmpty"
    assert pool["limits"] == {"nvidia.com/gpu": "4"}
    cronjob = everything.objects(everything.federation.party("near"), "CronJob")[names.TRAINER]
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["tolerations"][0]["key"] == pool["template"]["spec"]["taints"][0]["key"]


def test_gpu_nodes_are_of_the_families_and_the_memory_that_the_spec_asks_for(everything: Synthesized) -> None:
    pool = everything.objects(everything.federation.party("near"), "NodePool")["gpu"]["spec"]
    asked = {entry["key"].rpartition("/")[2]: entry for entry in pool["template"]["spec"]["requirements"]}
    assert (asked["instance-family"]["operator"], asked["instance-family"]["values"]) == ("In", ["g5", "g6"])
    # An A10G has 22,888 MiB.
    assert (asked["instance-gpu-memory"]["operator"], asked["instance-gpu-memory"]["values"]) == ("Gt", ["22527"])


def test_any_gpu_will_do_where_the_spec_names_none() -> None:
    keys = [entry["key"] for entry in _requirements(Compute(gpu=1))]
    assert not any("family" in key or "memory" in key for key in keys)


def _requirements(compute: Compute) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifests.gpu_node_pool(compute)["spec"]["template"]["spec"]["requirements"]
    return found


def test_trainers_on_several_gpus_share_memory_and_others_do_not(synthesized: Synthesized) -> None:
    for party, account, pod in pods(synthesized):
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]}
        if account == names.TRAINER and party.compute.gpu > 1:
            assert volumes[mounts["/dev/shm"]] == {"medium": "Memory", "sizeLimit": f"{party.compute.gpu}Gi"}  # noqa: S108
        else:
            assert "/dev/shm" not in mounts  # noqa: S108


@pytest.mark.parametrize(
    ("model_gib", "tmp", "requested"), [(1.0, "4Gi", "8Gi"), (2.5, "9Gi", "13Gi"), (16, "49Gi", "53Gi")]
)
def test_trainers_disk_follows_the_models_size(model_gib: float, tmp: str, requested: str) -> None:
    party = aggregator(Compute(model_gib=model_gib))
    pod = manifests.trainer("image", party)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert sizes == {"home": "4Gi", "tmp": tmp}
    assert pod["containers"][0]["resources"]["requests"]["ephemeral-storage"] == requested


def aggregator(compute: Compute) -> Aggregator:
    return Aggregator(region="us-east-1", vpc_cidr="10.0.0.0/16", compute=compute)


def test_policy_reaches_the_agent_and_the_trainers_as_its_owner_wrote_it(synthesized: Synthesized) -> None:
    for party, _, pod in pods(synthesized):
        text = synthesized.objects(party, "ConfigMap")["policy"]["data"]["policy.json"]
        assert Policy.model_validate_json(text) == party.policy
        mounted = {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
        assert mounted == {"policy"}
        (container,) = pod["containers"]
        folder = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "policy")
        assert {"name": "FEDSILO_POLICY_FILE", "value": f"{folder}/policy.json"} in container["env"]


@pytest.mark.parametrize("party", ["aggregator", "near", "far"])
def test_settings_say_who_and_where_the_party_is(everything: Synthesized, party: str) -> None:
    settings = everything.objects(everything.federation.party(party), "ConfigMap")["settings"]["data"]
    data = {"near": "s3://every-near-111111111111-eu-central-1/", "far": "s3://every-far-222222222222-us-west-2/"}
    store = {"near": "s3://every-near-111111111111-store/", "far": "s3://every-far-222222222222-store/"}
    assert settings == {
        "FEDSILO_FEDERATION": "every",
        "FEDSILO_PARTY": party,
        "FEDSILO_RANK": str(everything.federation.party(party).rank),
        "FEDSILO_HUB_ACCOUNT": "111111111111",
        "FEDSILO_HUB_REGION": "eu-central-1",
        "FEDSILO_DATA": data.get(party, "packaged"),
        "FEDSILO_STORE": store.get(party, ""),
        "FEDSILO_AUTHENTICATION_SECONDS": "600.0",
        "FEDSILO_TRACKING": "experiments",
        "FEDSILO_GPUS": str(everything.federation.party(party).compute.gpu),
        "AWS_REGION": everything.federation.party(party).region,
        "AWS_DEFAULT_REGION": everything.federation.party(party).region,
    }


def test_image_is_pinned_by_digest_or_by_its_sources(whichever: Synthesized) -> None:
    for party, account, pod in pods(whichever):
        image = pod["containers"][0]["image"]
        given = party.images.trainer if account == names.TRAINER else party.images.agent
        assert image == given if given else image.rpartition(":")[2].isalnum()


def test_agent_and_trainers_run_different_images(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        images = {pod["containers"][0]["image"] for owner, _, pod in pods(synthesized) if owner is party}
        assert len(images) == 2
