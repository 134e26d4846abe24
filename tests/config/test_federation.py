"""Each setting of federation.yaml has careful defaults and limits, and says what is wrong with a value."""

from typing import Any

import pytest

from fedsilo.config.federation import Federation
from fedsilo.config.load import parse_federation
from fedsilo.errors import SpecError
from tests.support.federation_yaml import problems, two_silos, with_setting


def test_defaults_are_isolated_and_careful() -> None:
    silo = parse_federation(two_silos()).silos[0]
    assert silo.egress == "endpoints"
    assert silo.endpoint_cidrs == ()
    assert silo.on_destroy == "keep"
    assert silo.availability_zones == ("us-east-1a", "us-east-1b")
    assert (silo.policy.min_silos, silo.policy.min_samples, silo.policy.min_batch_size) == (2, 10, 2)
    assert (silo.policy.publish, silo.policy.require) == ((), ())


def test_party_is_found_by_name_and_ranked_by_its_place() -> None:
    federation = parse_federation(two_silos())
    assert [party.rank for party in federation.parties] == [0, 1, 2]
    assert federation.party("hungary").rank == 2
    with pytest.raises(SpecError, match=r"^party: 'boston' is not one of aggregator, cleveland, hungary$"):
        federation.party("boston")


def test_silo_is_foreign_if_its_account_is_not_the_hubs() -> None:
    raw = two_silos()
    raw["aggregator"]["account"] = raw["silos"][0]["account"] = "111111111111"
    raw["silos"][1]["account"] = "222222222222"
    federation = parse_federation(raw)
    assert [federation.is_foreign(silo) for silo in federation.silos] == [False, True]
    here: Federation = parse_federation(two_silos())
    assert not any(here.is_foreign(silo) for silo in here.silos)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "Heart", "name: Heart should be 2 to 20 of a-z, 0-9 and hyphen, a letter first and no hyphen last"),
        ("silos.1.name", "x" * 21, f"silos[1].name: {'x' * 21} should be 2 to 20 of a-z, 0-9 and hyphen"),
        ("silos.0.vpc_cidr", "10.1.0.1/16", "silos[0].vpc_cidr: 10.1.0.1/16 should be a private IPv4 network"),
        ("silos.0.vpc_cidr", "8.8.0.0/16", "silos[0].vpc_cidr: 8.8.0.0/16 should be a private IPv4 network"),
        ("silos.0.vpc_cidr", "ten", "silos[0].vpc_cidr: ten should be a private IPv4 network"),
        ("silos.0.region", "cn-north-1", "silos[0].region: cn-north-1 should be a Region with EKS Auto Mode: af"),
        ("silos.0.account", 12, "silos[0].account: 12 should be 12 digits in quotes"),
        ("silos.0.availability_zones", ["us-east-1a"], "silos[0].availability_zones: should have at least 2 items"),
        ("silos.0.egress", "internet", "silos[0].egress: internet should be 'endpoints' or 'nat'"),
        (
            "silos.0.images",
            {"agent": "fedsilo:latest"},
            "silos[0].images.agent: fedsilo:latest should be an image by digest",
        ),
        ("silos.0.access", [{"principal": "root"}], "silos[0].access[0].principal: root should be the ARN of an IAM"),
        ("silos.0.endpoint_cidrs", ["0.0.0.0/0"], "silos[0].endpoint_cidrs[0]: 0.0.0.0/0 should be an IPv4 network"),
        ("silos.0.compute.gpu_memory_gib", 22, "silos[0].compute: gpu_families and gpu_memory_gib should be left out"),
        (
            "silos.0.compute",
            {"gpu": 1, "gpu_families": ["G6!"]},
            "silos[0].compute.gpu_families[0]: G6! should be a fam",
        ),
        ("silos.0.compute.model_gib", 17, "silos[0].compute.model_gib: 17 should be less than or equal to 16"),
        ("silos.0.compute.gpu", -1, "silos[0].compute.gpu: -1 should be greater than or equal to 0"),
        ("silos.0.policy.hours", {"start": 3, "end": 3}, "silos[0].policy.hours: should have an end that is not its"),
        ("silos.0.policy.hyperparameters", {"lr": {}}, "silos[0].policy.hyperparameters.lr: should have min, max or"),
        (
            "silos.0.policy.hyperparameters",
            {"lr": {"min": 2, "max": 1}},
            "silos[0].policy.hyperparameters.lr: should have a min that is not above its max",
        ),
        ("silos.0.policy.hours", {"time_zone": "Mars"}, "silos[0].policy.hours.time_zone: Mars should be the IANA"),
        ("silos.0.policy.hours", {"time_zone": "../x"}, "silos[0].policy.hours.time_zone: ../x should be the IANA"),
        ("silos.0.policy.hours", {"time_zone": "Europe"}, "silos[0].policy.hours.time_zone: Europe should be the IANA"),
        ("silos.0.policy.publish", ["data"], "silos[0].policy.publish[0]: data should be 'local_model'"),
        ("silos.0.policy.require", ["secret"], "silos[0].policy.require[0]: secret should be 'private' or 'secure'"),
        ("silos.0.policy.min_batch_size", 0, "silos[0].policy.min_batch_size: 0 should be greater than or equal to 1"),
        ("mlops_secret", "arn:aws:x", "mlops_secret: arn:aws:x should be of [A-Za-z0-9/_+=.@-]{1,512}"),
        ("silos", [], "silos: should have at least 1 item, not 0"),
    ],
)
def test_value_that_is_not_allowed_is_reported_with_what_is(path: str, value: Any, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(with_setting(path, value)))
