"""The templates are reproducible, small and tagged, and they follow the spec."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from fedsilo import names
from fedsilo.keys import MAIL_TAG
from tests.support.cloudformation import ACCOUNT
from tests.support.synthesis import FILES, Synthesized, hub_stacks, synthesize

SEEN_WHOLE = {
    "example": [
        "heart-hub", "heart-hub-alarms", "heart-cleveland-network", "heart-cleveland-cluster",
        "heart-cleveland-workload", "heart-cleveland-store",
    ],
    "everything": [
        "every-hub", "every-near-data", "every-near-cluster", "every-far-network", "every-far-data",
        "every-far-cluster", "every-far-workload", "every-other-workload",
    ],
    "mlops": ["hosted-aggregator-workload", "hosted-near-workload", "hosted-near-network"],
}  # fmt: skip


@pytest.mark.parametrize("stack", [stack for stacks in SEEN_WHOLE.values() for stack in stacks])
def test_template_is_as_it_was(request: pytest.FixtureRequest, snapshot: SnapshotAssertion, stack: str) -> None:
    """A change of a template shows in review. To accept it: ``pytest --snapshot-update``."""
    name = next(name for name, stacks in SEEN_WHOLE.items() if stack in stacks)
    synthesized: Synthesized = request.getfixturevalue(name)
    masked = re.sub(r"[0-9a-f]{64}", "<hash>", json.dumps(synthesized.templates[stack]))
    assert json.loads(masked) == snapshot(extension_class=JSONSnapshotExtension, name=stack)


@pytest.mark.parametrize("name", FILES)
def test_synth_gives_the_same_templates_and_asks_nobody(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CDK_DEFAULT_ACCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(Path(request.config.rootpath) / ".venv" / "bin"))
    again = synthesize(FILES[name], tmp_path)
    first: Synthesized = request.getfixturevalue(name)
    assert again.templates == first.templates
    assert "missing" not in json.loads((tmp_path / "manifest.json").read_text())


def test_every_party_has_one_stack_of_each_kind(whichever: Synthesized) -> None:
    fed = whichever.federation
    assert set(whichever.templates) == {
        *(hub_stacks(fed.name) if fed.control_plane == "self-hosted" else ()),
        *(names.stack(fed.name, p.name, kind) for p in fed.parties for kind in ("network", "cluster", "workload")),
        *(names.stack(fed.name, p.name, "data") for p in fed.parties if p.data == "s3"),
        *(names.stack(fed.name, s.name, "store") for s in fed.silos if fed.control_plane == "self-hosted"),
    }


def test_silo_takes_at_most_ninety_resources(whichever: Synthesized) -> None:
    count: Counter[str] = Counter()
    for stack, template in whichever.templates.items():
        if stack not in hub_stacks(whichever.federation.name):
            count[whichever.party_of(stack).name] += len(template["Resources"])
    assert max(count.values()) <= 90, count


def test_stacks_go_to_the_accounts_and_regions_of_the_spec(whichever: Synthesized) -> None:
    manifest = json.loads((whichever.directory / "manifest.json").read_text())
    stacks = {k: v for k, v in manifest["artifacts"].items() if v["type"] == "aws:cloudformation:stack"}
    assert stacks.keys() == whichever.templates.keys()
    for stack, artifact in stacks.items():
        party = whichever.party_of(stack)
        assert artifact["environment"] == f"aws://{party.account or 'unknown-account'}/{party.region}"


def test_no_template_imports_from_another_party(whichever: Synthesized) -> None:
    """Hub and silos deploy in any order and in different accounts, because they know each other by name alone."""
    for stack, template in whichever.templates.items():
        imports = re.findall(r'"Fn::ImportValue": "([^:"]+):', json.dumps(template))
        assert {whichever.party_of(other).name for other in imports} <= {whichever.party_of(stack).name}
        if stack not in hub_stacks(whichever.federation.name):
            assert not set(imports) & set(hub_stacks(whichever.federation.name))


def test_resources_are_tagged_with_federation_and_party(synthesized: Synthesized) -> None:
    """CloudFormation gives a stack's tags to its resources. The queues of the hub have their own party's tag."""
    manifest = json.loads((synthesized.directory / "manifest.json").read_text())
    for stack in synthesized.templates:
        tags = manifest["artifacts"][stack]["properties"]["tags"]
        assert tags[names.FEDERATION_TAG] == synthesized.federation.name
        assert tags[names.PARTY_TAG] == synthesized.party_of(stack).name
        of_spec = {"CostCenter": "4711", "Environment": "test"} if synthesized.federation.name == "every" else {}
        of_spec |= {"CostCenter": "0815"} if synthesized.party_of(stack).name == "near" else {}
        assert tags.keys() == {names.FEDERATION_TAG, names.PARTY_TAG, *of_spec}
        assert tags.items() >= of_spec.items()
    owners = {
        properties["QueueName"]: {tag["Key"]: tag["Value"] for tag in properties["Tags"]}[names.PARTY_TAG]
        for _, _, properties in synthesized.resources("AWS::SQS::Queue")
    }
    fed = synthesized.federation
    assert owners == {
        name(fed.name, party.name): party.name
        for party in fed.parties
        for name in (names.data_queue, names.control_queue, names.dead_letter_queue)
    }


def test_outputs_of_every_stack_say_what_to_do_next(whichever: Synthesized) -> None:
    for stack, template in whichever.templates.items():
        if not stack.endswith("-network"):
            said = [out for out in template["Outputs"].values() if "Export" not in out]
            assert said
            assert all(out["Description"] for out in said)


def test_mail_expires_and_ledgers_do_not(synthesized: Synthesized) -> None:
    fed = synthesized.federation
    hub = synthesized.templates[names.stack(fed.name, names.HUB)]["Resources"]
    (mail,) = [
        r["Properties"] for r in hub.values() if r["Type"] == "AWS::S3::Bucket" and "BucketName" in r["Properties"]
    ]
    rules = mail["LifecycleConfiguration"]["Rules"]
    assert mail["VersioningConfiguration"] == {"Status": "Enabled"}
    key, value = MAIL_TAG
    assert [r["TagFilters"] for r in rules if "ExpirationInDays" in r] == [[{"Key": key, "Value": value}]]


def test_what_a_silo_keeps_for_itself_is_its_own(synthesized: Synthesized) -> None:
    """Its own key, versions for a day, and only TLS."""
    fed = synthesized.federation
    for silo in fed.silos:
        stack = names.stack(fed.name, silo.name, "store")
        [bucket] = [found for of, _, found in synthesized.resources("AWS::S3::Bucket") if of == stack]
        [policy] = [found for of, _, found in synthesized.resources("AWS::S3::BucketPolicy") if of == stack]
        [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert len([found for of, _, found in synthesized.resources("AWS::KMS::Key") if of == stack]) == 1
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        [rule] = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
        assert "aws:SecureTransport" in json.dumps(policy)


def test_every_queue_has_a_dead_letter_queue_with_an_alarm(synthesized: Synthesized) -> None:
    fed = synthesized.federation
    queues = {properties["QueueName"]: properties for _, _, properties in synthesized.resources("AWS::SQS::Queue")}
    watched = [
        (alarm["Dimensions"][0]["Value"], alarm["MetricName"], bool(alarm["AlarmActions"]))
        for _, _, alarm in synthesized.resources("AWS::CloudWatch::Alarm")
    ]
    for party in fed.parties:
        dead = names.dead_letter_queue(fed.name, party.name)
        for queue in (names.data_queue(fed.name, party.name), names.control_queue(fed.name, party.name)):
            assert queues[queue]["FifoQueue"] is True
            assert queues[queue]["RedrivePolicy"]["deadLetterTargetArn"].endswith(f":{dead}")
        assert (dead, "ApproximateNumberOfMessagesVisible", True) in watched


def test_silent_agent_and_a_mail_bucket_that_grows_raise_alarms(synthesized: Synthesized) -> None:
    """An agent's polls are counted by SQS. SQS counts nothing for a queue that nobody has asked for hours."""
    fed = synthesized.federation
    alarms = {
        (alarm["MetricName"], alarm["Dimensions"][0]["Value"]): alarm
        for _, _, alarm in synthesized.resources("AWS::CloudWatch::Alarm")
    }
    for party in fed.parties:
        alarm = alarms["NumberOfEmptyReceives", names.control_queue(fed.name, party.name)]
        assert (alarm["ComparisonOperator"], alarm["Threshold"], alarm["Statistic"]) == ("LessThanThreshold", 1, "Sum")
        assert alarm["TreatMissingData"] == "breaching"
        assert alarm["Period"] * alarm["EvaluationPeriods"] == 15 * 60
    hub = fed.aggregator
    alarm = alarms["BucketSizeBytes", names.mail_bucket(fed.name, hub.account or ACCOUNT, hub.region)]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 500 * 2**30)
    assert len(alarms) == 2 * len(fed.parties) + 1
    assert all(alarm["AlarmActions"] for alarm in alarms.values())


