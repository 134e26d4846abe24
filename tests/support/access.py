"""IAM's evaluation logic over all policies of a federation's templates together, by @cloud-copilot/iam-simulate."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsilo import names
from fedsilo.config.federation import Party
from tests.support.cloudformation import ACCOUNT
from tests.support.condition_keys import unusable
from tests.support.synthesis import Synthesized

_SCRIPT = Path(__file__).with_name("simulate.mjs")


@dataclass(frozen=True)
class Who:
    """A principal: a party's trainer or agent, or the operator."""

    role: str
    party: Party
    arn: str


@dataclass(frozen=True)
class Question:
    """Whether a principal may do something to a resource, and the answer that is right."""

    who: Who
    action: str
    resource: str
    owner: Party
    """The party in whose account the resource is."""
    expected: bool
    context: dict[str, str | list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.who.party.name}'s {self.who.role}: {self.action} on {self.resource} {self.context or ''}"


class Policies:
    """Every policy of a federation's templates, by the principal or resource that it is attached to.

    Roles and queues have the tags of their templates. The tags of their stacks do not count, because
    ``cdk deploy --tags`` replaces them.
    """

    def __init__(self, synthesized: Synthesized) -> None:
        self._s = synthesized
        self.identity: dict[str, list[Any]] = {}
        self.resource: dict[str, Any] = {}
        self.endpoints: dict[tuple[str, str], Any] = {}
        self.tags: dict[str, dict[str, str]] = {}
        for stack, _, p in synthesized.resources("AWS::IAM::ManagedPolicy"):
            account = synthesized.party_of(stack).account or ACCOUNT
            for role in p.get("Roles", ["an-operator"]):
                self.identity.setdefault(names.role_arn(role, account), []).append(
                    _usable("identity", p["PolicyDocument"])
                )
        for _, _, p in synthesized.resources("AWS::S3::BucketPolicy"):
            self.resource[names.bucket_arn(p["Bucket"])] = _usable("bucket", p["PolicyDocument"])
        for stack, _, p in synthesized.resources("AWS::SQS::QueuePolicy"):
            owner = synthesized.party_of(stack)
            for queue in p["Queues"]:
                arn = names.queue_arn(queue, owner.account or ACCOUNT, owner.region)
                self.resource[arn] = _usable("queue", p["PolicyDocument"])
        for stack, logical_id, p in synthesized.resources("AWS::KMS::Key"):
            owner = synthesized.party_of(stack)
            self.resource[key_arn(owner, stack, logical_id)] = _usable("key", p["KeyPolicy"])
        for stack, _, p in synthesized.resources("AWS::EC2::VPCEndpoint"):
            service = str(p["ServiceName"]).rpartition(f"{synthesized.party_of(stack).region}.")[2]
            document = p.get("PolicyDocument")
            self.endpoints[synthesized.party_of(stack).name, service] = document and _usable("endpoint", document)
        self._find_tags()

    def _find_tags(self) -> None:
        for stack, _, p in self._s.resources("AWS::IAM::Role"):
            if "RoleName" in p:
                arn = names.role_arn(p["RoleName"], self._s.party_of(stack).account or ACCOUNT)
                self.tags[arn] = {tag["Key"]: tag["Value"] for tag in p.get("Tags", [])}
        for stack, _, p in self._s.resources("AWS::SQS::Queue"):
            owner = self._s.party_of(stack)
            arn = names.queue_arn(p["QueueName"], owner.account or ACCOUNT, owner.region)
            self.tags[arn] = {tag["Key"]: tag["Value"] for tag in p.get("Tags", [])}

    def simulation(self, question: Question) -> dict[str, Any]:
        """The question and the policies that decide it, as ``simulate`` takes them."""
        who = question.who
        service = question.action.partition(":")[0]
        bucket = "/".join(question.resource.split("/")[:1]) if service == "s3" else question.resource
        in_cluster = who.role != "operator"
        endpoint = self._endpoint(who.party, question.action) if in_cluster else None
        return {
            "request": {
                "principal": who.arn,
                "action": question.action,
                "resource": {"resource": question.resource, "accountId": question.owner.account or ACCOUNT},
                "contextVariables": {
                    "aws:PrincipalArn": who.arn,
                    "aws:PrincipalAccount": who.arn.split(":")[4],
                    "aws:PrincipalIsAWSService": "false",
                    "aws:SecureTransport": "true",
                    **{f"aws:PrincipalTag/{k}": v for k, v in self.tags.get(who.arn, {}).items()},
                    **{f"aws:ResourceTag/{k}": v for k, v in self.tags.get(question.resource, {}).items()},
                    **question.context,
                },
            },
            "identityPolicies": [
                {"name": f"policy-{i}", "policy": document} for i, document in enumerate(self.identity[who.arn])
            ],
            "resourcePolicy": self.resource.get(bucket),
            "serviceControlPolicies": [],
            "resourceControlPolicies": [],
            "vpcEndpointPolicies": [{"name": "endpoint", "policy": endpoint}] if endpoint else None,
        }

    def _endpoint(self, party: Party, action: str) -> Any | None:
        """The policy of the endpoint that the call goes through; KMS is called by S3 and SQS, not by the pod."""
        service, _, operation = action.partition(":")
        by_service = {
            "s3": "s3",
            "sqs": "sqs",
            "sagemaker": "sagemaker.metrics" if operation == "BatchPutMetrics" else "sagemaker.api",
        }
        if party.egress == "nat" and service != "s3":
            return None
        return self.endpoints[party.name, by_service[service]] if service in by_service else None


def _usable(kind: str, document: Any) -> Any:
    """The document, if AWS gives all its condition keys in this kind of policy."""
    assert not [*unusable(kind, document)], f"{kind} policies can't use {sorted(set(unusable(kind, document)))}"
    return document


def key_arn(party: Party, stack: str, logical_id: str) -> str:
    return f"arn:aws:kms:{party.region}:{party.account or ACCOUNT}:key/{stack}-{logical_id}"


def simulate(simulations: list[dict[str, Any]]) -> list[str]:
    """IAM's answer to each simulation: Allowed, ImplicitlyDenied, ExplicitlyDenied, or an error."""
    done = subprocess.run(
        ["node", str(_SCRIPT)], input=json.dumps(simulations), capture_output=True, text=True, check=True
    )
    results: list[str] = json.loads(done.stdout)
    return results
