"""Each cluster is private, encrypted and logged. cdk-nag has no rules for aws_eks_v2, so these tests have them."""

from aws_cdk import aws_eks_v2 as eks

from fedsilo import names
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
    assert checked >= 2 * len(whichever.federation.parties)


def test_add_ons_are_installed_and_removed_with_the_cluster(synthesized: Synthesized) -> None:
    for stack, _, _ in synthesized.resources(KIND):
        add_ons = {p["AddonName"]: p for where, _, p in synthesized.resources("AWS::EKS::Addon") if where == stack}
        assert set(add_ons) == {"metrics-server", "amazon-cloudwatch-observability"}
        assert all(p["PreserveOnDelete"] is False for p in add_ons.values())
        (identity,) = add_ons["amazon-cloudwatch-observability"]["PodIdentityAssociations"]
        assert identity["ServiceAccount"] == "cloudwatch-agent"
