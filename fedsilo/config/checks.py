"""The rules of federation.yaml that concern more than one setting.

They also run on a file with problems elsewhere, so that all problems are reported at once. A setting that has a problem
of its own takes no part in these rules.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, ValidationError

from fedsilo import names
from fedsilo.config.federation import MAX_TAGS, SERVICE_CIDR, Aggregator, Federation, Images, Silo
from fedsilo.config.policy import Policy
from fedsilo.workload import registry

MAX_SILOS = 100
"""The hub's stack has four resources for each party, and its policies list the accounts of silos. AWS limits both:
tests/stacks/test_limits.py measures each limit at this size."""

MAX_BUCKET_NAME = 63
"""S3's limit."""

# A silo of such a name would share a prefix, a bucket or a policy's pattern with something else.
_RESERVED = frozenset({names.AGGREGATOR, names.EVERYONE, names.HUB, "mail", "outbox"})


def problems(raw: Mapping[Any, Any]) -> Iterator[str]:
    """Every rule that the file breaks.

    Args:
        raw: The file's YAML, in which each silo has a region.

    Yields:
        One sentence a problem, which begins with the setting's place in the file.
    """
    draft = _Draft.of(raw)
    for rule in _RULES:
        yield from rule(draft)


@dataclass(frozen=True)
class _Draft:
    """What is valid in the file.

    Each namespace has the settings of its model as attributes: the value as it stands in the file, the default of a
    setting that the file leaves out, or None if the setting is missing or has a problem of its own. ``invalid`` holds
    the names of the latter. A party also has its place in the file, ``where``.
    """

    federation: SimpleNamespace
    aggregator: SimpleNamespace
    silos: list[SimpleNamespace]

    @classmethod
    def of(cls, raw: Mapping[Any, Any]) -> "_Draft":
        silos = raw.get("silos")
        aggregator = _valid_settings(Aggregator, raw.get("aggregator"), where="aggregator")
        aggregator.name = Aggregator.name
        return cls(
            _valid_settings(Federation, {key: raw[key] for key in raw if key not in ("aggregator", "silos")}),
            aggregator,
            [
                _valid_settings(Silo, silo, where=f"silos[{place}]")
                for place, silo in enumerate(silos if isinstance(silos, list) else ())
            ],
        )

    @property
    def parties(self) -> list[SimpleNamespace]:
        return [self.aggregator, *self.silos]


def _valid_settings(model: type[BaseModel], raw: object, **more: str) -> SimpleNamespace:
    given = raw if isinstance(raw, dict) else {}
    settings = model.model_fields.keys()
    invalid = _invalid_settings(model, raw) & settings
    partial = model.model_construct(**{name: given[name] for name in (given.keys() & settings) - invalid})
    values = {name: None if name in invalid else getattr(partial, name) for name in settings}
    return SimpleNamespace(**values, invalid=invalid, **more)


