"""The pinned versions of the add-ons. ``python -m stacks.add_on_versions VERSION`` asks AWS for them; synth never does.

Without a version in its template, CloudFormation never updates an add-on.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fedsilo import runtime
from fedsilo.config.add_ons import ADD_ONS
from fedsilo.errors import SpecError

TABLE = Path(__file__).with_suffix(".yaml")

_HEADING = """\
# The version of each add-on for a version of Kubernetes. `python -m stacks.add_on_versions` asks AWS and writes this
# file; synth only reads it.
"""
_LIMITS = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})

Table = dict[str, dict[str, dict[str, str]]]


def read(table: Path = TABLE) -> Table:
    """The table: by version of Kubernetes and by add-on, ``version``, ``source`` and ``read`` (a year and a month)."""
    found: Table = yaml.safe_load(table.read_text())
    return found


def pinned(add_on: str, kubernetes: str) -> str:
    """The version of an add-on.

    Raises:
        SpecError: The table has none.
    """
    try:
        return read()[kubernetes][add_on]["version"]
    except KeyError:
        raise SpecError(
            f"add_ons: {TABLE.name} has no version of {add_on} for Kubernetes {kubernetes}; run "
            f"`python -m stacks.add_on_versions {kubernetes}` with credentials of any account"
        ) from None


def refresh(eks: Any, kubernetes: str, table: Path = TABLE) -> list[str]:
    """Write the versions that AWS gives by default into the table.

    Args:
        eks: A client of EKS.
        kubernetes: The version of Kubernetes; the table keeps what it has of others.
        table: The table's file.

    Returns:
        A line for each add-on: what changed, or that AWS has no version of it, in which case the table keeps its own.
    """
    known = read(table)
    versions = known.setdefault(kubernetes, {})
    lines = []
    for name in sorted(ADD_ONS):
        old = versions.get(name, {}).get("version", "none")
        new = _default(eks, name, kubernetes)
        if new is None:
            lines.append(f"{name}: AWS has no version for Kubernetes {kubernetes}; the table keeps {old}")
            continue
        source = f"aws eks describe-addon-versions --addon-name {name} --kubernetes-version {kubernetes}"
        versions[name] = {"version": new, "source": source, "read": f"{runtime.now():%Y-%m}"}
        lines.append(f"{name}: {new}" if new == old else f"{name}: {old} -> {new}")
    table.write_text(_HEADING + yaml.safe_dump(known, width=200))
    return lines


def _default(eks: Any, name: str, kubernetes: str) -> str | None:
    """The version that AWS marks as the default, https://docs.aws.amazon.com/eks/latest/APIReference/API_Compatibility.html."""
    pages = eks.get_paginator("describe_addon_versions").paginate(addonName=name, kubernetesVersion=kubernetes)
    for page in pages:
        for version in (version for add_on in page["addons"] for version in add_on["addonVersions"]):
            for fits in version["compatibilities"]:
                if fits["clusterVersion"] == kubernetes and fits["defaultVersion"]:
                    return str(version["addonVersion"])
    return None


def main() -> None:
    """Refresh the table and print what changed."""
    parser = argparse.ArgumentParser(description="Ask AWS for the add-ons' versions and pin them.")
    parser.add_argument("kubernetes", help="the version of Kubernetes, such as 1.36 (KUBERNETES in stacks/cluster.py)")
    asked = parser.parse_args().kubernetes
    try:
        sys.stdout.write("\n".join(refresh(boto3.client("eks", config=_LIMITS), asked)) + "\n")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS could not be asked for the add-ons' versions: {error}; nothing was written")


if __name__ == "__main__":
    main()
