"""A party's private data: the bucket that its trainer reads, and the bucket's key. No other party is admitted."""

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party
from stacks.base import PartyStack
from stacks.private_bucket import PrivateBucket


class DataStack(PartyStack):
    """The data bucket of a party with ``data: s3``."""

    def __init__(self, scope: Construct, *, federation: Federation, party: Party, logs: s3.IBucket) -> None:
        super().__init__(
            scope, party.name, "data", federation=federation, party=party, description=f"private data of {party.name}"
        )
        bucket = PrivateBucket(
            self,
            "Data",
            name=names.data_bucket(federation.name, party.name, self.account, party.region),
            holds=f"Private data of {party.name} in {federation.name}",
            logs=logs,
            rule=s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1)),
        )
        self.key = bucket.key
        self.output("BucketName", bucket.bucket_name, "put the party's data here; its trainer reads it")
