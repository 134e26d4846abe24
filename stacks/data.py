"""A party's private data: the bucket that its trainer reads, and the bucket's key. No other party is admitted."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party
from stacks.base import PartyStack
from stacks.nag import acknowledge

_BUCKET_ACKNOWLEDGED = {
    "HIPAA.Security-S3BucketReplicationEnabled": "a replica would take the party's data out of its boundary",
    "Annotation::@aws-cdk/aws-s3:accessLogsPolicyNotAdded": "stacks/log_bucket.py admits the whole account's logs",
}


class DataStack(PartyStack):
    """The data bucket of a party with ``data: s3``."""

    def __init__(self, scope: Construct, *, federation: Federation, party: Party, logs: s3.IBucket) -> None:
        super().__init__(
            scope, party.name, "data", federation=federation, party=party, description=f"private data of {party.name}"
        )
        self.key = kms.Key(
            self,
            "Key",
            description=f"Private data of {party.name} in {federation.name}",
            enable_key_rotation=True,
            removal_policy=self.removal,
        )
        self.bucket = s3.Bucket(
            self,
            "Data",
            bucket_name=names.data_bucket(federation.name, party.name, self.account, party.region),
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # By name, because the log bucket's stack must not depend on this one.
            server_access_logs_bucket=s3.Bucket.from_bucket_name(self, "Logs", logs.bucket_name),
            server_access_logs_prefix="data/",
            lifecycle_rules=[s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1))],
            removal_policy=self.removal,
            auto_delete_objects=not self.keeps,
        )
        acknowledge(self.bucket, _BUCKET_ACKNOWLEDGED)
        self.output("BucketName", self.bucket.bucket_name, "put the party's data here; its trainer reads it")
