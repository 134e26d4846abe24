"""The local federation's hub has the same bucket and queues as the deployed one, with the same behaviour."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsilo import aws
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub
from stacks.hub import HubStack
from tests.support.synthesis import synthesize

SPEC = """
name: agreeing
aggregator: {region: us-east-1, vpc_cidr: 10.0.0.0/16}
silos:
  - {name: near, vpc_cidr: 10.1.0.0/16}
  - {name: far, vpc_cidr: 10.2.0.0/16}
"""


@pytest.mark.usefixtures("endpoint")
def test_local_hub_has_what_the_hubs_template_says(tmp_path: Path) -> None:
    (tmp_path / "federation.yaml").write_text(SPEC)
    deployed = synthesize(tmp_path / "federation.yaml", tmp_path / "out", HubStack)
    create_hub(deployed.federation)

    buckets = {bucket["Name"] for bucket in aws.s3("us-east-1").list_buckets()["Buckets"]}
    (mail,) = {p["BucketName"] for _, _, p in deployed.resources("AWS::S3::Bucket") if "BucketName" in p}
    assert mail in buckets
    assert emulator.ACCOUNT in mail

    sqs = aws.sqs("us-east-1")
    queues: dict[str, Any] = {}
    for url in sqs.list_queues(QueueNamePrefix="agreeing-")["QueueUrls"]:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(attributes.get("RedrivePolicy", "null"))
        queues[url.rpartition("/")[2]] = {
            "FifoQueue": attributes["FifoQueue"] == "true",
            "VisibilityTimeout": int(attributes["VisibilityTimeout"]),
            "MessageRetentionPeriod": int(attributes["MessageRetentionPeriod"]),
            "RedrivePolicy": redrive and (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])),
        }
    said = {
        p["QueueName"]: {
            "FifoQueue": p["FifoQueue"],
            "VisibilityTimeout": p["VisibilityTimeout"],
            "MessageRetentionPeriod": p["MessageRetentionPeriod"],
            "RedrivePolicy": (
                "RedrivePolicy" in p
                and (p["RedrivePolicy"]["deadLetterTargetArn"], p["RedrivePolicy"]["maxReceiveCount"])
            )
            or None,
        }
        for _, _, p in deployed.resources("AWS::SQS::Queue")
    }
    assert queues == said
    assert len(said) == 9
