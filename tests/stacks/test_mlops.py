"""What is deployed if FedML's hosted platform is the control plane."""

import json
from typing import Any

import pytest

from fedsilo import names
from fedsilo.config.federation import Party
from tests.support.access import Policies, Question, Who, key_arn, simulate
from tests.support.cloudformation import ACCOUNT
from tests.support.synthesis import Synthesized

SECRET = "hosted/fedml-api-key"  # noqa: S105 - its name


def agent(mlops: Synthesized, party: Party) -> dict[str, Any]:
    deployment: dict[str, Any] = mlops.objects(party, "Deployment")[names.AGENT]
    return deployment


def test_cluster_runs_fedmls_agent_instead_of_fedsilos_control_plane(mlops: Synthesized) -> None:
    for party in mlops.federation.parties:
        (container,) = agent(mlops, party)["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["python", "-m", "fedsilo.mlops.agent"]
        assert {"name": names.MLOPS_SECRET_VARIABLE, "value": SECRET} in container["env"]
        assert container["workingDir"] in {mount["mountPath"] for mount in container["volumeMounts"]}
        for kind in ("CronJob", "Role", "RoleBinding", "ClusterRoleBinding"):
            assert not mlops.objects(party, kind)
        settings = mlops.objects(party, "ConfigMap")["settings"]["data"]
        assert (settings["FEDSILO_PARTY"], settings["FEDSILO_RANK"]) == (party.name, str(party.rank))
    kinds = {resource["Type"] for template in mlops.templates.values() for resource in template["Resources"].values()}
    assert "AWS::SQS::Queue" not in kinds


def test_templates_hold_the_name_of_the_key_but_not_the_key(mlops: Synthesized) -> None:
    for stack, template in mlops.templates.items():
        text = json.dumps(template)
        assert "{{resolve:secretsmanager" not in text
        assert (SECRET in text) == stack.endswith("-workload")


def test_pod_has_no_token_and_one_device_at_a_time(mlops: Synthesized) -> None:
    for party in mlops.federation.parties:
        spec = agent(mlops, party)["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        assert spec["template"]["spec"]["automountServiceAccountToken"] is False
        assert spec["template"]["spec"]["serviceAccountName"] == names.AGENT


def test_pod_has_a_trainers_size_and_fits_in_the_quota(mlops: Synthesized) -> None:
    party = mlops.federation.party("near")
    pod = agent(mlops, party)["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "8Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": "1"},
    }
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    (quota,) = mlops.objects(party, "ResourceQuota").values()
    assert quota["spec"]["hard"]["requests.nvidia.com/gpu"] == "1"
    assert float(quota["spec"]["hard"]["requests.cpu"]) >= 4


def test_pods_accept_no_traffic_and_reach_only_https_and_fedmls_broker(mlops: Synthesized) -> None:
    for party in mlops.federation.parties:
        policies = mlops.objects(party, "NetworkPolicy")
        assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        assert all("ingress" not in policy["spec"] for policy in policies.values())
        rules = policies["allow-aws"]["spec"]["egress"]
        anywhere = [rule for rule in rules if {"ipBlock": {"cidr": "0.0.0.0/0"}} in rule["to"]]
        assert [[port["port"] for port in rule["ports"]] for rule in anywhere] == [[443, 1883]]


def test_image_has_all_of_fedml(mlops: Synthesized) -> None:
    assets = json.loads((mlops.directory / "hosted-far-workload.assets.json").read_text())
    (image,) = assets["dockerImages"].values()
    assert image["source"]["dockerBuildTarget"] == "trainer"
    arguments = image["source"]["dockerBuildArgs"]
    assert arguments["TORCH"] == "requirements/torch-mlops.txt"
    assert arguments["REQUIREMENTS"] == "requirements/mlops.txt"


def questions(mlops: Synthesized, who: Who) -> list[Question]:
    asked = []
    fed = mlops.federation
    for party in fed.parties:
        own = party is who.party
        account = party.account or ACCOUNT
        for name, right in (
            (SECRET, True),
            (f"{SECRET}-2", False),
            (f"{SECRET}-abcdef", False),
            ("hosted/other", False),
        ):
            arn = f"arn:aws:secretsmanager:{party.region}:{account}:secret:{name}-Xy12zA"
            reads = right and account == (who.party.account or ACCOUNT) and party.region == who.party.region
            asked.append(Question(who, "secretsmanager:GetSecretValue", arn, party, reads))
            asked += [
                Question(who, f"secretsmanager:{action}", arn, party, False)
                for action in ("PutSecretValue", "DeleteSecret", "DescribeSecret")
            ]
        experiment = names.experiment(fed.name, party.rank)
        component = f"arn:aws:sagemaker:{party.region}:{account}:experiment-trial-component/{experiment}-mlops-7"
        asked.append(Question(who, "sagemaker:BatchPutMetrics", component, party, own))
        asked.append(Question(who, "sagemaker:DeleteTrialComponent", component, party, False))
        if party.data == "s3":
            bucket = names.data_bucket(fed.name, party.name, account, party.region)
            for action in ("GetObject", "PutObject"):
                arn = names.bucket_arn(bucket, "heart_disease.csv")
                asked.append(Question(who, f"s3:{action}", arn, party, own and action == "GetObject"))
            (key,) = [
                key_arn(party, stack, logical_id)
                for stack, logical_id, _ in mlops.resources("AWS::KMS::Key")
                if stack == names.stack(fed.name, party.name, "data")
            ]
            asked.append(Question(who, "kms:Decrypt", key, party, own))
    mail = names.mail_bucket(fed.name, fed.aggregator.account or ACCOUNT, fed.aggregator.region)
    asked.append(Question(who, "s3:GetObject", names.bucket_arn(mail, "runs/run-1/run.json"), fed.aggregator, False))
    return asked


@pytest.mark.parametrize("party", ["aggregator", "near", "far"])
def test_agent_may_only_read_the_key_and_its_own_data_and_record_its_own_experiment(
    mlops: Synthesized, party: str
) -> None:
    owner = mlops.federation.party(party)
    role = names.agent_role(mlops.federation.name, party)
    asked = questions(mlops, Who("agent", owner, names.role_arn(role, owner.account or ACCOUNT)))
    policies = Policies(mlops)
    results = simulate([policies.simulation(question) for question in asked])
    wrong = [
        f"{question}: {result}"
        for question, result in zip(asked, results, strict=True)
        if (result == "Allowed") != question.expected or result.startswith("error")
    ]
    assert wrong == []
    assert sum(question.expected for question in asked) >= 2


def test_fedmls_buckets_are_reached_in_the_partys_own_region_too(mlops: Synthesized) -> None:
    """The gateway endpoint catches all traffic to S3 in the Region, and FedML's credentials are not the party's."""
    endpoints = [properties for _, _, properties in mlops.resources("AWS::EC2::VPCEndpoint")]
    assert len(endpoints) == len(mlops.federation.parties)
    assert all("PolicyDocument" not in endpoint for endpoint in endpoints)
