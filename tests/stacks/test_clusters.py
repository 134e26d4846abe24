"""Each cluster is private, encrypted and logged. cdk-nag has no rules for aws_eks_v2, so these tests have them."""

import json
from typing import Any

from aws_cdk import aws_eks_v2 as eks

from fedsilo import names
from fedsilo.config.add_ons import ADD_ONS
from fedsilo.config.federation import Party
from stacks import add_on_versions
from stacks.cluster import KUBERNETES
from tests.support.cloudformation import ACCOUNT
from tests.support.synthesis import Synthesized

KIND = "AWS::EKS::Cluster"


def test_every_party_has_a_cluster_of_its_own_in_a_vpc_of_its_own(synthesized: Synthesized) -> None:
    clusters = list(synthesized.resources(KIND))
    vpcs = [properties["CidrBlock"] for _, _, properties in synthesized.resources("AWS::EC2::VPC")]
    assert len(clusters) == len(set(vpcs)) == len(synthesized.federation.parties)
    assert len({properties["Name"] for _, _, properties in clusters}) == len(clusters)


def test_endpoint_is_private_unless_the_spec_names_networks(synthesized: Synthesized) -> None:
    for stack, _, properties in synthesized.resources(KIND):
        vpc = properties["ResourcesVpcConfig"]
        named = [*synthesized.party_of(stack).endpoint_cidrs]
        assert vpc["EndpointPrivateAccess"] is True
        assert vpc["EndpointPublicAccess"] is bool(named)
        assert vpc.get("PublicAccessCidrs", []) == named


def test_everything_is_logged_into_a_group_that_is_encrypted_and_made_first(synthesized: Synthesized) -> None:
    groups = {p["LogGroupName"]: (p, logical_id) for _, logical_id, p in synthesized.resources("AWS::Logs::LogGroup")}
    for stack, logical_id, properties in synthesized.resources(KIND):
        types = {entry["Type"] for entry in properties["Logging"]["ClusterLogging"]["EnabledTypes"]}
        assert types == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
        assert len(types) == len(eks.ClusterLoggingTypes)
        group, group_id = groups[f"/aws/eks/{properties['Name']}/cluster"]
        assert group["KmsKeyId"]
        assert group["RetentionInDays"] >= 365
        assert group_id in synthesized.templates[stack]["Resources"][logical_id]["DependsOn"]


def test_secrets_are_encrypted_with_a_key_of_the_partys_own_that_rotates(synthesized: Synthesized) -> None:
    for stack, _, properties in synthesized.resources(KIND):
        (encryption,) = properties["EncryptionConfig"]
        assert encryption["Resources"] == ["secrets"]
        key = synthesized.templates[stack]["Resources"][encryption["Provider"]["KeyArn"].rpartition(f"{stack}-")[2]]
        assert key["Properties"]["EnableKeyRotation"] is True


def test_nobody_has_access_but_whom_the_spec_names_and_the_function_that_deploys(synthesized: Synthesized) -> None:
    for stack, _, properties in synthesized.resources(KIND):
        assert properties["AccessConfig"] == {
            "AuthenticationMode": "API",
            "BootstrapClusterCreatorAdminPermissions": False,
        }
        entries = [p for where, _, p in synthesized.resources("AWS::EKS::AccessEntry") if where == stack]
        access = synthesized.party_of(stack).access
        assert len(entries) == len(access) + 1
        people = {
            entry["PrincipalArn"]: entry["AccessPolicies"][0]["PolicyArn"].rpartition("/")[2]
            for entry in entries
            if "KubectlProviderHandler" not in entry["PrincipalArn"]
        }
        levels = {"view": "AmazonEKSAdminViewPolicy", "admin": "AmazonEKSClusterAdminPolicy"}
        assert people == {entry.principal: levels[entry.level] for entry in access}


def test_auto_mode_runs_the_current_version_with_a_kubectl_of_the_same(synthesized: Synthesized) -> None:
    for stack, _, properties in synthesized.resources(KIND):
        assert properties["Version"] == KUBERNETES.version == "1.36"
        assert properties["ComputeConfig"]["Enabled"] is True
        assert properties["StorageConfig"]["BlockStorage"]["Enabled"] is True
        layers = [
            p["Description"] for where, _, p in synthesized.resources("AWS::Lambda::LayerVersion") if where == stack
        ]
        assert any("1.36" in layer for layer in layers), layers


