"""A moto server that can deploy and destroy a federation through CloudFormation.

It adds the resource types that moto's CloudFormation lacks, deletes resources that moto leaves behind, and writes every
custom resource to a file with its tokens resolved, because nothing runs custom resources here. An unknown resource type
is an error; moto alone would skip it and report a complete stack.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.core.common_models import CloudFormationModel
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import Route, RouteTable
from moto.ec2.models.vpcs import VPCEndPoint
from moto.eks.models import eks_backends
from moto.iam.models import ManagedPolicy, iam_backends
from moto.s3.models import s3_backends
from moto.server import main
from moto.sqs.models import sqs_backends
from moto.ssm.models import Parameter

RECORDS = "FEDSILO_E2E_RECORDS"
"""The variable with the name of the file to which custom resources are written, one JSON object a line."""


class Resource(CloudFormationModel):
    """A resource of a type that moto lacks. It keeps its properties; a subclass may give it effects."""

    kind = ""

    def __init__(self, name: str, properties: dict[str, Any], account: str, region: str) -> None:
        self.name = name
        self.properties = properties
        self.account = account
        self.region = region
        self.create()

    def create(self) -> None:
        """Apply the effects. Raises an error if something that the resource refers to does not exist."""

    def remove(self) -> None:
        """Undo the effects."""

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.kind

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return f"{self.name}.{attribute_name}"

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(  # type: ignore[override]
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> "Resource":
        kwargs.setdefault("ResourceType", cls.kind)
        properties = cloudformation_json.get("Properties", {})
        if kwargs["ResourceType"].startswith("Custom::"):
            with Path(os.environ[RECORDS]).open("a") as records:
                records.write(json.dumps({"type": kwargs["ResourceType"], "properties": properties}) + "\n")
        return cls(resource_name, properties, account_id, region_name)

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any, **__: Any) -> None:
        """Do nothing: moto then calls the instance's ``delete``."""

    def delete(self, account_id: str, region: str) -> None:
        self.remove()


class Cluster(Resource):
    kind = "AWS::EKS::Cluster"

    def create(self) -> None:
        p, vpc = self.properties, self.properties["ResourcesVpcConfig"]
        ec2 = ec2_backends[self.account][self.region]
        subnets = [ec2.get_subnet(subnet) for subnet in vpc["SubnetIds"]]
        cluster = eks_backends[self.account][self.region].create_cluster(
            name=p["Name"],
            role_arn=p["RoleArn"],
            version=p["Version"],
            resources_vpc_config={
                "subnetIds": vpc["SubnetIds"],
                "endpointPublicAccess": vpc["EndpointPublicAccess"],
                "endpointPrivateAccess": vpc["EndpointPrivateAccess"],
            },
        )
        self.name = cluster.name
        self.group = ec2.create_security_group(f"eks-cluster-{self.name}", "as EKS makes", vpc_id=subnets[0].vpc_id)

    def get_cfn_attribute(self, attribute_name: str) -> str:
        if attribute_name == "ClusterSecurityGroupId":
            return self.group.id
        cluster = eks_backends[self.account][self.region].describe_cluster(self.name)
        return {"Arn": cluster.arn, "Endpoint": cluster.endpoint}.get(attribute_name) or self.name

    def remove(self) -> None:
        eks_backends[self.account][self.region].delete_cluster(self.name)
        ec2_backends[self.account][self.region].delete_security_group(group_id=self.group.id)


class InCluster(Resource):
    """A resource that belongs to a cluster."""

    def create(self) -> None:
        eks_backends[self.account][self.region].describe_cluster(self.properties["ClusterName"])


class AddOn(InCluster):
    kind = "AWS::EKS::Addon"


class AccessEntry(InCluster):
    kind = "AWS::EKS::AccessEntry"


class PodIdentityAssociation(InCluster):
    kind = "AWS::EKS::PodIdentityAssociation"


class DomainList(Resource):
    kind = "AWS::Route53Resolver::FirewallDomainList"


class RuleGroup(Resource):
    kind = "AWS::Route53Resolver::FirewallRuleGroup"


class RuleGroupAssociation(Resource):
    kind = "AWS::Route53Resolver::FirewallRuleGroupAssociation"

    def create(self) -> None:
        if not ec2_backends[self.account][self.region].get_vpc(self.properties["VpcId"]):
            raise ValueError(f"no VPC {self.properties['VpcId']}")


class Alarm(Resource):
    kind = "AWS::CloudWatch::Alarm"


class TopicPolicy(Resource):
    kind = "AWS::SNS::TopicPolicy"


