"""The CDK command line deploys and destroys a whole federation, against moto server.

This proves that the command line accepts the app, that every reference, import and name resolves outside of CDK, that
everything can be made and removed in some order, and what reaches Kubernetes once every token is resolved.

It does not prove what only AWS can: quotas, permissions of the deploying role, versions of EKS and of add-ons, whether
the endpoints suffice for a private cluster, the functions of custom resources, kubectl, rollback, and duration.
Resource types that cdk_moto.py adds are checked against its model alone. No image is built, because that needs Docker:
the spec names images by digest.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import kubernetes_validate
import pytest

from fedsilo import names
from fedsilo.config.load import load_federation
from stacks.cluster import KUBERNETES
from tests.support import cdk_moto
from tests.support.moto_process import moto_process

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(580)]

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "123456789012", "us-east-1"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/fedsilo@sha256:{'0' * 64}"
IMAGES = f'{{agent: "{IMAGE}", trainer: "{IMAGE}"}}'
SPEC = f"""
name: heart
aggregator: {{region: {REGION}, vpc_cidr: 10.0.0.0/16, on_destroy: delete, images: {IMAGES}}}
silos:
  - {{name: cleveland, vpc_cidr: 10.1.0.0/16, on_destroy: delete, images: {IMAGES}, data: s3}}
  - {{name: hungary, vpc_cidr: 10.2.0.0/16, on_destroy: delete, images: {IMAGES}, compute: {{gpu: 1}}}}
  - {{name: switzerland, vpc_cidr: 10.3.0.0/16, on_destroy: delete, images: {IMAGES}, egress: nat}}