def _invalid_settings(model: type[BaseModel], raw: object) -> set[Any]:
    if not isinstance(raw, dict):
        return {*model.model_fields}
    try:
        model.model_validate(raw)
    except ValidationError as error:
        return {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    return set()


def _policy(party: SimpleNamespace) -> Policy | None:
    """The party's policy; None if it has a problem of its own."""
    return Policy.model_validate(party.policy) if isinstance(party.policy, dict) else party.policy


def _images_of(party: SimpleNamespace) -> Images:
    """The party's images; none if they have a problem of their own."""
    return Images.model_validate(party.images or {})


def _sizes(draft: _Draft) -> Iterator[str]:
    if len(draft.silos) > MAX_SILOS:
        yield f"silos: {len(draft.silos)} should be {MAX_SILOS} at most: the hub has no room for more"


def _silo_names(draft: _Draft) -> Iterator[str]:
    taken: dict[str, str] = {}
    for silo in draft.silos:
        if silo.name in _RESERVED:
            yield f"{silo.where}.name: {silo.name} is a reserved name, like all of {', '.join(sorted(_RESERVED))}"
        if silo.name in taken:
            yield f"{silo.where}.name: {silo.name} is also {taken[silo.name]}.name"
        if silo.name is not None:
            taken.setdefault(silo.name, silo.where)


def _names_in_commands(draft: _Draft) -> Iterator[str]:
    """No command for the stacks of one party, such as ``cdk destroy 'heart-cleveland-*'``, reaches another party."""
    shorter = {names.AGGREGATOR: "the aggregator", names.HUB: "the hub"}
    shorter |= {silo.name: f"{silo.where}.name" for silo in draft.silos if silo.name}
    for silo in draft.silos:
        for name, of in shorter.items():
            if silo.name and silo.name.startswith(f"{name}-"):
                fed = draft.federation.name or "<federation>"
                yield (
                    f"{silo.where}.name: {silo.name} begins with {name}- ({of}), so `cdk destroy '{fed}-{name}-*'` "
                    f"would destroy it too; write a name that does not, such as {silo.name.replace('-', '')}"
                )


def _ranks(draft: _Draft) -> Iterator[str]:
    taken: dict[int, str] = {}
    for silo in draft.silos:
        if silo.rank in taken:
            yield (
                f"{silo.where}.rank: {silo.rank} is also {taken[silo.rank]}.rank; write the rank of each silo, because "
                "a silo without one has its place in the file"
            )
        if silo.rank is not None:
            taken.setdefault(silo.rank, silo.where)


def _tags(draft: _Draft) -> Iterator[str]:
    for party in draft.parties:
        together = {**(draft.federation.tags or {}), **(party.tags or {})}
        if len(together) > MAX_TAGS:
            yield f"{party.where}.tags: {len(together)} with the federation's should be {MAX_TAGS} at most"


def _bucket_names(draft: _Draft) -> Iterator[str]:
    federation = draft.federation.name
    for party in draft.parties:
        if party.data == "s3" and federation and party.name and party.region:
            bucket = names.data_bucket(federation, party.name, "0" * 12, party.region)
            if (excess := len(bucket) - MAX_BUCKET_NAME) > 0:
                yield (
                    f"{party.where}.name: {party.name} should be {excess} characters shorter: "
                    f"S3 allows {MAX_BUCKET_NAME} for the name of the data bucket"
                )


def _vpc_networks(draft: _Draft) -> Iterator[str]:
    taken = [(f"the clusters' service network {SERVICE_CIDR}", IPv4Network(SERVICE_CIDR))]
    for party in draft.parties:
        if party.vpc_cidr is None:
            continue
        network = IPv4Network(party.vpc_cidr)
        for other, theirs in taken:
            if network.overlaps(theirs):
                yield f"{party.where}.vpc_cidr: {party.vpc_cidr} overlaps {other}"
        taken.append((f"{party.where}.vpc_cidr", network))


def _accounts(draft: _Draft) -> Iterator[str]:
    with_account = [party.where for party in draft.parties if party.account is not None]
    for party in draft.parties if with_account else ():
        if party.account is None and "account" not in party.invalid:
            yield (
                f"{party.where}.account: is missing, because {with_account[0]} names one: a party's policies name "
                "the accounts of others"
            )


def _control_plane(draft: _Draft) -> Iterator[str]:
    control_plane, secret = draft.federation.control_plane, draft.federation.mlops_secret
    if control_plane == "mlops" and secret == "":
        yield "mlops_secret: is missing: control_plane mlops needs the name of the secret with FedML's API key"
    if control_plane == "self-hosted" and secret:
        yield f"mlops_secret: {secret} is for control_plane mlops only: leave it out with self-hosted"
    if control_plane == "mlops" and draft.federation.alarm_email:
        yield "alarm_email: control_plane mlops has no hub and no alarms; leave it out"


def _egress(draft: _Draft) -> Iterator[str]:
    hub = draft.aggregator.region
    for party in draft.parties:
        if party.egress != "endpoints":
            continue
        if hub and party.region and party.region != hub:
            yield (
                f"{party.where}.egress: endpoints reach only Region {party.region}, and the hub is in {hub}; "
                "use egress: nat"
            )
        if draft.federation.control_plane == "mlops":
            yield f"{party.where}.egress: endpoints do not reach FedML's platform; use egress: nat"


def _images(draft: _Draft) -> Iterator[str]:
    for party in draft.parties:
        images = _images_of(party)
        if images.agent and draft.federation.control_plane == "mlops":
            yield f"{party.where}.images.agent: control_plane mlops runs FedML's agent in images.trainer"
        if party.egress != "endpoints" or not party.region:
            continue
        for name, image in images:
            if image and f".dkr.ecr.{party.region}.amazonaws.com/" not in image:
                yield (
                    f"{party.where}.images.{name}: {image} should be in ECR in {party.region}: egress endpoints reach "
                    "no other registry"
                )


def _availability_zones(draft: _Draft) -> Iterator[str]:
    for party in draft.parties:
        zones, region = party.availability_zones, party.region
        if zones is None or region is None:
            continue
        for zone in zones:
            if not re.fullmatch(rf"{region}[a-z]", zone):
                yield f"{party.where}.availability_zones: {zone} should be a zone of {region}, such as {region}a"
        if len(set(zones)) < len(zones):
            yield f"{party.where}.availability_zones: {', '.join(zones)} should all differ"
        if party.endpoint_zones and party.endpoint_zones > len(zones):
            yield (
                f"{party.where}.endpoint_zones: {party.endpoint_zones} should be at most {len(zones)}, the number of "
                "its zones"
            )


def _policies(draft: _Draft) -> Iterator[str]:
    checked = draft.federation.control_plane != "mlops"  # FedML's platform asks no policy
    for party in draft.parties:
        policy = _policy(party)
        if policy is None:
            continue
        if checked and policy.min_silos > len(draft.silos) > 0:
            default = "" if "min_silos" in policy.model_fields_set else " (the default)"
            yield (
                f"{party.where}.policy.min_silos: {policy.min_silos}{default} should be at most {len(draft.silos)}, "
                f"the number of silos; write `policy: {{min_silos: {len(draft.silos)}}}` if the party may take part "
                "with so few"
            )
        if not _images_of(party).trainer:
            yield from _bounds(f"{party.where}.policy.hyperparameters", policy)


def _bounds(where: str, policy: Policy) -> Iterator[str]:
    """Bounds that apply to nothing, in an image that is built from this repository: its workloads are known here."""
    if policy.workloads and not set(policy.workloads) <= set(registry.available()):
        return
    known = registry.all_hyperparameters(policy.workloads)
    for name in sorted(policy.hyperparameters.keys() - known):
        yield f"{where}.{name}: unknown hyperparameter; the allowed workloads have {', '.join(sorted(known)) or 'none'}"


_RULES = (
    _sizes,
    _silo_names,
    _names_in_commands,
    _ranks,
    _tags,
    _bucket_names,
    _vpc_networks,
    _accounts,
    _control_plane,
    _egress,
    _images,
    _availability_zones,
    _policies,
)
