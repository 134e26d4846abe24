"""Findings of cdk-nag that stand, each with its reason, in a table beside the construct that they are about."""

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct

AWS_MANAGED = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/"


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Let the findings stand for the construct and all below it. Ids are exact: no patterns, no families.

    A test fails on an id that nothing below the construct is found for.
    """
    for finding, reason in reasons.items():
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=finding, reason=reason))