"""


@dataclass
class Laptop:
    """A directory with the spec, a moto server, and the environment in which cdk finds both."""

    directory: Path
    environment: dict[str, str]
    log: Path
    records: Path

    def cdk(self, *arguments: str) -> str:
        command = ["cdk", *arguments, "--no-notices", "--ci", "--progress", "events"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=540, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )

    def assert_server_had_no_trouble(self) -> None:
        text = self.log.read_text()
        assert "Traceback" not in text, text[-4000:]
        assert not re.findall(r'" 500 |No Moto CloudFormation support', text)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    directory = tmp_path_factory.mktemp("laptop")
    (directory / "federation.yaml").write_text(SPEC)
    log, records = directory / "moto.log", directory / "records"
    command = [sys.executable, "-c", "from tests.support import cdk_moto; cdk_moto.run()"]
    with moto_process(command, {cdk_moto.RECORDS: str(records)}, log) as port:
        environment = {
            **os.environ,
            "FEDSILO_FEDERATION_FILE": str(directory / "federation.yaml"),
            "CDK_VALIDATION": "false",
            # moto takes the address of a template apart, and knows this name
            "AWS_ENDPOINT_URL": f"http://localhost:{port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield Laptop(directory, environment, log, records)


@pytest.fixture(scope="module")
def deployed(laptop: Laptop) -> dict[str, Any]:
    """The templates by stack name, after ``cdk deploy --all``."""
    out = laptop.directory / "cdk.out"
    laptop.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
    laptop.cdk("deploy", "--all", "--require-approval", "never", "--output", str(out))
    laptop.assert_server_had_no_trouble()
    return {path.name.partition(".")[0]: json.loads(path.read_text()) for path in out.glob("*.template.json")}


def test_every_resource_of_every_template_is_there(laptop: Laptop, deployed: dict[str, Any]) -> None:
    cloudformation = laptop.client("cloudformation")
    assert len(deployed) == 2 + 4 * 3 + 3 + 1
    for stack, template in deployed.items():
        assert cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        listed = cloudformation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        conditional = {k for k, r in template["Resources"].items() if "Condition" in r}
        assert {entry["LogicalResourceId"] for entry in listed} == set(template["Resources"]) - conditional
        assert len(template["Resources"]) > 5


def test_outputs_say_what_to_do_next(laptop: Laptop, deployed: dict[str, Any]) -> None:
    cloudformation = laptop.client("cloudformation")
    for stack, template in deployed.items():
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
        assert {output["OutputKey"] for output in described} == set(template.get("Outputs", {}))
        assert all(output["OutputValue"] for output in described)


@pytest.mark.usefixtures("deployed")
def test_every_party_has_a_cluster_of_its_own_in_a_vpc_of_its_own(laptop: Laptop) -> None:
    federation = load_federation(laptop.directory / "federation.yaml")
    eks, ec2 = laptop.client("eks"), laptop.client("ec2")
    clusters = {name: eks.describe_cluster(name=name)["cluster"] for name in eks.list_clusters()["clusters"]}
    assert clusters.keys() == {names.cluster("heart", party.name) for party in federation.parties}
    networks = {}
    for party in federation.parties:
        subnets = clusters[names.cluster("heart", party.name)]["resourcesVpcConfig"]["subnetIds"]
        (vpc,) = {subnet["VpcId"] for subnet in ec2.describe_subnets(SubnetIds=subnets)["Subnets"]}
        networks[vpc] = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"]
    assert sorted(networks.values()) == sorted(party.vpc_cidr for party in federation.parties)


@pytest.mark.usefixtures("deployed")
def test_hub_has_the_bucket_and_the_queues_that_the_run_time_looks_for(laptop: Laptop) -> None:
    federation = load_federation(laptop.directory / "federation.yaml")
    laptop.client("s3").head_bucket(Bucket=names.mail_bucket("heart", ACCOUNT, REGION))
    sqs = laptop.client("sqs")
    for party in federation.parties:
        for name in (names.data_queue, names.control_queue):
            url = sqs.get_queue_url(QueueName=name("heart", party.name))["QueueUrl"]
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert attributes["FifoQueue"] == "true"
            dead = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
            assert dead.endswith(f":{names.dead_letter_queue('heart', party.name)}")


@pytest.mark.usefixtures("deployed")
def test_what_reaches_kubernetes_is_resolved_and_valid(laptop: Laptop) -> None:
    records = [json.loads(line) for line in laptop.records.read_text().splitlines()]
    applied = [r["properties"] for r in records if r["type"] == "Custom::AWSCDK-EKS-KubernetesResource"]
    assert len(applied) == 4 * 4 + 1
    manifests = [manifest for properties in applied for manifest in json.loads(properties["Manifest"])]
    assert len(manifests) == 4 * 15 + 1
    for manifest in manifests:
        assert not re.search(r"Fn::|Token\[|AWS::", json.dumps(manifest))
        if manifest["kind"] != "NodePool":
            kubernetes_validate.validate(manifest, KUBERNETES.version, strict=True)
    settings = [m["data"] for m in manifests if m["kind"] == "ConfigMap" and m["metadata"]["name"] == "settings"]
    assert {s["FEDSILO_HUB_ACCOUNT"] for s in settings} == {ACCOUNT}
    assert f"s3://{names.data_bucket('heart', 'cleveland', ACCOUNT, REGION)}/" in {s["FEDSILO_DATA"] for s in settings}


def test_destroy_leaves_nothing(laptop: Laptop, deployed: dict[str, Any]) -> None:
    laptop.cdk("destroy", "--all", "--force")
    laptop.assert_server_had_no_trouble()
    summaries = laptop.client("cloudformation").list_stacks()["StackSummaries"]
    left = {s["StackName"] for s in summaries if s["StackStatus"] != "DELETE_COMPLETE"}
    assert left == {"CDKToolkit"}
    assert laptop.client("eks").list_clusters()["clusters"] == []
    assert [v for v in laptop.client("ec2").describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
    assert [b for b in laptop.client("s3").list_buckets()["Buckets"] if b["Name"].startswith("heart")] == []
    assert laptop.client("sqs").list_queues().get("QueueUrls", []) == []
    roles = laptop.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles if role["RoleName"].startswith("heart")] == []
    groups = laptop.client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups if "heart" in group["logGroupName"]] == []
