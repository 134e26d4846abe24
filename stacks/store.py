"""A silo's own store (``fedsilo/silo_store.py``): a bucket in the silo's account. No other party is admitted."""

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Silo
from stacks.base import PartyStack
from stacks.private_bucket import PrivateBucket

_OLD_VERSION_DAYS = 1
"""How long what was replaced or deleted can be brought back: a day, because a checkpoint is replaced every few minutes
and may be as large as three models."""


class StoreStack(PartyStack):
    """The bucket of a silo's own store, which only its trainer uses, and the bucket's key."""

    def __init__(self, scope: Construct, *, federation: Federation, silo: Silo, logs: s3.IBucket) -> None:
        super().__init__(
            scope, silo.name, "store", federation=federation, party=silo, description=f"own store of {silo.name}"
        )
        bucket = PrivateBucket(
            self,
            "Store",
            name=names.store_bucket(federation.name, silo.name, self.account),
            holds=f"Own store of {silo.name} in {federation.name}",
            logs=logs,
            rule=s3.LifecycleRule(
                noncurrent_version_expiration=cdk.Duration.days(_OLD_VERSION_DAYS),
                expired_object_delete_marker=True,
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            ),
        )
        self.key = bucket.key
        self.output("BucketName", bucket.bucket_name, "what the silo keeps for itself; nothing has to be put there")
