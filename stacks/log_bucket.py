"""The bucket for a stack's access and flow logs."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.nag import acknowledge

_DAYS = 400
"""How long logs are kept: a year, and some time to look at them."""

_ACKNOWLEDGED = {
    "HIPAA.Security-S3BucketReplicationEnabled": "logs are evidence of one place and are not copied to another",
    "HIPAA.Security-S3DefaultEncryptionKMS": "S3 delivers access logs only to buckets encrypted with its own key",
}


class LogBucket(s3.Bucket):
    """A private, versioned bucket that keeps logs for 400 days. S3 and VPC of the stack's account may write to it."""

    def __init__(self, scope: Construct, id_: str, *, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(
            scope,
            id_,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_prefix="access-to-logs/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=cdk.Duration.days(_DAYS),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                )
            ],
            removal_policy=removal_policy,
            auto_delete_objects=removal_policy is cdk.RemovalPolicy.DESTROY,
        )
        self.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[self.arn_for_objects("*")],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
            )
        )
        acknowledge(self, _ACKNOWLEDGED)
