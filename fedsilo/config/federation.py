"""The schema of federation.yaml: each setting with its unit, its default and the reason for that default.

``checks.py`` has the rules that need more than one setting, and ``load.py`` reads the file and words the problems.
Nothing here asks AWS: whether an account has a quota, or a secret exists, shows when the stacks are deployed.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fedsilo import names
from fedsilo.config.add_ons import ADD_ONS, DEFAULT
from fedsilo.config.policy import Policy
from fedsilo.errors import SpecError

SERVICE_CIDR = "172.20.0.0/16"
"""The network of every cluster's Kubernetes services. No VPC may overlap it."""

# EKS Auto Mode is in every commercial Region that has EKS, and not in China
# (https://docs.aws.amazon.com/eks/latest/userguide/automode.html); read in November 2026.
REGIONS = frozenset(
    """
    af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
    ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-7 ca-central-1 ca-west-1 eu-central-1
    eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1
    mx-central-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2
    """.split()  # noqa: SIM905 - one name a line would take 32 lines
)

_PRIVATE = [IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


def _check(allowed: str, is_valid: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        if not is_valid(value):
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


def _is_vpc_network(value: str) -> bool:
    network = _network(value)
    return network is not None and 16 <= network.prefixlen <= 24 and any(network.subnet_of(n) for n in _PRIVATE)


def _is_limited_network(value: str) -> bool:
    network = _network(value)
    return network is not None and network.prefixlen >= 8


def _no_number(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("should be 12 digits in quotes (YAML drops leading zeros of a number)")
    return value


_TAG_TEXT = re.compile(r"[\w .:/=+@-]*")
MAX_TAGS = 40
"""AWS allows 50 on a resource. fedsilo and CDK add some of their own."""


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """The rules of https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html."""
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise ValueError(f"{key[:40]!r} should have a key of 1 to 128 characters and a value of at most 256")
        if not _TAG_TEXT.fullmatch(key + value):
            raise ValueError(
                f"{key!r} should consist of letters, digits, spaces and _ . : / = + - @, and its value too"
            )
        if key.lower().startswith(("aws:", "fedsilo:")):
            raise ValueError(f"{key!r} should not begin with aws: or fedsilo:, which others use")
    if len({key.lower() for key in tags}) < len(tags):
        raise ValueError("keys should differ in more than upper and lower case, which IAM does not tell apart")
    return tags


Tags = Annotated[dict[str, str], AfterValidator(_tags)]
Name = Annotated[
    str,
    _check("2 to 20 of a-z, 0-9 and hyphen, a letter first and no hyphen last", _matches(names.NAME_PATTERN)),
]
Account = Annotated[str, BeforeValidator(_no_number), _check("12 digits", _matches(r"[0-9]{12}"))]
Region = Annotated[str, _check(f"a Region with EKS Auto Mode: {', '.join(sorted(REGIONS))}", REGIONS.__contains__)]
VpcCidr = Annotated[str, _check("a private IPv4 network between /16 and /24, such as 10.1.0.0/16", _is_vpc_network)]
Cidr = Annotated[str, _check("an IPv4 network of /8 or smaller, such as 203.0.113.0/24", _is_limited_network)]
PrincipalArn = Annotated[
    str, _check("the ARN of an IAM role or user", _matches(r"arn:aws:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]+"))
]
Image = Annotated[
    str,
    _check("an image by digest: registry/name@sha256:<64 hexadecimal digits>", _matches(r"\S+@sha256:[0-9a-f]{64}")),
]

GpuFamily = Annotated[str, _check("a family of EC2 instances, such as g6 or p4d", _matches(r"[a-z][a-z0-9-]{1,15}"))]


def _known_add_ons(names_: tuple[str, ...]) -> tuple[str, ...]:
    for name in names_:
        if name not in ADD_ONS:
            raise ValueError(f"should have names of {', '.join(sorted(ADD_ONS))}; {name} is none of them")
        for needed in ADD_ONS[name].after:
            if needed not in names_:
                raise ValueError(f"should also have {needed}, which {name} needs")
    if len(set(names_)) < len(names_):
        raise ValueError("should all differ")
    return names_


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Compute(_Model):
    """The size of the party's trainers."""

    cpu: float = Field(default=2, ge=0.25, le=96)
    """vCPU. Default 2: the examples train in seconds on two."""
    memory_gib: float = Field(default=4, ge=1, le=768)
    """GiB. Default 4: torch, FedML and the examples' data need less than 2."""
    gpu: int = Field(default=0, ge=0, le=8)
    """NVIDIA GPUs. Default 0. Above 0, the cluster gets a GPU node pool that scales to zero between runs."""
    gpu_families: tuple[GpuFamily, ...] = ()
    """The families of EC2 instances that may be used, such as g6 or p4d. Default: any with NVIDIA GPUs; EKS takes the
    cheapest that fits. The account needs a vCPU quota for what is named here."""
    gpu_memory_gib: int = Field(default=0, ge=0, le=1024)
    """The least memory of each GPU in GiB, as EC2 counts it: 16 is a T4, 22 an A10G or L4, 44 an L40S, 80 an H100.
    Default 0: any."""
    model_gib: float = Field(default=1, gt=0, le=16)
    """The size of the largest model that is trained here, in GiB. A trainer gets disk for it: for a mail that comes,
    one that goes, and one to spare. Default 1. At most 16: a node of EKS Auto Mode has a disk of 80 GiB."""
    nodes: int = Field(default=1, ge=1, le=16)
    """Trainers of this size that fit in the namespace's quota at the same time. Default 1: a party's runs come one
    after the other. A higher number leaves room for other programs of the owner."""

    @model_validator(mode="after")
    def _only_gpus_have_kinds(self) -> "Compute":
        if not self.gpu and (self.gpu_families or self.gpu_memory_gib):
            raise ValueError("gpu_families and gpu_memory_gib should be left out where gpu is 0")
        return self


class Images(_Model):
    """The images of the party's pods. A repository other than the deployment's own needs them by digest."""

    agent: Image | None = None
    """The agent's image, by digest. Default: target ``agent`` of workloads/image/Dockerfile, built when the app is
    deployed. With ``control_plane: mlops``, FedML's agent trains in its own pod, and runs in the trainers' image."""
    trainer: Image | None = None
    """The trainers' image, by digest. Default: target ``trainer`` of workloads/image/Dockerfile, built when the app is
    deployed."""


class Access(_Model):
    """One IAM principal that may use the party's cluster, besides the deployment itself."""

    principal: PrincipalArn
    """The ARN of an IAM role or user. Required."""
    level: Literal["view", "admin"] = "view"
    """Default view: it shows everything but secrets, which is enough to watch over a cluster."""


class _PartySettings(_Model):
    """The settings that the aggregator and the silos share."""

    account: Account | None = None
    """The AWS account, 12 digits. Default: the account of the deploying credentials. Either all parties name an
    account, or none does."""
    region: Region
    """The AWS Region. Required for the aggregator. A silo's default is the aggregator's Region, where its mail is."""
    vpc_cidr: VpcCidr
    """The VPC's addresses, /16 to /24. Required, because changing it replaces the VPC and the cluster in it."""
    availability_zones: tuple[str, ...] = Field(
        default_factory=lambda data: (f"{data.get('region')}a", f"{data.get('region')}b"), min_length=2, max_length=3
    )
    """Two or three zones, by name; nodes use all of them. EKS needs two, and asking AWS for them at synth would make
    the templates depend on who asks. Default: the Region's a and b. Name others if your account lacks one of these."""
    endpoint_zones: int = Field(default=1, ge=1, le=3)
    """How many of the zones have interface endpoints, or a NAT gateway. Default 1: if that zone fails, training stops
    until it is back, and nothing is lost. Each further zone costs as much again (docs/cost.md)."""
    egress: Literal["endpoints", "nat"] = "endpoints"
    """``endpoints``: only AWS services can be reached, through VPC endpoints. ``nat``: cheaper, and everything in the
    VPC can reach the internet. Default endpoints: isolation is the purpose of the federation."""
    compute: Compute = Compute()
    """The trainers' size."""
    data: Literal["packaged", "s3"] = "packaged"
    """``packaged``: the sample in the image. ``s3``: a private bucket of the party. Default packaged: a first run
    needs no data."""
    on_destroy: Literal["keep", "delete"] = "keep"
    """What happens to the party's data bucket, its key and its flow logs, and at the aggregator to the mail bucket,
    when the stacks are destroyed. Default keep: a command must not destroy what can't be made again."""
    images: Images = Images()
    """The images of the agent and of the trainers. Default: built from this repository, which needs Docker."""
    access: tuple[Access, ...] = ()
    """Who may use the cluster. Default nobody: starting and watching runs does not need it."""
    endpoint_cidrs: tuple[Cidr, ...] = ()
    """Networks that may reach the cluster's Kubernetes API over the internet. Default none: the API is private."""
    add_ons: Annotated[tuple[str, ...], AfterValidator(_known_add_ons)] = DEFAULT
    """EKS add-ons of the cluster, by EKS's names; ``add_ons.py`` says what each needs. Default metrics-server, which
    costs nothing. ``amazon-cloudwatch-observability`` is Container Insights, and has a price (docs/cost.md)."""
    manifests: str | None = None
    """A folder with Kubernetes objects of the owner's own (.yaml), relative to this file. They are applied after the
    add-ons, in namespaces of their own. Default none."""
    policy: Policy = Policy()
    """What runs may do to the party."""
    tags: Tags = {}
    """Tags of the party's resources, besides the federation's. With the same key, the party's value counts."""


class Aggregator(_PartySettings):
    """The party that owns the hub, sends the global model and aggregates the updates."""

    name: ClassVar[str] = names.AGGREGATOR
    rank: ClassVar[int] = 0


class Silo(_PartySettings):
    """A party that trains on data of its own."""

    name: Name
    """Part of the names of all the silo's resources. Required."""
    rank: int = Field(ge=1, le=999)
    """The number in the name of the silo's experiment. Default: its place in the file, from 1. Write it before you
    remove a silo or insert one, so that the other silos keep theirs."""


Party = Aggregator | Silo


class Federation(_Model):
    """One aggregator, the silos, and what they share."""

    name: Name
    """Prefix of every resource. Required."""
    control_plane: Literal["self-hosted", "mlops"] = "self-hosted"
    """``self-hosted``: fedsilo's own agents and command. ``mlops``: FedML's hosted platform. Default self-hosted:
    no third party learns what is trained."""
    alarm_email: Annotated[str, _check("an e-mail address", _matches(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"))] | None = None
    """Who gets a mail when an agent is silent, mail can't be delivered, or the mail bucket grows. AWS first asks this
    address for a confirmation. Default nobody."""
    mlops_secret: str = Field(default="", pattern=r"^[A-Za-z0-9/_+=.@-]{1,512}$")
    """The name of the Secrets Manager secret that holds FedML's API key as plain text. It is not an ARN, because every
    party has the secret in its own account and Region, encrypted with the key ``aws/secretsmanager``. Required with
    ``control_plane: mlops``, and only allowed with it."""
    tags: Tags = {}
    """Tags of all resources, such as ``{CostCenter: "4711"}``. Default: none but fedsilo's own."""
    aggregator: Aggregator
    silos: tuple[Silo, ...] = Field(min_length=1)

    @property
    def parties(self) -> tuple[Party, ...]:
        """The aggregator, then the silos in the order of the file."""
        return (self.aggregator, *self.silos)

    def tags_of(self, party: Party) -> dict[str, str]:
        """The tags of a party's resources that the spec gives them."""
        return {**self.tags, **party.tags}

    def party(self, name: str) -> Party:
        """The party of that name. Raises ``SpecError`` if there is none."""
        for party in self.parties:
            if party.name == name:
                return party
        raise SpecError(f"party: {name!r} is not one of {', '.join(party.name for party in self.parties)}")

    def is_foreign(self, silo: Silo) -> bool:
        """Whether the silo's account is not the hub's. The hub's resource policies have to admit such a silo."""
        return silo.account != self.aggregator.account
