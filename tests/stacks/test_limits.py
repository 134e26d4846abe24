"""A hub for 100 silos in 100 accounts, with names of 20 characters, fits into every limit of AWS."""

import json
from typing import Any

import pytest

from fedsilo.config.checks import MAX_SILOS
from stacks.hub import HubStack
from tests.support.synthesis import Synthesized, synthesize


@pytest.fixture(scope="module")
def largest(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    directory = tmp_path_factory.mktemp("largest")
    lines = [
        f"name: {'f' * 20}",
        "aggregator: {account: '111111111111', region: ap-southeast-1, vpc_cidr: 10.0.0.0/16}",
        "silos:",
        *(
            f"  - {{name: {'s' * 17}{i:03}, account: '{222222222222 + i}', vpc_cidr: 10.{i + 1}.0.0/16}}"
            for i in range(MAX_SILOS)
        ),
    ]
    (directory / "federation.yaml").write_text("\n".join(lines))
    return synthesize(directory / "federation.yaml", directory / "out", HubStack)


def size(document: Any) -> int:
    """The policy's size in bytes, with accounts as IAM writes them out."""
    text = json.dumps(document, separators=(",", ":"))
    for account in {p for s in document["Statement"] for p in principals(s)}:
        if account.isdigit():
            text = text.replace(f'"{account}"', f'"arn:aws:iam::{account}:root"')
    return len(text)


def principals(statement: Any) -> list[str]:
    principal = statement.get("Principal", {})
    accounts = [] if principal == "*" else principal.get("AWS", [])
    return [accounts] if isinstance(accounts, str) else accounts


def test_hubs_stack_has_room_for_its_resources_and_its_template(largest: Synthesized) -> None:
    (hub,) = largest.templates.values()
    assert len(hub["Resources"]) <= 500
    assert len(json.dumps(hub, indent=1)) <= 1024**2


@pytest.mark.parametrize(
    ("kind", "document", "limit"),
    [
        ("AWS::S3::BucketPolicy", "PolicyDocument", 20 * 1024),
        ("AWS::SQS::QueuePolicy", "PolicyDocument", 8192),
        ("AWS::KMS::Key", "KeyPolicy", 32 * 1024),
        ("AWS::IAM::ManagedPolicy", "PolicyDocument", 6144),
    ],
)
def test_policy_is_no_larger_than_aws_allows(largest: Synthesized, kind: str, document: str, limit: int) -> None:
    sizes = [size(properties[document]) for _, _, properties in largest.resources(kind)]
    assert 0 < max(sizes) <= limit


def test_queue_policies_keep_within_sqss_numbers_of_statements_and_principals(largest: Synthesized) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html."""
    for _, _, properties in largest.resources("AWS::SQS::QueuePolicy"):
        statements = properties["PolicyDocument"]["Statement"]
        assert len(statements) <= 20
        assert sum(len(principals(statement)) for statement in statements) <= 50
