"""The hub: what the parties share, in the aggregator's account. Other stacks know its resources by name alone."""

import dataclasses
from collections.abc import Callable, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from fedsilo import names
from fedsilo.config import queue_settings
from fedsilo.config.federation import Federation, Party, Silo
from fedsilo.keys import MAIL_TAG
from stacks import grants
from stacks.base import PartyStack
from stacks.log_bucket import LogBucket
from stacks.nag import acknowledge

_MAIL_DAYS = 30
"""How long mail is kept: longer than any run, because a policy limits runs to 28 days."""

_BUCKET_ACKNOWLEDGED = {
    "HIPAA.Security-S3BucketReplicationEnabled": "only the owners may decide to copy updates elsewhere"
}

RoleName = Callable[[str, str], str]
_BOTH = (names.trainer_role, names.agent_role)


class HubStack(PartyStack):
    """The mail bucket, the queues and their alarms, the key, and the operator's policy of a federation."""

    def __init__(self, scope: Construct, *, federation: Federation) -> None:
        super().__init__(
            scope,
            "hub",
            federation=federation,
            party=federation.aggregator,
            description="mail bucket, queues, operator's policy",
        )
        self._federation = federation
        self._hub = grants.HubResources.of(federation)
        self._foreign = [silo for silo in federation.silos if federation.is_foreign(silo)]
        self._key = self._make_key()
        self._make_bucket()
        alarm_topic = sns.Topic(self, "Alarms", master_key=self._key, enforce_ssl=True)
        self._tls_only = sqs.CfnQueuePolicy(self, "TlsOnly", queues=[], policy_document=_policy([]))
        for party in federation.parties:
            self._make_queues(party, alarm_topic)
        operator = grants.managed_policy(
            self,
            "Operator",
            name=names.operator_policy(federation.name),
            description=f"Starts and watches runs of {federation.name}",
            grants=grants.operator(self._hub),
        )
        self.output("OperatorPolicy", operator.managed_policy_arn, "attach to the role of whoever runs the federation")
        self.output("AlarmTopic", alarm_topic.topic_arn, "subscribe to hear of mail that can't be delivered")
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
            (use,) = grants.hub_key(self._hub)
            this_key = dataclasses.replace(use, resources=["*"])
            key.add_to_resource_policy(this_key.for_accounts(self._roles(*self._foreign)))
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
        for denial in (*grants.stored_as_bucket_says(self._hub), *grants.run_json_stays(self._hub, cleaner_arn)):
            bucket.add_to_resource_policy(denial)
        if self._foreign:
            for grant in grants.admitted_to_all(self._hub):
                bucket.add_to_resource_policy(grant.for_accounts(self._roles(*self._foreign)))
        for silo in self._foreign:
            for grant in grants.admitted(self._hub, silo):
                bucket.add_to_resource_policy(grant.for_accounts(self._roles(silo)))

    def _roles(self, *silos: Silo, of: Sequence[RoleName] = _BOTH) -> dict[str, list[str]]:
        """The names of the silos' roles, by account."""
        roles: dict[str, list[str]] = {}
        for silo in silos:
            own = roles.setdefault(silo.account or self.account, [])
            own.extend(role(self._federation.name, silo.name) for role in of)
        return roles

    def _make_queues(self, party: Party, alarm_topic: sns.Topic) -> None:
        """Make a party's two queues, their dead-letter queue with its alarm, and the policy on who may use them.

        Parties in the hub's account share one queue policy, because CloudFormation allows 500 resources in a stack.
        """
        scope = Construct(self, party.name)
        dead = self._make_queue(scope, "Dead", names.dead_letter_queue(self._federation.name, party.name))
        data, control = (
            self._make_queue(scope, id_, name(self._federation.name, party.name), dead)
            for id_, name in (("Data", names.data_queue), ("Control", names.control_queue))
        )
        cdk.Tags.of(scope).add(names.PARTY_TAG, party.name)
        urls = [queue.queue_url for queue in (data, control, dead)]
        if admitted := self._admitted(party):
            sqs.CfnQueuePolicy(scope, "Policy", queues=urls, policy_document=_policy(admitted))
        else:
            self._tls_only.queues = [*self._tls_only.queues, *urls]
        alarm = self._make_alarm(scope, party, dead)
        alarm.add_alarm_action(actions.SnsAction(alarm_topic))

    def _make_alarm(self, scope: Construct, party: Party, dead: sqs.Queue) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            scope,
            "Undelivered",
            alarm_description=f"Messages to {party.name} could not be delivered; read them in {dead.queue_name}",
            metric=dead.metric_approximate_number_of_messages_visible(),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

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

    def _admitted(self, party: Party) -> list[iam.PolicyStatement]:
        """The statements of a queue policy. Roles of the hub's own account need none."""
        if isinstance(party, Silo):
            if party not in self._foreign:
                return []
            receive, _ = grants.notices(self._hub, party)
            (request,) = grants.requests(self._hub, party)
            return [
                receive.for_accounts(self._roles(party, of=[names.trainer_role])),
                request.for_accounts(self._roles(party, of=[names.agent_role])),
            ]
        if not self._foreign:
            return []
        _, send = grants.notices(self._hub, self._foreign[0])
        return [send.for_accounts(self._roles(*self._foreign, of=[names.trainer_role]))]


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