def test_alarms_go_to_the_address_of_the_spec(example: Synthesized, everything: Synthesized) -> None:
    assert not [*example.resources("AWS::SNS::Subscription")]
    [(stack, _, subscription)] = everything.resources("AWS::SNS::Subscription")
    assert stack == "every-hub"
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@hospital.example")


@pytest.mark.parametrize(("party", "kept"), [("aggregator", False), ("near", False), ("far", True), ("other", True)])
def test_data_is_kept_on_destroy_unless_the_spec_says_delete(everything: Synthesized, party: str, kept: bool) -> None:
    policies = {
        (stack, logical_id): resource.get("DeletionPolicy")
        for stack, template in everything.templates.items()
        for logical_id, resource in template["Resources"].items()
        if everything.party_of(stack).name == party and resource["Type"] == "AWS::S3::Bucket"
    }
    assert policies
    assert set(policies.values()) == {"Retain" if kept else "Delete"}


def test_flow_logs_are_allowed_by_the_buckets_own_policy(whichever: Synthesized) -> None:
    """AWS would add the permission itself, and the next change of the policy would take it away."""
    buckets = {
        stack: {
            s["Principal"].get("Service")
            for s in properties["PolicyDocument"]["Statement"]
            if "Service" in s["Principal"]
        }
        for stack, _, properties in whichever.resources("AWS::S3::BucketPolicy")
        if stack.endswith("-network")
    }
    assert len(buckets) == len(whichever.federation.parties)
    assert all("delivery.logs.amazonaws.com" in services for services in buckets.values())


def test_only_a_party_with_egress_nat_can_reach_the_internet(everything: Synthesized) -> None:
    for party in everything.federation.parties:
        kinds = Counter(
            r["Type"] for r in everything.templates[names.stack("every", party.name, "network")]["Resources"].values()
        )
        isolated = party.egress == "endpoints"
        assert kinds["AWS::EC2::InternetGateway"] == kinds["AWS::EC2::NatGateway"] == (0 if isolated else 1)
        of_add_ons = 2 if "amazon-cloudwatch-observability" in party.add_ons else 0
        assert kinds["AWS::EC2::VPCEndpoint"] == (11 + of_add_ons if isolated else 1)
        assert kinds["AWS::Route53Resolver::FirewallRuleGroupAssociation"] == (1 if isolated else 0)


def test_endpoints_are_in_as_many_zones_as_the_spec_says(everything: Synthesized) -> None:
    for stack, _, properties in everything.resources("AWS::EC2::VPCEndpoint"):
        if properties["VpcEndpointType"] == "Interface":
            assert len(properties["SubnetIds"]) == everything.party_of(stack).endpoint_zones
