"""Reading federation.yaml: what it says as a ``Federation``, or everything that is wrong with it in sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fedsilo import yaml_files
from fedsilo.config import checks
from fedsilo.config.federation import Aggregator, Federation, Silo
from fedsilo.errors import SpecError
from fedsilo.text import plain

PartyT = TypeVar("PartyT", Aggregator, Silo)


def load_federation(path: Path | str) -> Federation:
    """Read a federation's file.

    Raises:
        SpecError: The file can't be read or is not valid. The message has a line for each problem.
    """
    raw = yaml_files.read(Path(path), "name the federation's file, or write one")
    federation = parse_federation(raw)
    return _with_folders(federation, Path(path).parent)


def parse_federation(raw: object) -> Federation:
    """The federation that parsed YAML describes.

    Raises:
        SpecError: The YAML is not a valid federation. The message has a line for each problem.
    """
    if not isinstance(raw, dict):
        raise SpecError("federation: should be a mapping with name, aggregator and silos")
    raw = _with_defaults(raw)
    try:
        federation, problems = Federation.model_validate(raw), []
    except ValidationError as error:
        federation, problems = None, yaml_files.problems(error, Federation)
    problems += checks.problems(raw)
    if federation is None or problems:
        raise SpecError("\n".join(dict.fromkeys(plain(problem, 2000) for problem in problems)))
    return federation


def _with_defaults(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """Give each silo without a region the aggregator's, and each without a rank its place in the file."""
    aggregator, silos = raw.get("aggregator"), raw.get("silos")
    if not isinstance(silos, list):
        return dict(raw)
    hub = aggregator if isinstance(aggregator, dict) else {}
    region = {"region": hub["region"]} if "region" in hub else {}
    ranked = enumerate(silos, start=1)
    return {**raw, "silos": [{**region, "rank": i, **s} if isinstance(s, dict) else s for i, s in ranked]}


def _with_folders(federation: Federation, beside: Path) -> Federation:
    """The federation, with the parties' folders as paths from here."""

    def from_here(party: PartyT) -> PartyT:
        if party.manifests is None:
            return party
        return party.model_copy(update={"manifests": str(beside / party.manifests)})

    silos = tuple(from_here(silo) for silo in federation.silos)
    return federation.model_copy(update={"aggregator": from_here(federation.aggregator), "silos": silos})
