"""The hub: what the parties share, in the aggregator's account. Other stacks know its resources by name alone."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fedsilo import names
from fedsilo.config import queue_settings
from fedsilo.config.federation import Federation, Party
from fedsilo.keys import MAIL_TAG
from stacks import grants
from stacks.base import PartyStack
from stacks.foreign import Foreign
from stacks.log_bucket import LogBucket
from stacks.nag import acknowledge

_MAIL_DAYS = 30
"""How long mail is kept: longer than any run, because a policy limits runs to 28 days."""

_BUCKET_ACKNOWLEDGED = {
    "HIPAA.Security-S3BucketReplicationEnabled": "only the owners may decide to copy updates elsewhere"
}


class HubStack(PartyStack):
    """The mail bucket, the queues, the key, the topic of alarms, and the operator's policy of a federation."""

    def __init__(self, scope: Construct, *, federation: Federation) -> None:
        super().__init__(
            scope,
            names.HUB,
            federation=federation,
            party=federation.aggregator,
            description="mail bucket, queues, operator's policy",
        )
        self._federation = federation
        self._hub = grants.HubResources.of(federation)
        self._foreign = Foreign.of(federation)
        self._key = self._make_key()
        self._make_bucket()
        self.alarm_topic = sns.Topic(self, "Alarms", master_key=self._key, enforce_ssl=True)
        if federation.alarm_email:
            self.alarm_topic.add_subscription(subscriptions.EmailSubscription(federation.alarm_email))
        self._tls_only = sqs.CfnQueuePolicy(self, "TlsOnly", queues=[], policy_document=_policy([]))
        for party in federation.parties:
            self._make_queues(party)
        operator = grants.managed_policy(
            self,
            "Operator",
            name=names.operator_policy(federation.name),
            description=f"Starts and watches runs of {federation.name}",
            grants=grants.operator(self._hub),
        )
        self.output("OperatorPolicy", operator.managed_policy_arn, "attach to the role of whoever runs the federation")
        self.output("AlarmTopic", self.alarm_topic.topic_arn, "subscribe to hear of alarms")
        self.output("Next", "fedsilo doctor", "run it with the operator's credentials, then: fedsilo run start")

    def _make_key(self) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            alias=names.hub_key_alias(self._federation.name),
            description=f"Mail and queues of {self._federation.name}",
            enable_key_rotation=True,
            removal_policy=self.removal,
        )
        if self._foreign:
            key.add_to_resource_policy(self._foreign.to_key())
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return key

    def _make_bucket(self) -> None:
        bucket = s3.Bucket(
            self,
            "Mail",
            bucket_name=self._hub.bucket_name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self._key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=LogBucket(self, "Logs", removal_policy=self.removal),
            server_access_logs_prefix="mail/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="mail-expires",
                    tag_filters=dict([MAIL_TAG]),
                    expiration=cdk.Duration.days(_MAIL_DAYS),
                ),
                s3.LifecycleRule(
                    id="old-versions-expire",
                    noncurrent_version_expiration=cdk.Duration.days(_MAIL_DAYS),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                ),
            ],
            removal_policy=self.removal,
            auto_delete_objects=not self.keeps,
        )
        acknowledge(bucket, _BUCKET_ACKNOWLEDGED)
        cleaner = self.node.try_find_child("Custom::S3AutoDeleteObjectsCustomResourceProvider")
        cleaner_arn = cleaner.role_arn if isinstance(cleaner, cdk.CustomResourceProviderBase) else None
        for statement in (
            *grants.stored_as_bucket_says(self._hub),
            *grants.run_json_stays(self._hub, cleaner_arn),
            *(self._foreign.to_bucket() if self._foreign else ()),
        ):
            bucket.add_to_resource_policy(statement)

    def _make_queues(self, party: Party) -> None:
        """Make a party's two queues, their dead-letter queue, and the policy on who may use them.

        Parties in the hub's account share one queue policy, because CloudFormation allows 500 resources in a stack.
        """
        scope = Construct(self, party.name)
        dead = self._make_queue(scope, "Dead", names.dead_letter_queue(self._federation.name, party.name))
        data, control = (
            self._make_queue(scope, id_, name(self._federation.name, party.name), dead)
            for id_, name in (("Data", names.data_queue), ("Control", names.control_queue))
        )
        # In the template, because `cdk deploy --tags` replaces the tags of a stack, and grants need these.
        cdk.Tags.of(scope).add(names.FEDERATION_TAG, self._federation.name)
        cdk.Tags.of(scope).add(names.PARTY_TAG, party.name)
        urls = [queue.queue_url for queue in (data, control, dead)]
        if self._foreign and (admitted := self._foreign.to_queue(party)):
            sqs.CfnQueuePolicy(scope, "Policy", queues=urls, policy_document=_policy(admitted))
        else:
            self._tls_only.queues = [*self._tls_only.queues, *urls]

    def _make_queue(self, scope: Construct, id_: str, name: str, dead: sqs.Queue | None = None) -> sqs.Queue:
        return sqs.Queue(
            scope,
            id_,
            queue_name=name,
            fifo=True,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            retention_period=cdk.Duration.seconds(queue_settings.RETENTION_SECONDS),
            visibility_timeout=cdk.Duration.seconds(queue_settings.VISIBILITY_TIMEOUT_SECONDS),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=queue_settings.MAX_RECEIVE_COUNT)
            if dead
            else None,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )


def _policy(admitted: list[iam.PolicyStatement]) -> iam.PolicyDocument:
    """A queue policy that requires TLS."""
    tls_only = iam.PolicyStatement(
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=["sqs:*"],
        resources=["*"],
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
    return iam.PolicyDocument(statements=[tls_only, *admitted])