class QueuePolicy(Resource):
    kind = "AWS::SQS::QueuePolicy"

    def create(self) -> None:
        backend = sqs_backends[self.account][self.region]
        for url in self.properties["Queues"]:
            policy = json.dumps(self.properties["PolicyDocument"])
            backend.set_queue_attributes(url.rpartition("/")[2], {"Policy": policy})


class BucketPolicy(Resource):
    """A policy without its conditional denials, because moto ignores their conditions."""

    kind = "AWS::S3::BucketPolicy"

    def create(self) -> None:
        document = dict(self.properties["PolicyDocument"])
        document["Statement"] = [s for s in document["Statement"] if s["Effect"] == "Allow" or "Condition" not in s]
        bucket = s3_backends[self.account]["aws"].get_bucket(self.properties["Bucket"])
        if document["Statement"]:
            s3_backends[self.account]["aws"].put_bucket_policy(bucket.name, json.dumps(document).encode())


class FlowLog(Resource):
    """moto has flow logs, but takes the prefix in the destination for a part of the bucket's name."""

    kind = "AWS::EC2::FlowLog"

    def create(self) -> None:
        s3_backends[self.account]["aws"].get_bucket(self.properties["LogDestination"].rpartition(":")[2].split("/")[0])


class Custom(Resource):
    """A custom resource of any type."""

    kind = "Custom::"


KINDS = {
    cls.kind: cls
    for cls in (
        Cluster, AddOn, AccessEntry, PodIdentityAssociation, DomainList, RuleGroup, RuleGroupAssociation, Alarm,
        TopicPolicy, QueuePolicy, BucketPolicy,
        FlowLog,
    )
}  # fmt: skip


def install() -> None:
    """Patch moto."""
    original = parsing.resource_class_from_type

    def resource_class(kind: str) -> Any:
        if kind.startswith("Custom::"):
            return Custom
        found = KINDS.get(kind) or original(kind)
        if found is None and kind not in parsing.NULL_MODELS:
            raise NotImplementedError(f"no resource class for {kind}")
        return found

    parsing.resource_class_from_type = resource_class
    _name_parameters()
    _delete_leftovers()
    _link_stacks_of_change_sets()


def _name_parameters() -> None:
    """Give a name to parameters without one, as CloudFormation does."""
    create = Parameter.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def named(cls: Any, resource_name: str, cloudformation_json: Any, *args: Any, **kwargs: Any) -> Any:
        cloudformation_json["Properties"].setdefault("Name", f"CFN-{resource_name}")
        return create(cls, resource_name, cloudformation_json, *args, **kwargs)

    Parameter.create_from_cloudformation_json = classmethod(named)  # type: ignore[method-assign,assignment]


def _delete_leftovers() -> None:
    """Delete resources of which moto has no deletion through CloudFormation."""

    def delete_table(self: Any, account: str, region: str) -> None:
        self._associations.clear()
        ec2_backends[account][region].route_tables.pop(self.id, None)

    def delete_endpoint(self: Any, account: str, region: str) -> None:
        ec2_backends[account][region].vpc_end_points.pop(self.id, None)

    def delete_policy(self: Any, account: str, region: str) -> None:
        backend = iam_backends[account]["aws"]
        for role in backend.roles.values():
            if self.arn in role.managed_policies:
                backend.detach_role_policy(self.arn, role.name)
        backend.delete_policy(self.arn)

    ManagedPolicy.delete = delete_policy
    RouteTable.delete = delete_table
    Route.delete = lambda *_: None
    VPCEndPoint.delete = delete_endpoint


def _link_stacks_of_change_sets() -> None:
    """Resolve imports between stacks, and compute outputs, when a change set is executed."""
    execute = CloudFormationBackend.execute_change_set

    def with_outputs(self: Any, *args: Any, **kwargs: Any) -> None:
        for stack in self.stacks.values():
            stack.resource_map.cross_stack_resources = stack.cross_stack_resources = self.exports
        execute(self, *args, **kwargs)
        for stack in self.stacks.values():
            if stack.status.endswith("_COMPLETE"):
                stack._parse_template()
                stack.output_map = stack._create_output_map()
                self.exports.update({export.name: export for export in stack.exports})

    delete = Stack.delete

    def without_outputs(self: Any) -> None:
        """Forget the outputs: moto would create resources again to compute them."""
        delete(self)
        self.output_map._output_json_map = {}

    CloudFormationBackend.execute_change_set = with_outputs  # type: ignore[method-assign]
    Stack.delete = without_outputs  # type: ignore[method-assign]


def run() -> None:
    """Run the server with moto's own command line."""
    install()
    main(sys.argv[1:])