def test_cluster_never_pays_for_extended_support(synthesized: Synthesized) -> None:
    """Without a policy, a cluster moves on to extended support, at six times the price."""
    for _, _, properties in synthesized.resources(KIND):
        assert properties["UpgradePolicy"] == {"SupportType": "STANDARD"}


def test_roles_of_pods_are_only_for_pods_of_the_partys_own_cluster(whichever: Synthesized) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html"""
    checked = 0
    for stack, template in whichever.templates.items():
        roles = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::IAM::Role"]
        trusts = whichever.resolver(stack)([role["Properties"]["AssumeRolePolicyDocument"] for role in roles])
        for statement in [statement for trust in trusts for statement in trust["Statement"]]:
            if statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}:
                party = whichever.party_of(stack)
                account, cluster = party.account or ACCOUNT, names.cluster(whichever.federation.name, party.name)
                assert statement["Condition"] == {
                    "StringEquals": {"aws:SourceAccount": account},
                    "ArnEquals": {"aws:SourceArn": f"arn:aws:eks:{party.region}:{account}:cluster/{cluster}"},
                }
                checked += 1
    assert checked >= len(whichever.federation.parties)


def add_ons(synthesized: Synthesized, party: Party) -> dict[str, tuple[str, dict[str, Any]]]:
    """The logical id and the properties of the party's add-ons, by name."""
    return {
        properties["AddonName"]: (logical_id, properties)
        for stack, logical_id, properties in synthesized.resources("AWS::EKS::Addon")
        if synthesized.party_of(stack) == party
    }


def test_cluster_has_the_add_ons_of_the_spec_at_their_pinned_versions(synthesized: Synthesized) -> None:
    for party in synthesized.federation.parties:
        made = add_ons(synthesized, party)
        assert set(made) == set(party.add_ons)
        for name, (_, properties) in made.items():
            assert properties["AddonVersion"] == add_on_versions.pinned(name, KUBERNETES.version)
            assert properties["PreserveOnDelete"] is False
            accounts = [identity["ServiceAccount"] for identity in properties.get("PodIdentityAssociations", [])]
            assert accounts == [account for account in [ADD_ONS[name].service_account] if account]


def test_add_on_comes_after_what_it_needs(everything: Synthesized) -> None:
    made = add_ons(everything, everything.federation.party("near"))
    adot, needed = made["adot"][0], made["cert-manager"][0]
    assert needed in everything.templates["every-near-cluster"]["Resources"][adot]["DependsOn"]


def test_container_insights_has_its_log_group_and_takes_nothing_that_a_pod_prints(everything: Synthesized) -> None:
    """A trainer prints what its workload prints, which may hold values of the data."""
    party = everything.federation.party("near")
    _, properties = add_ons(everything, party)["amazon-cloudwatch-observability"]
    assert json.loads(properties["ConfigurationValues"]) == {"containerLogs": {"enabled": False}}
    groups = {p["LogGroupName"]: p for stack, _, p in everything.resources("AWS::Logs::LogGroup") if "-near-" in stack}
    assert set(groups) == {"/aws/eks/every-near/cluster", "/aws/containerinsights/every-near/performance"}
    assert all(group["KmsKeyId"] and group["RetentionInDays"] >= 365 for group in groups.values())
    [policy] = [
        p["KeyPolicy"] for stack, _, p in everything.resources("AWS::KMS::Key") if stack == "every-near-cluster"
    ]
    [context] = [s["Condition"]["ArnEquals"] for s in policy["Statement"] if "ArnEquals" in s.get("Condition", {})]
    allowed = {arn.partition(":log-group:")[2] for arn in context["kms:EncryptionContext:aws:logs:arn"]}
    assert allowed == set(groups)


def test_own_manifests_come_after_the_add_ons_and_their_namespace_first(everything: Synthesized) -> None:
    resources = everything.templates["every-near-cluster"]["Resources"]
    own = {logical_id: r for logical_id, r in resources.items() if logical_id.startswith("Own")}
    (settings,) = [r for logical_id, r in own.items() if "ConfigMap" in logical_id]
    (namespace,) = [logical_id for logical_id in own if "ConfigMap" not in logical_id]
    assert namespace in settings["DependsOn"]
    assert {logical_id for logical_id, _ in add_ons(everything, everything.federation.party("near")).values()} <= {
        *settings["DependsOn"]
    }
