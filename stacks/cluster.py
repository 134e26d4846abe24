"""A party's cluster: EKS Auto Mode, private, encrypted and logged. Only principals that the spec names can use it."""

from collections.abc import Sequence
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk.lambda_layer_kubectl_v36 import KubectlV36Layer
from constructs import Construct, IDependable

from fedsilo import names
from fedsilo.config.add_ons import ADD_ONS
from fedsilo.config.federation import SERVICE_CIDR, Federation, Party
from stacks import addons, manifests, own_manifests
from stacks.base import PartyStack
from stacks.nag import AWS_MANAGED, acknowledge

KUBERNETES = eks.KubernetesVersion.V1_36
"""The version of every cluster. The kubectl layer imported above has to be of the same version."""

_LEVELS = {"view": "AmazonEKSAdminViewPolicy", "admin": "AmazonEKSClusterAdminPolicy"}

_AUTO_MODE = "EKS Auto Mode requires it (docs.aws.amazon.com/eks/latest/userguide/auto-cluster-iam-role.html)"
_ROLE_ACKNOWLEDGED = {
    f"{AWS_MANAGED}{policy}]": _AUTO_MODE
    for policy in (
        "AmazonEKSClusterPolicy",
        "AmazonEKSComputePolicy",
        "AmazonEKSBlockStoragePolicy",
        "AmazonEKSLoadBalancingPolicy",
        "AmazonEKSNetworkingPolicy",
    )
}
_NODE_ACKNOWLEDGED = {
    f"{AWS_MANAGED}{policy}]": "the least that AWS documents for an Auto Mode node"
    for policy in ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
}
_CLUSTER_ACKNOWLEDGED = {
    "Annotation::@aws-cdk/aws-eks:isolatedSubnetsForKubectlPrivateSubnets": "network.py has its endpoints",
}
_KUBECTL = "CDK's own function, which applies manifests and runs only while the stacks change"
_KUBECTL_ACKNOWLEDGED = dict.fromkeys(
    (
        f"{AWS_MANAGED}service-role/AWSLambdaBasicExecutionRole]",
        f"{AWS_MANAGED}service-role/AWSLambdaVPCAccessExecutionRole]",
        f"{AWS_MANAGED}AmazonEC2ContainerRegistryReadOnly]",
        'AwsSolutions-IAM4[Policy::{"Fn::If":["ClusterKubectlProviderHandlerHasEcrPublic69E09706",{"Fn::Join":["",["arn:",'
        '{"Ref":"AWS::Partition"},":iam::aws:policy/AmazonElasticContainerRegistryPublicReadOnly"]]},'
        '{"Ref":"AWS::NoValue"}]}]',
        "AwsSolutions-IAM5[Resource::<ClusterKubectlProviderHandler2E05C68A.Arn>:*]",
        "AwsSolutions-L1",
        "HIPAA.Security-IAMNoInlinePolicy",
        "HIPAA.Security-LambdaConcurrency",
        "HIPAA.Security-LambdaDLQ",
    ),
    _KUBECTL,
)


