"""The alarms of the hub. They are a stack of their own, because CloudFormation allows 500 resources in a stack."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party
from stacks.base import PartyStack

_MAIL_GIB = 500
"""The size of the mail bucket at which somebody should look: its storage then costs about 12 USD a month."""

_SILENT_MINUTES = 15
"""An agent that was replaced, or whose node was, is back within this time."""


class AlarmsStack(PartyStack):
    """Alarms for each party whose messages can't be delivered or whose agent is silent, and one for the mail bucket."""

    def __init__(self, scope: Construct, *, federation: Federation, topic: sns.ITopic) -> None:
        super().__init__(
            scope,
            names.HUB,
            "alarms",
            federation=federation,
            party=federation.aggregator,
            description="alarms of the hub",
        )
        action = actions.SnsAction(topic)
        for party in federation.parties:
            self._watch_dead_letters(federation.name, party).add_alarm_action(action)
            self._watch_agent(federation.name, party).add_alarm_action(action)
        self._watch_mail(names.mail_bucket(federation.name, self.account, self.party.region)).add_alarm_action(action)
        self.output("Next", "aws sns subscribe", "subscribe to the hub's output AlarmTopic to hear of alarms")

    def _watch_dead_letters(self, federation: str, party: Party) -> cloudwatch.Alarm:
        queue = names.dead_letter_queue(federation, party.name)
        return cloudwatch.Alarm(
            self,
            party.name,
            alarm_description=f"Messages to {party.name} could not be delivered; read them in {queue}",
            metric=cloudwatch.Metric(
                namespace="AWS/SQS",
                metric_name="ApproximateNumberOfMessagesVisible",
                dimensions_map={"QueueName": queue},
                statistic="Maximum",
            ),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _watch_agent(self, federation: str, party: Party) -> cloudwatch.Alarm:
        """An agent asks its control queue all the time, and nearly every answer is empty: each is counted by SQS."""
        return cloudwatch.Alarm(
            self,
            f"{party.name}-agent",
            alarm_description=(
                f"The agent of {party.name} has not asked for requests in {_SILENT_MINUTES} minutes; "
                f"its owner should look at `kubectl -n {names.NAMESPACE} get pods`"
            ),
            metric=cloudwatch.Metric(
                namespace="AWS/SQS",
                metric_name="NumberOfEmptyReceives",
                dimensions_map={"QueueName": names.control_queue(federation, party.name)},
                statistic="Sum",
                period=cdk.Duration.minutes(5),
            ),
            threshold=1,
            evaluation_periods=_SILENT_MINUTES // 5,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )

    def _watch_mail(self, bucket: str) -> cloudwatch.Alarm:
        """S3 measures a bucket once a day."""
        return cloudwatch.Alarm(
            self,
            "mail-grows",
            alarm_description=f"{bucket} holds more than {_MAIL_GIB} GiB; remove ledgers of runs that nobody needs",
            metric=cloudwatch.Metric(
                namespace="AWS/S3",
                metric_name="BucketSizeBytes",
                dimensions_map={"BucketName": bucket, "StorageType": "StandardStorage"},
                statistic="Maximum",
                period=cdk.Duration.days(1),
            ),
            threshold=_MAIL_GIB * 2**30,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
