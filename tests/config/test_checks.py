"""Settings of federation.yaml that do not fit together are reported."""

from typing import Any

import pytest

from fedsilo.agent import policy
from fedsilo.config import run
from fedsilo.config.checks import MAX_SILOS
from fedsilo.config.load import parse_federation
from tests.support.federation_yaml import problems, two_silos, with_setting

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("silos.1.name", "cleveland", "silos[1].name: cleveland is also silos[0].name"),
        (
            "silos.1.name",
            "all",
            "silos[1].name: all is a reserved name, like all of aggregator, all, hub, mail, outbox",
        ),
        (
            "silos.1.name",
            "cleveland-clinic",
            "silos[1].name: cleveland-clinic begins with cleveland- (silos[0].name), so "
            "`cdk destroy 'heart-cleveland-*'` would destroy it too; write a name that does not, such as "
            "clevelandclinic",
        ),
        ("silos.0.name", "aggregator-2", "silos[0].name: aggregator-2 begins with aggregator- (the aggregator), so"),
        ("silos.1.rank", 1, "silos[1].rank: 1 is also silos[0].rank; write the rank of each silo"),
        ("silos.1.vpc_cidr", "10.0.0.0/16", "silos[1].vpc_cidr: 10.0.0.0/16 overlaps aggregator.vpc_cidr"),
        ("silos.1.vpc_cidr", "10.1.4.0/24", "silos[1].vpc_cidr: 10.1.4.0/24 overlaps silos[0].vpc_cidr"),
        ("silos.0.vpc_cidr", "172.20.0.0/20", "silos[0].vpc_cidr: 172.20.0.0/20 overlaps the clusters' service"),
        (
            "silos.0.region",
            "eu-west-1",
            "silos[0].egress: endpoints reach only Region eu-west-1, and the hub is in us-east-1; use egress: nat",
        ),
        ("silos.0.account", "222222222222", "aggregator.account: is missing, because silos[0] names one"),
        (
            "silos.0.availability_zones",
            ["us-east-1a", "us-west-2a"],
            "silos[0].availability_zones: us-west-2a should be a zone of us-east-1",
        ),
        (
            "silos.0.availability_zones",
            ["us-east-1a"] * 2,
            "silos[0].availability_zones: us-east-1a, us-east-1a should all differ",
        ),
        ("silos.0.endpoint_zones", 3, "silos[0].endpoint_zones: 3 should be at most 2, the number of its zones"),
        (
            "silos.0.images",
            {"trainer": f"docker.io/x@{DIGEST}"},
            f"silos[0].images.trainer: docker.io/x@{DIGEST} should be in ECR in us-east-1",
        ),
        ("silos.0.policy.min_silos", 3, "silos[0].policy.min_silos: 3 should be at most 2, the number of silos; write"),
        (
            "silos.0.policy",
            {"workloads": ["heart_disease"], "hyperparameters": {"learning_rate": {"max": 0.1}}},
            "silos[0].policy.hyperparameters.learning_rate: unknown hyperparameter; the allowed workloads have batch",
        ),
        ("control_plane", "mlops", "mlops_secret: is missing: control_plane mlops needs the name of the secret"),
        ("control_plane", "mlops", "silos[1].egress: endpoints do not reach FedML's platform; use egress: nat"),
        ("mlops_secret", "fedml/key", "mlops_secret: fedml/key is for control_plane mlops only"),
    ],
)
def test_rule_that_is_broken_is_reported_with_the_setting(path: str, value: Any, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(with_setting(path, value)))


def test_alarms_belong_to_a_hub() -> None:
    told = "alarm_email: control_plane mlops has no hub and no alarms; leave it out"
    hosted = {"control_plane": "mlops", "mlops_secret": "fedml/key", "alarm_email": "me@example.org"}
    assert told in [*problems(two_silos() | hosted)]


@pytest.mark.parametrize(
    ("add_ons", "problem"),
    [
        (["metric-server"], "metric-server is none of them"),
        (["adot"], "should also have cert-manager, which adot needs"),
        (["cert-manager", "cert-manager"], "should all differ"),
    ],
)
def test_add_ons_are_known_whole_and_named_once(add_ons: list[str], problem: str) -> None:
    told = [*problems(with_setting("silos.0.add_ons", add_ons))]
    assert any(line.startswith("silos[0].add_ons: ") and problem in line for line in told), told


def test_a_federation_of_one_silo_has_to_say_that_one_is_enough() -> None:
    raw = two_silos()
    raw["silos"].pop()
    told = "policy.min_silos: 2 (the default) should be at most 1, the number of silos; write `policy: {min_silos: 1}`"
    assert [problem.partition(" if ")[0] for problem in problems(raw)] == [f"aggregator.{told}", f"silos[0].{told}"]
    for party in (raw["aggregator"], *raw["silos"]):
        party["policy"] = {"min_silos": 1}
    federation = parse_federation(raw)
    asked = run.plan("heart", "heart_disease", ["cleveland"], overrides={}, least_silos=1)
    assert asked.quorum == 1
    assert [policy.check(asked, party.policy, asked.created) for party in federation.parties] == [[], []]