class ClusterStack(PartyStack):
    """The cluster, its key, log group, node role and add-ons, and a GPU node pool if the spec asks for GPUs."""

    def __init__(self, scope: Construct, *, federation: Federation, party: Party, vpc: ec2.IVpc) -> None:
        super().__init__(
            scope, party.name, "cluster", federation=federation, party=party, description=f"cluster of {party.name}"
        )
        self._cluster_name = names.cluster(federation.name, party.name)
        of_add_ons = [
            group.format(cluster=self._cluster_name) for name in party.add_ons for group in ADD_ONS[name].log_groups
        ]
        control_plane = f"/aws/eks/{self._cluster_name}/cluster"
        key = self._make_key(control_plane, *of_add_ons)
        log_groups = [self._make_log_group("ControlPlane", control_plane, key)]
        log_groups += [self._make_log_group(group.rpartition("/")[2].title(), group, key) for group in of_add_ons]
        self.cluster = self._make_cluster(vpc, key)
        self.cluster.node.add_dependency(*log_groups)
        self._grant_access()
        add_ons = addons.install(self, self.cluster, self._cluster_name, KUBERNETES.version, party.add_ons)
        self._apply_own_manifests(add_ons)
        self.apply("NetworkPolicies", self.cluster, manifests.network_policy_controller())
        if party.compute.gpu:
            self.apply("GpuNodes", self.cluster, manifests.gpu_node_pool(party.compute))
        self.output(
            "Kubeconfig",
            f"aws eks update-kubeconfig --region {party.region} --name {self._cluster_name}",
            "run it, from where the cluster's endpoint can be reached, to use kubectl",
        )

    def _apply_own_manifests(self, add_ons: Sequence[eks.CfnAddon]) -> None:
        """Apply the party's own objects, each by itself: one whose file is taken away is removed from the cluster."""
        before: list[IDependable] = [*add_ons]
        for thing in own_manifests.read(self.party):
            applied = self.apply(f"Own{own_manifests.label(thing)}", self.cluster, thing)
            applied.node.add_dependency(*before)
            if thing["kind"] == "Namespace":
                before.append(applied)

    def _make_log_group(self, id_: str, name: str, key: kms.Key) -> logs.LogGroup:
        """Make a log group for EKS or an add-on. They would make one that is kept for ever and not encrypted."""
        return logs.LogGroup(
            self,
            id_,
            log_group_name=name,
            encryption_key=key,
            retention=logs.RetentionDays.THIRTEEN_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )

    def _make_cluster(self, vpc: ec2.IVpc, key: kms.Key) -> eks.Cluster:
        networks = self.party.endpoint_cidrs
        cluster = eks.Cluster(
            self,
            "Cluster",
            cluster_name=self._cluster_name,
            version=KUBERNETES,
            vpc=vpc,
            vpc_subnets=[ec2.SubnetSelection(subnet_group_name="private")],
            service_ipv4_cidr=SERVICE_CIDR,
            endpoint_access=eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(*networks)
            if networks
            else eks.EndpointAccess.PRIVATE,
            secrets_encryption_key=key,
            cluster_logging=list(eks.ClusterLoggingTypes),
            bootstrap_cluster_creator_admin_permissions=False,
            # Without the built-in pool "system", which would keep a second node running for the add-ons alone.
            compute=eks.ComputeConfig(node_pools=["general-purpose"], node_role=self._make_node_role()),
            kubectl_provider_options=eks.KubectlProviderOptions(kubectl_layer=KubectlV36Layer(self, "Kubectl")),
            prune=False,
            output_config_command=False,
        )
        # Extended support, the default, costs six times as much from 14 months after the version's release on.
        resource = cast(eks.CfnCluster, cluster.node.default_child)
        resource.upgrade_policy = eks.CfnCluster.UpgradePolicyProperty(support_type="STANDARD")
        acknowledge(cluster, _CLUSTER_ACKNOWLEDGED)
        acknowledge(cluster.role, _ROLE_ACKNOWLEDGED)
        acknowledge(cluster.node.find_child("KubectlProvider"), _KUBECTL_ACKNOWLEDGED)
        return cluster

    def _grant_access(self) -> None:
        """Admit the principals that the spec names."""
        for entry, access in enumerate(self.party.access):
            policy = eks.AccessPolicy.from_access_policy_name(
                _LEVELS[access.level], access_scope_type=eks.AccessScopeType.CLUSTER
            )
            self.cluster.grant_access(f"Access{entry}", access.principal, [policy])

    def _make_key(self, *log_groups: str) -> kms.Key:
        """Make one key for the cluster's secrets and for its log groups, which are named."""
        key = kms.Key(
            self,
            "Key",
            description=f"Secrets and logs of cluster {self._cluster_name}",
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{self.party.region}.amazonaws.com")],
                actions=["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                resources=["*"],
                conditions={
                    "ArnEquals": {
                        "kms:EncryptionContext:aws:logs:arn": [
                            f"arn:aws:logs:{self.party.region}:{self.account}:log-group:{group}" for group in log_groups
                        ]
                    }
                },
            )
        )
        return key

    def _make_node_role(self) -> iam.Role:
        """Make the role of https://docs.aws.amazon.com/eks/latest/userguide/auto-create-node-role.html."""
        role = iam.Role(
            self,
            "Nodes",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("AmazonEKSWorkerNodeMinimalPolicy"),
                iam.ManagedPolicy.from_aws_managed_policy_name("AmazonEC2ContainerRegistryPullOnly"),
            ],
        )
        acknowledge(role, _NODE_ACKNOWLEDGED)
        return role
