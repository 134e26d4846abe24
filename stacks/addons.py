"""Installs the add-ons of a party's spec (``fedsilo/config/add_ons.py``), and makes the roles of pods."""

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from fedsilo import names
from fedsilo.config.add_ons import ADD_ONS, AddOn
from stacks import add_on_versions
from stacks.nag import AWS_MANAGED, acknowledge


def install(
    scope: Construct, cluster: eks.Cluster, cluster_name: str, kubernetes: str, wanted: Sequence[str]
) -> list[eks.CfnAddon]:
    """Install add-ons in a cluster, in the order of what they need. They are removed with the cluster.

    Args:
        scope: The stack of the cluster.
        cluster: The cluster.
        cluster_name: Its name.
        kubernetes: Its version of Kubernetes, which decides the add-ons' versions.
        wanted: The names of the add-ons.
    """
    made = {name: _install(scope, cluster, cluster_name, kubernetes, ADD_ONS[name]) for name in wanted}
    for name, resource in made.items():
        for needed in ADD_ONS[name].after:
            resource.add_dependency(made[needed])
    return [*made.values()]


def _install(scope: Construct, cluster: eks.Cluster, cluster_name: str, kubernetes: str, add_on: AddOn) -> eks.CfnAddon:
    identities = None
    if add_on.service_account:
        role = _make_role(scope, cluster_name, add_on)
        identities = [
            eks.CfnAddon.PodIdentityAssociationProperty(role_arn=role.role_arn, service_account=add_on.service_account)
        ]
    return eks.CfnAddon(
        scope,
        add_on.name,
        addon_name=add_on.name,
        addon_version=add_on_versions.pinned(add_on.name, kubernetes),
        cluster_name=cluster.cluster_name,
        configuration_values=json.dumps(add_on.configuration) if add_on.configuration else None,
        pod_identity_associations=identities,
        preserve_on_delete=False,
        resolve_conflicts="OVERWRITE",
    )


def _make_role(scope: Construct, cluster_name: str, add_on: AddOn) -> iam.Role:
    role = pod_role(scope, f"{add_on.name}-role", cluster=cluster_name)
    for policy in add_on.managed_policies:
        role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(policy))
    acknowledge(
        role,
        {f"{AWS_MANAGED}{policy}]": f"what AWS's page asks for {add_on.name}" for policy in add_on.managed_policies},
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
