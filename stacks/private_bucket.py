"""A bucket that one party alone uses, with a key of its own."""

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from stacks.base import PartyStack
from stacks.nag import acknowledge

_ACKNOWLEDGED = {
    "HIPAA.Security-S3BucketReplicationEnabled": "a replica would take what is the party's out of its boundary",
    "Annotation::@aws-cdk/aws-s3:accessLogsPolicyNotAdded": "stacks/log_bucket.py admits the whole account's logs",
}


class PrivateBucket(s3.Bucket):
    """A bucket that is private, versioned, and encrypted with a key of its own. Only TLS reaches it."""

    def __init__(
        self, stack: PartyStack, id_: str, *, name: str, holds: str, logs: s3.IBucket, rule: s3.LifecycleRule
    ) -> None:
        """Make the bucket and its key.

        Args:
            stack: The party's stack, which says whether the bucket stays when the stack is destroyed.
            id_: The bucket's id in the stack.
            name: The bucket's name.
            holds: What is in it, in a few words.
            logs: The bucket that gets its access logs.
            rule: What expires.
        """
        self.key = kms.Key(
            stack,
            "Key",
            description=holds,
            enable_key_rotation=True,
            removal_policy=stack.removal,
        )
        super().__init__(
            stack,
            id_,
            bucket_name=name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # By name, because the log bucket's stack must not depend on this one.
            server_access_logs_bucket=s3.Bucket.from_bucket_name(stack, "Logs", logs.bucket_name),
            server_access_logs_prefix=f"{id_.lower()}/",
            lifecycle_rules=[rule],
            removal_policy=stack.removal,
            auto_delete_objects=not stack.keeps,
        )
        acknowledge(self, _ACKNOWLEDGED)