def test_account_must_be_given_for_all_parties_or_for_none() -> None:
    raw = two_silos()
    raw["aggregator"]["account"] = raw["silos"][0]["account"] = "111111111111"
    raw["silos"][1]["account"] = None
    message = "is missing, because aggregator names one: a party's policies name the accounts of others"
    assert problems(raw) == [f"silos[1].account: {message}"]
    raw["silos"][1]["account"] = "12"
    assert problems(raw) == ["silos[1].account: 12 should be 12 digits"]


def test_name_of_the_data_bucket_fits_into_s3s_limit() -> None:
    raw = with_setting("silos.1", {"name": "x" * 20, "vpc_cidr": "10.2.0.0/16", "data": "s3"})
    raw["name"] = "y" * 20
    raw["aggregator"]["region"] = "ap-southeast-1"
    assert problems(raw) == [
        f"silos[1].name: {'x' * 20} should be 6 characters shorter: S3 allows 63 for the name of the data bucket"
    ]


def test_number_of_silos_is_limited_by_the_hub() -> None:
    def silos(count: int) -> dict[str, Any]:
        raw = two_silos()
        raw["aggregator"]["account"] = "111111111111"
        raw["silos"] = [
            {"name": f"silo-{i}", "vpc_cidr": f"10.{i + 1}.0.0/16", "account": str(222222222222 + i)}
            for i in range(count)
        ]
        return raw

    assert len(parse_federation(silos(MAX_SILOS)).silos) == MAX_SILOS
    assert "silos: 101 should be 100 at most" in problems(silos(MAX_SILOS + 1))[0]


@pytest.mark.parametrize(
    "own", [{"images": {"trainer": f"111111111111.dkr.ecr.us-east-1.amazonaws.com/x@{DIGEST}"}}, {}]
)
def test_bound_may_name_a_hyperparameter_of_a_workload_that_is_unknown_here(own: dict[str, Any]) -> None:
    raw = two_silos()
    policy = {"hyperparameters": {"dropout": {"max": 0.5}}} | ({} if own else {"workloads": ["heart_disease", "ours"]})
    raw["silos"][0] |= {"policy": policy, **own}
    assert "dropout" in parse_federation(raw).silos[0].policy.hyperparameters


def test_silos_keep_their_ranks_when_one_leaves_or_is_inserted() -> None:
    raw = two_silos()
    raw["silos"] = [{"name": "boston", "vpc_cidr": "10.3.0.0/16", "rank": 3}, raw["silos"][1] | {"rank": 2}]
    assert {silo.name: silo.rank for silo in parse_federation(raw).silos} == {"boston": 3, "hungary": 2}


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"k" * 129: ""}, f"tags: '{'k' * 40}' should have a key of 1 to 128 characters and a value of at most 256"),
        ({"k": "v" * 257}, "tags: 'k' should have a key of 1 to 128 characters and a value of at most 256"),
        ({"k": "a*"}, "tags: 'k' should consist of letters, digits, spaces and _ . : / = + - @, and its value too"),
        ({"AWS:x": ""}, "tags: 'AWS:x' should not begin with aws: or fedsilo:, which others use"),
        ({"fedsilo:party": "x"}, "tags: 'fedsilo:party' should not begin with aws: or fedsilo:, which others use"),
        ({"a": "", "A": ""}, "tags: keys should differ in more than upper and lower case"),
        ({"CostCenter": 4711}, "tags.CostCenter: 4711 should be a valid string"),
        ([], "tags: should be a mapping"),
    ],
)
def test_tag_that_aws_would_refuse_is_reported(tags: Any, message: str) -> None:
    assert problems(with_setting("tags", tags))[0].startswith(message)
    assert problems(with_setting("silos.1.tags", tags))[0].startswith(f"silos[1].{message}")


def test_tags_of_federation_and_party_are_limited_together() -> None:
    raw = with_setting("tags", {f"all-{i}": "" for i in range(30)})
    raw["silos"][0]["tags"] = {f"own-{i}": "" for i in range(10)} | {"all-0": "mine"}
    federation = parse_federation(raw)
    assert len(federation.tags_of(federation.silos[0])) == 40
    assert federation.tags_of(federation.silos[0])["all-0"] == "mine"
    raw["silos"][0]["tags"]["own-10"] = ""
    assert problems(raw) == ["silos[0].tags: 41 with the federation's should be 40 at most"]
