"""Acknowledgements of cdk-nag's findings. Each finding and its reason are in a table beside the construct."""

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct

AWS_MANAGED = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/"
"""How the id of a finding on one of AWS's managed policies begins."""


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept findings on a construct and everything below it.

    Args:
        construct: The construct.
        reasons: The reason for each finding, by its exact id: neither a pattern nor the name of a rule. A test fails
            on an id that cdk-nag does not report.
    """
    for finding, reason in reasons.items():
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=finding, reason=reason))
