"""The add-ons of every cluster. To add one, add a line to ``BLUEPRINT``.

Auto Mode includes the network, DNS, storage, load-balancing, Pod Identity and GPU add-ons
(https://docs.aws.amazon.com/eks/latest/userguide/eks-add-ons.html).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from fedsilo import names
from stacks.nag import AWS_MANAGED, acknowledge


@dataclass(frozen=True)
class AddOn:
    """An EKS add-on: https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html."""

    name: str
    version: str | None = None
    """Default: the version that EKS ships for the cluster's Kubernetes version; it changes with patches."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Values that differ from the add-on's defaults."""
    service_account: str | None = None
    """The service account that calls AWS. Pod Identity gives it a role with ``managed_policies``."""
    managed_policies: tuple[str, ...] = ()
    """The managed policies of AWS that the add-on's page asks for."""

    def install(self, scope: Construct, cluster: eks.Cluster, cluster_name: str) -> eks.CfnAddon:
        """Install the add-on in the cluster, and remove it with the cluster."""
        identities = None
        if self.service_account:
            role = self._make_role(scope, cluster_name)
            identities = [
                eks.CfnAddon.PodIdentityAssociationProperty(
                    role_arn=role.role_arn, service_account=self.service_account
                )
            ]
        return eks.CfnAddon(
            scope,
            self.name,
            addon_name=self.name,
            addon_version=self.version,
            cluster_name=cluster.cluster_name,
            configuration_values=json.dumps(self.configuration) if self.configuration else None,
            pod_identity_associations=identities,
            preserve_on_delete=False,
            resolve_conflicts="OVERWRITE",
        )

    def _make_role(self, scope: Construct, cluster_name: str) -> iam.Role:
        role = pod_role(scope, f"{self.name}-role", cluster=cluster_name)
        for policy in self.managed_policies:
            role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(policy))
        acknowledge(
            role,
            {f"{AWS_MANAGED}{policy}]": f"what AWS's page asks for {self.name}" for policy in self.managed_policies},
        )
        return role


def pod_role(
    scope: Construct, id_: str, *, cluster: str, role_name: str | None = None, description: str | None = None
) -> iam.Role:
    """Make a role that only EKS Pod Identity may assume, for pods of one cluster in the scope's account and Region.

    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html

    Args:
        scope: The parent.
        id_: The role's construct id.
        cluster: The cluster's name, and no reference to the cluster: the role may be made first.
        role_name: Default: CloudFormation makes a name.
        description: What the role is for.
    """
    stack = cdk.Stack.of(scope)
    conditions = {
        "StringEquals": {"aws:SourceAccount": stack.account},
        "ArnEquals": {"aws:SourceArn": names.cluster_arn(cluster, stack.account, stack.region)},
    }
    return iam.Role(
        scope,
        id_,
        role_name=role_name,
        description=description,
        assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com", conditions=conditions).with_session_tags(),
    )


BLUEPRINT = (
    AddOn("metrics-server"),
    AddOn(
        "amazon-cloudwatch-observability",
        service_account="cloudwatch-agent",
        managed_policies=("CloudWatchAgentServerPolicy",),
    ),
)
