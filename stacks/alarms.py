"""The alarms of the hub. They are a stack of their own, because CloudFormation allows 500 resources in a stack."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party
from stacks.base import PartyStack


class AlarmsStack(PartyStack):
    """An alarm for each party whose messages can't be delivered."""

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
