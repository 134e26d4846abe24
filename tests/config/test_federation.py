"""What federation.yaml may say, and what each mistake in it is told."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsilo import names
from fedsilo.config import federation as spec
from fedsilo.errors import SpecError

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0" * 64


def two_silos() -> dict[str, Any]:
    return {
        "name": "heart",
        "aggregator": {"region": "us-east-1", "vpc_cidr": "10.0.0.0/16"},
        "silos": [
            {"name": "cleveland", "vpc_cidr": "10.1.0.0/16"},
            {"name": "hungary", "vpc_cidr": "10.2.0.0/16"},
        ],
    }


def with_setting(path: str, value: Any) -> dict[str, Any]:
    """The federation of two silos with the setting at ``path`` (``silos.0.region``) changed."""
    raw = two_silos()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = raw
    for part in parents:
        target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
    target[last] = value
    return raw


def problems(raw: object) -> list[str]:
    with pytest.raises(SpecError) as error:
        spec.parse(raw)
    return str(error.value).splitlines()


def test_example_is_valid_and_short() -> None:
    federation = spec.load(ROOT / "federation.yaml")
    assert [party.name for party in federation.parties] == [
        "aggregator", "cleveland", "hungary", "switzerland", "long-beach",
    ]  # fmt: skip
    assert [party.rank for party in federation.parties] == [0, 1, 2, 3, 4]
    assert federation.party("hungary").rank == 2
    assert len((ROOT / "federation.yaml").read_text().splitlines()) < 30


def test_defaults_are_the_isolated_and_careful_ones() -> None:
    silo = spec.parse(two_silos()).silos[0]
    assert silo.egress == "endpoints"
    assert silo.endpoint_cidrs == ()
    assert silo.on_destroy == "keep"
    assert silo.availability_zones == ("us-east-1a", "us-east-1b")
    assert silo.policy.min_silos == 2


def test_silo_takes_the_aggregators_region_unless_it_names_one() -> None:
    raw = two_silos()
    raw["silos"][1] |= {"region": "eu-west-1", "egress": "nat"}
    federation = spec.parse(raw)
    assert [silo.region for silo in federation.silos] == ["us-east-1", "eu-west-1"]
    assert federation.silos[1].availability_zones == ("eu-west-1a", "eu-west-1b")


def test_silo_is_foreign_where_its_account_is_not_the_hubs() -> None:
    raw = two_silos()
    raw["aggregator"]["account"] = raw["silos"][0]["account"] = "111111111111"
    raw["silos"][1]["account"] = "222222222222"
    federation = spec.parse(raw)
    assert [federation.is_foreign(silo) for silo in federation.silos] == [False, True]
    assert not spec.parse(two_silos()).is_foreign(federation.silos[0].model_copy(update={"account": None}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "Heart", "name: Heart should be 2 to 20 of a-z, 0-9 and hyphen, a letter first and no hyphen last"),
        ("silos.1.name", "cleveland", "silos[1].name: cleveland is also silos[0].name"),
        (
            "silos.1.name",
            "all",
            "silos[1].name: all should be none of aggregator, all, mail, outbox: they name other things",
        ),
        ("silos.1.name", "x" * 21, f"silos[1].name: {'x' * 21} should be 2 to 20 of a-z, 0-9 and hyphen"),
        ("aggregator.name", "server", "aggregator.name: unknown key; known here: account, region"),
        ("silos.1.vpc_cidr", "10.0.0.0/16", "silos[1].vpc_cidr: 10.0.0.0/16 overlaps aggregator.vpc_cidr"),
        ("silos.1.vpc_cidr", "10.1.4.0/24", "silos[1].vpc_cidr: 10.1.4.0/24 overlaps silos[0].vpc_cidr"),
        (
            "silos.0.vpc_cidr",
            "172.20.0.0/20",
            "silos[0].vpc_cidr: 172.20.0.0/20 overlaps the clusters' service",
        ),
        ("silos.0.vpc_cidr", "10.1.0.1/16", "silos[0].vpc_cidr: 10.1.0.1/16 should be a private IPv4 network"),
        ("silos.0.vpc_cidr", "8.8.0.0/16", "silos[0].vpc_cidr: 8.8.0.0/16 should be a private IPv4 network"),
        ("silos.0.vpc_cidr", "ten", "silos[0].vpc_cidr: ten should be a private IPv4 network"),
        (
            "silos.0.region",
            "cn-north-1",
            "silos[0].region: cn-north-1 should be a Region with EKS Auto Mode: af",
        ),
        ("silos.0.region", "eu-west-1", "silos[0].egress: endpoints reach no other Region than eu-west-1"),
        ("silos.0.account", 12, "silos[0].account: 12 should be 12 digits in quotes"),
        ("silos.0.account", "222222222222", "aggregator.account: is missing, because silos[0] names one"),
        (
            "silos.0.availability_zones",
            ["us-east-1a"],
            "silos[0].availability_zones: should have at least 2 items",
        ),
        (
            "silos.0.availability_zones",
            ["us-east-1a", "us-west-2a"],
            "silos[0].availability_zones: us-west-2a should",
        ),
        (
            "silos.0.availability_zones",
            ["us-east-1a"] * 2,
            "silos[0].availability_zones: us-east-1a, us-east-1a",
        ),
        ("silos.0.endpoint_zones", 3, "silos[0].endpoint_zones: 3 should be at most the 2 zones there are"),
        ("silos.0.egress", "internet", "silos[0].egress: internet should be 'endpoints' or 'nat'"),
        ("silos.0.image", "fedsilo:latest", "silos[0].image: fedsilo:latest should be an image by digest"),
        ("silos.0.image", f"docker.io/x@{DIGEST}", "silos[0].image: docker.io/x@sha256:"),
        ("silos.0.access", [{"principal": "root"}], "silos[0].access[0].principal: root should be the ARN of an IAM"),
        ("silos.0.endpoint_cidrs", ["0.0.0.0/0"], "silos[0].endpoint_cidrs[0]: 0.0.0.0/0 should be an IPv4 network"),
        ("silos.0.compute.gpu", -1, "silos[0].compute.gpu: -1 should be greater than or equal to 0"),
        ("silos.0.compute.gpus", 1, "silos[0].compute.gpus: unknown key; known here: cpu, memory_gib, gpu, nodes"),
        ("silos.0.policy.min_silos", 3, "silos[0].policy.min_silos: 3 should be at most the 2 silos there are"),
        ("silos.0.policy.hours", {"start": 3, "end": 3}, "silos[0].policy.hours: should have an end that is not its"),
        (
            "silos.0.policy",
            {"workloads": ["heart_disease"], "hyperparameters": {"learning_rate": {"max": 0.1}}},
            "silos[0].policy.hyperparameters.learning_rate: no workload that is allowed has such one; they have batch",
        ),
        ("silos.0.policy.hyperparameters", {"lr": {}}, "silos[0].policy.hyperparameters.lr: should have min, max or"),
        (
            "silos.0.policy.hyperparameters",
            {"lr": {"min": 2, "max": 1}},
            "silos[0].policy.hyperparameters.lr: should have a min that is not above its max",
        ),
        ("control_plane", "mlops", "mlops_secret: is missing: control_plane mlops needs the name of the secret"),
        ("control_plane", "mlops", "silos[1].egress: endpoints do not reach FedML's platform"),
        ("mlops_secret", "fedml/key", "mlops_secret: fedml/key is for control_plane mlops only"),
        ("mlops_secret", "arn:aws:x", "mlops_secret: arn:aws:x should be of [A-Za-z0-9/_+=.@-]{1,512}"),
        ("silo", [], "silo: unknown key; known here: name, control_plane, mlops_secret, aggregator, silos"),
        ("silos", [], "silos: should have at least 1 item, not 0"),
        ("silos", {}, "silos: should be a list"),
        ("aggregator", [], "aggregator: should be a mapping"),
    ],
)
def test_mistake_is_named_with_its_field_its_value_and_what_is_allowed(path: str, value: Any, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(with_setting(path, value)))


def test_one_mistake_is_one_problem() -> None:
    """A field with a problem of its own takes no part in the checks across fields."""
    assert len(problems(with_setting("silos.0.region", "cn-north-1"))) == 1
    assert len(problems(with_setting("aggregator.region", ["us-east-1"]))) == 3
    assert len(problems(with_setting("silos.1.name", "cleveland"))) == 1


def test_all_problems_are_reported_at_once() -> None:
    raw = with_setting("silos.1.vpc_cidr", "10.0.0.0/16")
    raw["nmae"] = raw.pop("name")
    raw["silos"][0]["compute"] = {"cpu": 0}
    assert sorted(problem.split(":")[0] for problem in problems(raw)) == [
        "name", "nmae", "silos[0].compute.cpu", "silos[1].vpc_cidr",
    ]  # fmt: skip


def test_data_buckets_name_fits_into_s3s_limit() -> None:
    raw = with_setting("silos.1", {"name": "x" * 20, "vpc_cidr": "10.2.0.0/16", "data": "s3"})
    raw["name"] = "y" * 20
    raw["aggregator"]["region"] = "ap-southeast-1"
    assert problems(raw) == [
        f"silos[1].name: {'x' * 20} should be 6 shorter: S3 allows 63 characters for the data bucket"
    ]


def test_hub_has_room_for_so_many_silos_and_no_more() -> None:
    def silos(count: int, **settings: str) -> dict[str, Any]:
        raw = two_silos()
        raw["silos"] = [{"name": f"silo-{i}", "vpc_cidr": f"10.{i + 1}.0.0/16", **settings} for i in range(count)]
        raw["aggregator"] |= {"account": "111111111111"} if settings else {}
        return raw

    assert len(spec.parse(silos(spec.MAX_SILOS)).silos) == spec.MAX_SILOS
    assert "silos: 101 should be 100 at most" in problems(silos(spec.MAX_SILOS + 1))[0]
    foreign = spec.MAX_FOREIGN_SILOS
    assert spec.parse(silos(foreign, account="222222222222"))
    assert "in accounts other than" in problems(silos(foreign + 1, account="222222222222"))[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "line 1: not YAML: "),
        ("name: a\nname: b", "line 2: not YAML: 'name' is given twice"),
        ("name: 2024-99-99", "not YAML: "),
        ("[" * 5000, "not YAML: "),
        ("", "federation: should be a mapping with name, aggregator and silos"),
    ],
)
def test_file_that_is_no_federation_is_an_error_without_traceback(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "federation.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        spec.load(path)


def test_missing_or_binary_file_is_an_error_without_traceback(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        spec.load(tmp_path / "federation.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="not YAML"):
        spec.load(tmp_path / "binary")


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("us-east-1")
_ANYTHING = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(
    field=st.sampled_from([*spec.Silo.model_fields, "unknown"]),
    party=st.sampled_from(["aggregator", "silo", "federation"]),
    value=_ANYTHING,
)
def test_whatever_a_field_holds_is_valid_or_a_problem_with_words(field: str, party: str, value: Any) -> None:
    raw = copy.deepcopy(two_silos())
    target = {"aggregator": raw["aggregator"], "silo": raw["silos"][0], "federation": raw}[party]
    target[field] = value
    reasons: list[str] = []
    try:
        assert spec.parse(raw).aggregator.name == names.AGGREGATOR
    except SpecError as error:
        reasons = str(error).splitlines()
    assert all(": " in reason for reason in reasons)


@pytest.mark.parametrize("own", [{"image": f"111111111111.dkr.ecr.us-east-1.amazonaws.com/x@{DIGEST}"}, {}])
def test_bound_may_be_of_a_workload_that_is_not_known_here(own: dict[str, Any]) -> None:
    raw = two_silos()
    policy = {"hyperparameters": {"dropout": {"max": 0.5}}} | ({} if own else {"workloads": ["heart_disease", "ours"]})
    raw["silos"][0] |= {"policy": policy, **own}
    assert "dropout" in spec.parse(raw).silos[0].policy.hyperparameters
