"""The schema of federation.yaml: every setting with its unit, its default and why that default.

It owns what a federation may look like and the messages for one that may not. It never calls AWS: what it can't know
without asking (whether an account has a quota, whether a secret exists) is left to the deployment.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fedsilo import names
from fedsilo.config.run import MAX_ROUNDS
from fedsilo.errors import SpecError
from fedsilo.workload import registry as workload

MAX_SILOS = 100
"""The hub's stack holds four resources a party, and CloudFormation allows 500 a stack."""

MAX_FOREIGN_SILOS = 12
"""Silos in accounts other than the aggregator's: each has its statements in the mail bucket's policy, which S3 limits
to 20 kB. A silo in the aggregator's account needs none."""

SERVICE_CIDR = "172.20.0.0/16"
"""Where every cluster's Kubernetes services live; no VPC may overlap it."""

# EKS Auto Mode is in every commercial Region that has EKS, and not in China
# (https://docs.aws.amazon.com/eks/latest/userguide/automode.html); read in November 2026.
REGIONS = frozenset(
    """
    af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
    ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-7 ca-central-1 ca-west-1 eu-central-1
    eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1
    mx-central-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2
    """.split()  # noqa: SIM905 - a list of 34 lines says no more
)

# A silo of these names would share a prefix, a bucket or a policy's pattern with what is not its own.
_RESERVED = frozenset({names.AGGREGATOR, names.EVERYONE, "mail", "outbox"})
_PRIVATE = [IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


def _check(allowed: str, holds: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        if not holds(value):
            raise ValueError(f"should be {allowed}")
        return value

    return AfterValidator(check)


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _network(value: str) -> IPv4Network | None:
    try:
        return IPv4Network(value)
    except ValueError:
        return None


def _private(value: str) -> bool:
    network = _network(value)
    return network is not None and 16 <= network.prefixlen <= 24 and any(network.subnet_of(n) for n in _PRIVATE)


def _restricted(value: str) -> bool:
    network = _network(value)
    return network is not None and network.prefixlen >= 8


def _no_number(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("should be 12 digits in quotes (YAML drops leading zeros of a number)")
    return value


Name = Annotated[
    str,
    _check("2 to 20 of a-z, 0-9 and hyphen, a letter first and no hyphen last", _matches(names.NAME_PATTERN)),
]
Account = Annotated[str, BeforeValidator(_no_number), _check("12 digits", _matches(r"[0-9]{12}"))]
Region = Annotated[str, _check(f"a Region with EKS Auto Mode: {', '.join(sorted(REGIONS))}", REGIONS.__contains__)]
VpcCidr = Annotated[str, _check("a private IPv4 network between /16 and /24, such as 10.1.0.0/16", _private)]
Cidr = Annotated[str, _check("an IPv4 network of /8 or smaller, such as 203.0.113.0/24", _restricted)]
PrincipalArn = Annotated[
    str, _check("the ARN of an IAM role or user", _matches(r"arn:aws:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]+"))
]
Image = Annotated[
    str,
    _check("an image by digest: registry/name@sha256:<64 hexadecimal digits>", _matches(r"\S+@sha256:[0-9a-f]{64}")),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Bound(_Model):
    """What one hyperparameter of a run may be."""

    min: float | None = None
    """The smallest value allowed. Default: none."""
    max: float | None = None
    """The largest value allowed. Default: none."""
    any_of: tuple[bool | int | float | str, ...] | None = None
    """The values allowed, where they can be listed. Default: any."""

    @model_validator(mode="after")
    def _some(self) -> "Bound":
        if self.min is None and self.max is None and self.any_of is None:
            raise ValueError("should have min, max or any_of")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("should have a min that is not above its max")
        return self


class Hours(_Model):
    """The hours of the day, in UTC, in which a run may start: from ``start`` up to, not including, ``end``."""

    start: int = Field(ge=0, le=23)
    """Hour, UTC. Required."""
    end: int = Field(ge=0, le=23)
    """Hour, UTC; before ``start`` for a night. Required."""

    @model_validator(mode="after")
    def _not_empty(self) -> "Hours":
        if self.start == self.end:
            raise ValueError("should have an end that is not its start (leave hours out for the whole day)")
        return self


class Policy(_Model):
    """What a party's owner allows a run to do to the party. An operator can send nothing that widens it."""

    workloads: tuple[str, ...] | None = None
    """Names of workloads. Default: every one in the party's image, which its owner chose and pinned."""
    hyperparameters: dict[str, Bound] = Field(default_factory=dict)
    """Bounds by name of the hyperparameter. A workload that has no such one is not bound by it; where none of the
    allowed ones has it, the name is a mistake: it is not valid here, and with an image of other workloads every run is
    refused. Default: none; a workload checks its own types."""
    max_rounds: int = Field(default=1000, ge=1, le=MAX_ROUNDS)
    """Rounds. Default 1000: far above what the examples need, and an end to a run nobody watches."""
    max_hours: float = Field(default=24, gt=0, le=24 * 28)
    """Hours a run may take, also the deadline of the trainer's Job. Default 24: a day of compute at most is lost."""
    min_silos: int = Field(default=2, ge=1)
    """Silos that have to take part. Default 2: of a single silo the aggregate would be its update."""
    hours: Hours | None = None
    """When a run may start. Default: any time."""
    require_privacy: bool = False
    """Whether only runs with a privacy mechanism are allowed. This version offers none, so that true refuses every run.
    Default no: silos that trust the aggregator with their updates need none."""


class Compute(_Model):
    """What the party's trainer gets."""

    cpu: float = Field(default=2, ge=0.25, le=96)
    """vCPU. Default 2: the examples train in seconds on them."""
    memory_gib: float = Field(default=4, ge=1, le=768)
    """GiB. Default 4: torch, FedML and the examples' data need less than 2."""
    gpu: int = Field(default=0, ge=0, le=8)
    """NVIDIA GPUs. Default 0; above 0 the cluster gets a GPU node pool that scales to zero between runs."""
    nodes: int = Field(default=1, ge=1, le=16)
    """Trainers of this size that fit in the namespace's quota at once. Default 1: a party's runs come one after the
    other. More is room for what else its owner runs there."""


class Access(_Model):
    """Who else than the deployment may use the party's cluster."""

    principal: PrincipalArn
    """The ARN of an IAM role or user. Required."""
    level: Literal["view", "admin"] = "view"
    """Default view: it shows everything but secrets, which is what looking after a cluster takes."""


class _Settings(_Model):
    """What the aggregator and the silos have in common."""

    account: Account | None = None
    """The AWS account, 12 digits. Default: that of the deploying credentials; all parties name one, or none does."""
    region: Region
    """The AWS Region. Required of the aggregator; a silo's default is the aggregator's, where its mail is."""
    vpc_cidr: VpcCidr
    """The VPC's addresses, /16 to /24. Required, because changing it replaces the VPC and the cluster in it."""
    availability_zones: tuple[str, ...] = Field(
        default_factory=lambda data: (f"{data.get('region')}a", f"{data.get('region')}b"), min_length=2, max_length=3
    )
    """Two or three zones, by name: EKS wants two, and asking AWS at synth would make templates depend on who asks.
    Default: the Region's a and b; name others where your account lacks one of them. Nodes use all of them."""
    endpoint_zones: int = Field(default=1, ge=1, le=3)
    """How many of the zones hold interface endpoints (or a NAT gateway). Default 1: a zone that fails stops training
    until it is back and loses nothing, and each further zone costs as much again (docs/cost.md)."""
    egress: Literal["endpoints", "nat"] = "endpoints"
    """``endpoints``: AWS services only, through VPC endpoints, no way out. ``nat``: cheaper, and a way out to the
    internet for whatever runs in the VPC. Default endpoints: isolation is what the federation is for."""
    compute: Compute = Compute()
    """The trainer's size. Default: see there."""
    data: Literal["packaged", "s3"] = "packaged"
    """``packaged``: the sample in the image. ``s3``: a private bucket of the party's own. Default packaged: a first
    run needs no data."""
    on_destroy: Literal["keep", "delete"] = "keep"
    """What becomes, when the stacks are destroyed, of the party's data bucket, its key and its flow logs; at the
    aggregator also of the mail bucket. Default keep: a command must not destroy what can't be made again."""
    image: Image | None = None
    """The training image, by digest. Default: built from workloads/image/Dockerfile when the app is deployed."""
    access: tuple[Access, ...] = ()
    """Who may look at the cluster. Default nobody: runs are started and watched without it."""
    endpoint_cidrs: tuple[Cidr, ...] = ()
    """Networks that may reach the cluster's Kubernetes API over the internet. Default none: it is private."""
    policy: Policy = Policy()
    """What runs may do to the party. Default: see there."""


class Aggregator(_Settings):
    """The party that owns the hub, sends the global model and aggregates the updates."""

    name: ClassVar[str] = names.AGGREGATOR
    rank: ClassVar[int] = 0


class Silo(_Settings):
    """A party that trains on data of its own."""

    name: Name
    """Part of every name the silo's resources have. Required."""
    _rank: int = 0

    @property
    def rank(self) -> int:
        """The silo's place in the file, from 1. New silos go to the end: the rank names the silo's experiment."""
        return self._rank


Party = Aggregator | Silo


class Federation(_Model):
    """One aggregator, N silos, and what they share."""

    name: Name
    """Prefix of every resource. Required."""
    control_plane: Literal["self-hosted", "mlops"] = "self-hosted"
    """``self-hosted``: fedsilo's own agents and command. ``mlops``: FedML's hosted platform. Default self-hosted:
    no third party learns what is trained."""
    mlops_secret: str = Field(default="", pattern=r"^[A-Za-z0-9/_+=.@-]{1,512}$")
    """The name (not the ARN: accounts differ) of the Secrets Manager secret that holds FedML's API key as plain text,
    in every party's account and Region, encrypted with the key ``aws/secretsmanager``. Required with ``control_plane:
    mlops``, and only allowed with it."""
    aggregator: Aggregator
    silos: tuple[Silo, ...] = Field(min_length=1)

    def model_post_init(self, context: Any, /) -> None:
        for rank, silo in enumerate(self.silos, start=1):
            silo._rank = rank

    @property
    def parties(self) -> tuple[Party, ...]:
        """The aggregator, then the silos: a party's place is its rank."""
        return (self.aggregator, *self.silos)

    def party(self, name: str) -> Party:
        """The party of that name. Raises ``SpecError`` where there is none, naming those there are."""
        for party in self.parties:
            if party.name == name:
                return party
        raise SpecError(f"party: {name!r} is not one of {', '.join(party.name for party in self.parties)}")

    def is_foreign(self, silo: Silo) -> bool:
        """Whether the silo's account is not the hub's, so that the hub's own policies have to let it in."""
        return silo.account != self.aggregator.account


def load(path: Path | str) -> Federation:
    """The federation that the file describes. Raises ``SpecError`` with every problem of the file, one a line."""
    return parse(_read(Path(path)))


def parse(raw: object) -> Federation:
    """The federation that the parsed YAML describes. Raises ``SpecError`` with every problem, one a line."""
    if not isinstance(raw, dict):
        raise SpecError("federation: should be a mapping with name, aggregator and silos")
    raw = _inherit_region(raw)
    try:
        federation, problems = Federation.model_validate(raw), []
    except ValidationError as error:
        federation, problems = None, [_line(_sentence(e)) for e in error.errors(include_url=False) if not _follows(e)]
    problems += _across(_lenient(raw))
    if federation is None or problems:
        raise SpecError("\n".join(dict.fromkeys(problems)))
    return federation


class _UniqueKeys(yaml.SafeLoader):
    """YAML with a key given twice as the error that it is; PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; name the federation's file, or write one") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{path}{where}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


def _inherit_region(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    aggregator, silos = raw.get("aggregator"), raw.get("silos")
    if not isinstance(aggregator, dict) or "region" not in aggregator or not isinstance(silos, list):
        return dict(raw)
    region = aggregator["region"]
    return {**raw, "silos": [{"region": region, **silo} if isinstance(silo, dict) else silo for silo in silos]}


def _follows(error: Any) -> bool:
    """Whether the error only follows from another one that is reported too."""
    if error["type"] == "too_short":
        return bool(len(error["input"]) >= error["ctx"]["min_length"])
    return bool(error["type"] == "default_factory_not_called")


def _line(text: str) -> str:
    """The text on one line, whatever a key or a value holds."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _sentence(error: Any) -> str:
    """One of pydantic's errors as ``field: value what is allowed``."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    match error["type"]:
        case "model_type" | "dict_type":
            message = "should be a mapping"
        case "tuple_type":
            message = "should be a list"
        case "missing":
            return f"{where}: is missing"
        case "extra_forbidden":
            return f"{where}: unknown key; known here: {', '.join(_known(error['loc'][:-1]))}"
        case "value_error":
            message = str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            message = "should be of " + error["ctx"]["pattern"].strip("^$")
        case _:
            message = re.sub(r"^(Input|Value|String|Tuple|List|Dictionary) | after validation", "", error["msg"])
    if isinstance(error["input"], BaseModel | dict | list):
        return f"{where}: {message}"
    return f"{where}: {str(error['input'])[:80]} {message}"


def _known(loc: tuple[str | int, ...]) -> list[str]:
    """The keys that the mapping at ``loc`` may have."""
    model: type[BaseModel] = Federation
    inner: dict[str, type[BaseModel]] = {
        "aggregator": Aggregator, "silos": Silo, "policy": Policy, "compute": Compute, "access": Access,
        "hours": Hours, "hyperparameters": Bound,
    }  # fmt: skip
    for part in loc:
        model = inner.get(str(part), model)
    return list(model.model_fields)


def _lenient(raw: Mapping[Any, Any]) -> Federation:
    """What is valid in ``raw``, so that checks across fields also run on a file with a problem elsewhere."""
    silos = raw.get("silos")
    return Federation.model_construct(
        **{
            **_valid(Federation, {k: v for k, v in raw.items() if k not in ("aggregator", "silos")}),
            "aggregator": Aggregator.model_construct(**_valid(Aggregator, raw.get("aggregator"))),
            "silos": tuple(
                Silo.model_construct(**_valid(Silo, silo)) for silo in (silos if isinstance(silos, list) else ())
            ),
        }
    )


def _valid(model: type[BaseModel], raw: object) -> dict[str, Any]:
    """The fields of ``raw`` as they are, and None for each that has a problem."""
    if not isinstance(raw, dict):
        return dict.fromkeys(model.model_fields)
    try:
        model.model_validate(raw)
        bad: set[Any] = set()
    except ValidationError as error:
        bad = {e["loc"][0] for e in error.errors() if e["loc"]}
    return {field: None if field in bad else raw[field] for field in model.model_fields if field in raw or field in bad}


def _across(federation: Federation) -> Iterator[str]:
    """The problems that no field has alone. A field that has one of its own is None in ``federation``."""
    parties: list[tuple[str, Party]] = [("aggregator", federation.aggregator)]
    parties += [(f"silos[{i}]", silo) for i, silo in enumerate(federation.silos)]
    yield from _sizes(federation)
    yield from _silo_names(federation.silos)
    yield from _bucket_names(federation, parties)
    yield from _addresses(parties)
    yield from _accounts(parties)
    yield from _ways_out(federation, parties)
    yield from _bounds(parties)


def _sizes(federation: Federation) -> Iterator[str]:
    if len(federation.silos) > MAX_SILOS:
        yield f"silos: {len(federation.silos)} should be {MAX_SILOS} at most: the hub's stack has no room for more"
    foreign = sum(federation.is_foreign(silo) for silo in federation.silos if silo.account)
    if foreign > MAX_FOREIGN_SILOS:
        yield (
            f"silos: {foreign} in accounts other than the aggregator's should be {MAX_FOREIGN_SILOS} at most: "
            "the mail bucket's policy has no room for more"
        )
    for i, silo in enumerate(federation.silos):
        policy = getattr(silo, "policy", None)
        needed = policy.get("min_silos") if isinstance(policy, dict) else None
        if isinstance(needed, int) and needed > len(federation.silos):
            yield f"silos[{i}].policy.min_silos: {needed} should be at most the {len(federation.silos)} silos there are"


def _silo_names(silos: tuple[Silo, ...]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, silo in enumerate(silos):
        name = getattr(silo, "name", None)
        if name is None:
            continue
        if name in _RESERVED:
            yield f"silos[{i}].name: {name} should be none of {', '.join(sorted(_RESERVED))}: they name other things"
        if name in seen:
            yield f"silos[{i}].name: {name} is also silos[{seen[name]}].name"
        seen.setdefault(name, i)


def _bucket_names(federation: Federation, parties: list[tuple[str, Party]]) -> Iterator[str]:
    for where, party in parties:
        name, owner, region = (
            getattr(o, f, None) for o, f in ((federation, "name"), (party, "name"), (party, "region"))
        )
        if party.data == "s3" and name and owner and region:
            excess = len(names.data_bucket(name, owner, "0" * 12, region)) - 63
            if excess > 0:
                yield f"{where}.name: {owner} should be {excess} shorter: S3 allows 63 characters for the data bucket"


def _addresses(parties: list[tuple[str, Party]]) -> Iterator[str]:
    taken = [(f"the clusters' service network {SERVICE_CIDR}", IPv4Network(SERVICE_CIDR))]
    for where, party in parties:
        cidr = getattr(party, "vpc_cidr", None)
        if cidr is None:
            continue
        network = IPv4Network(cidr)
        for other, theirs in taken:
            if network.overlaps(theirs):
                yield f"{where}.vpc_cidr: {cidr} overlaps {other}"
        taken.append((f"{where}.vpc_cidr", network))


def _accounts(parties: list[tuple[str, Party]]) -> Iterator[str]:
    with_account = [where for where, party in parties if party.account is not None]
    if with_account:
        for where, party in parties:
            if "account" not in party.model_fields_set:
                yield (
                    f"{where}.account: is missing, because {with_account[0]} names one: a party's policies name "
                    "the accounts of others"
                )


def _ways_out(federation: Federation, parties: list[tuple[str, Party]]) -> Iterator[str]:
    """What must, or must not, have a way out of the VPC, and zones and images that are elsewhere."""
    hub = getattr(federation.aggregator, "region", None)
    mlops = getattr(federation, "control_plane", None) == "mlops"
    secret = federation.mlops_secret
    if mlops and secret == "":
        yield "mlops_secret: is missing: control_plane mlops needs the name of the secret with FedML's API key"
    if secret and getattr(federation, "control_plane", None) == "self-hosted":
        yield f"mlops_secret: {secret} is for control_plane mlops only: leave it out with self-hosted"
    for where, party in parties:
        region = getattr(party, "region", None)
        isolated = party.egress == "endpoints"
        if hub and region and isolated and region != hub:
            yield (
                f"{where}.egress: endpoints reach no other Region than {region}, and the hub is in {hub}; "
                "use egress: nat"
            )
        if mlops and isolated:
            yield f"{where}.egress: endpoints do not reach FedML's platform; control_plane mlops needs egress: nat"
        if region:
            yield from _zones(where, region, party)
        registry = f".dkr.ecr.{region}.amazonaws.com/"
        if isolated and party.image and region and registry not in party.image:
            yield f"{where}.image: {party.image} should be in ECR in {region}: egress endpoints reach no other registry"


def _bounds(parties: list[tuple[str, Party]]) -> Iterator[str]:
    """Bounds that bind nothing. What workloads an image has that is not built from here is not known here."""
    for where, party in parties:
        raw = getattr(party, "policy", None)
        if not isinstance(raw, dict) or party.image:
            continue
        policy = Policy.model_validate(raw)
        if set(policy.workloads or ()) <= set(workload.available()):
            known = workload.all_hyperparameters(policy.workloads)
            for name in sorted(policy.hyperparameters.keys() - known):
                yield _line(
                    f"{where}.policy.hyperparameters.{name}: no workload that is allowed has such one; they have "
                    f"{', '.join(sorted(known)) or 'none'}"
                )


def _zones(where: str, region: str, party: Party) -> Iterator[str]:
    if (zones := getattr(party, "availability_zones", None)) is None:
        return
    for zone in zones:
        if not re.fullmatch(rf"{region}[a-z]", zone):
            yield f"{where}.availability_zones: {zone} should be a zone of {region}, such as {region}a"
    if len(set(zones)) < len(zones):
        yield f"{where}.availability_zones: {', '.join(zones)} should all differ"
    if (getattr(party, "endpoint_zones", None) or 0) > len(zones):
        yield f"{where}.endpoint_zones: {party.endpoint_zones} should be at most the {len(zones)} zones there are"
