"""A small federation.yaml, parsed, for tests that change a setting of it."""

from typing import Any

import pytest

from fedsilo.config.load import parse_federation
from fedsilo.errors import SpecError


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
    """The federation of two silos with the setting at ``path``, such as ``silos.0.region``, changed."""
    raw = two_silos()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = raw
    for part in parents:
        target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
    target[last] = value
    return raw


def problems(raw: object) -> list[str]:
    """The problems that are reported for a federation that is not valid."""
    with pytest.raises(SpecError) as error:
        parse_federation(raw)
    return str(error.value).splitlines()
