"""Resolves the intrinsic functions of CloudFormation that the templates use."""

import functools
import json
from collections.abc import Mapping
from typing import Any

ACCOUNT = "123456789012"
"""The account of the deploying credentials, for a spec that names no account."""


class Resolver:
    """Resolves values of one template. ``templates`` has all templates of the federation, by stack name."""

    def __init__(self, templates: Mapping[str, Any], stack: str, *, account: str, region: str) -> None:
        self._templates = templates
        self._stack = stack
        self._resources = templates[stack]["Resources"]
        self._account = account
        self._region = region

    def __call__(self, value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(str(self(part)) for part in parts)
            case {"Fn::Sub": str(text)}:
                pseudo = {"AWS::AccountId": self._account, "AWS::Region": self._region, "AWS::Partition": "aws"}
                return functools.reduce(lambda t, item: t.replace(f"${{{item[0]}}}", item[1]), pseudo.items(), text)
            case {"Fn::ImportValue": name}:
                return self._import(name)
            case dict():
                return {key: self(inner) for key, inner in value.items()}
            case list():
                return [self(inner) for inner in value]
            case _:
                return value

    def _ref(self, name: str) -> str:
        pseudo = {
            "AWS::AccountId": self._account,
            "AWS::Region": self._region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": "",
        }
        if name in pseudo:
            return pseudo[name]
        properties = self._resources[name].get("Properties", {})
        physical = {
            "AWS::S3::Bucket": "BucketName",
            "AWS::IAM::Role": "RoleName",
            "AWS::EKS::Cluster": "Name",
            "AWS::SQS::Queue": "QueueName",
        }.get(self._resources[name]["Type"])
        return str(self(properties[physical])) if physical in properties else name

    def _attribute(self, name: str, attribute: str) -> str:
        kind, physical = self._resources[name]["Type"], self._ref(name)
        here = f"{self._region}:{self._account}"
        match kind, attribute:
            case "AWS::SQS::Queue", "QueueName":
                return physical
            case "AWS::S3::Bucket", "Arn":
                return f"arn:aws:s3:::{physical}"
            case "AWS::SQS::Queue", "Arn":
                return f"arn:aws:sqs:{here}:{physical}"
            case "AWS::IAM::Role", "Arn":
                return f"arn:aws:iam::{self._account}:role/{physical}"
            case "AWS::KMS::Key", "Arn":
                return f"arn:aws:kms:{here}:key/{self._stack}-{name}"
            case _:
                return f"{name}.{attribute}"

    def _import(self, name: str) -> Any:
        stack, _, _ = name.partition(":")
        outputs = self._templates[stack]["Outputs"].values()
        (value,) = [output["Value"] for output in outputs if output.get("Export", {}).get("Name") == name]
        return Resolver(self._templates, stack, account=self._account, region=self._region)(value)


def manifests(resolver: Resolver, template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every Kubernetes object that the template applies, in the template's order."""
    return [
        manifest
        for resource in template["Resources"].values()
        if resource["Type"] == "Custom::AWSCDK-EKS-KubernetesResource"
        for manifest in json.loads(resolver(resource["Properties"]["Manifest"]))
    ]
