"""What a federation costs: its synthesized resources, times the prices of ``prices.yaml``.

What depends on use (requests, gigabytes, how many nodes Auto Mode starts) is estimated, as said beside each estimate.
The result is for choosing between specs, not for a budget.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from fedsilo.config.federation import Federation, Party
from fedsilo.errors import NotFoundError, SpecError

HOURS = 730
"""Hours in AWS's month."""

CONTROL_PLANE_LOG_GB = 10
"""Gigabytes a month of an idle control plane's five logs; an estimate."""

GIB_PER_VCPU = 4
"""Memory that comes with a vCPU of the instances that are priced."""

Template = Mapping[str, Any]
"""A stack's template, as CloudFormation gets it."""


@dataclass(frozen=True)
class Price:
    """An entry of ``prices.yaml``."""

    usd: float
    unit: str
    source: str
    """The page that names the price."""
    read: date
    """The first day of the month in which the price was read there."""


@dataclass(frozen=True)
class CostItem:
    """What one kind of resource costs one party, in USD."""

    party: str
    item: str
    quantity: float
    monthly: float
    """A month, whether runs go on or not."""
    training_hour: float = 0.0
    """An hour of training, in addition."""


@cache
def prices() -> dict[str, Price]:
    """The prices, by name."""
    text = resources.files("fedsilo.admin").joinpath("prices.yaml").read_text(encoding="utf-8")
    return {
        name: Price(entry["usd"], entry["unit"], entry["source"], date.fromisoformat(f"{entry['read']}-01"))
        for name, entry in yaml.safe_load(text).items()
    }


def as_of() -> str:
    """The month of the newest price, as ``November 2026``."""
    return f"{max(price.read for price in prices().values()):%B %Y}"


def checkout() -> Path:
    """The folder of the CDK app: the current one, or that from which fedsilo is installed.

    Raises:
        NotFoundError: Neither folder holds the CDK app, or the CDK is not installed.
    """
    for folder in (Path.cwd(), Path(__file__).parents[2]):
        if (folder / "app.py").is_file() and (folder / "cdk.json").is_file() and (folder / "stacks").is_dir():
            if importlib.util.find_spec("aws_cdk") is None:
                raise NotFoundError("fedsilo cost needs the CDK, which is not installed: `make setup` installs it")
            return folder
    raise NotFoundError(
        "fedsilo cost needs a checkout of fedsilo: run it in the folder that holds app.py, cdk.json and stacks/"
    )


def templates(spec: Path) -> dict[str, Template]:
    """Synthesize the federation, which takes some 5 seconds.

    Args:
        spec: The federation's file.

    Returns:
        The templates, by stack name.

    Raises:
        SpecError: The spec is not valid.
        NotFoundError: There is no CDK app to synthesize it with.
    """
    app = checkout() / "app.py"
    with tempfile.TemporaryDirectory() as out:
        environment = {**os.environ, "FEDSILO_FEDERATION_FILE": str(spec), "CDK_OUTDIR": out, "CDK_VALIDATION": "false"}
        done = subprocess.run([sys.executable, str(app)], env=environment, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            problem = (done.stderr.strip().splitlines() or [f"{app} ended with exit code {done.returncode}"])[-1]
            raise SpecError(f"{spec}: no templates to price: {problem}")
        found = Path(out).glob("*.template.json")
        return {path.name.removesuffix(".template.json"): json.loads(path.read_text()) for path in found}


def items(federation: Federation, stacks: Mapping[str, Template]) -> list[CostItem]:
    """What every party pays for, in the order of the spec. The aggregator pays for the hub.

    Args:
        federation: The federation.
        stacks: Its templates, by stack name.
    """
    return [item for party in federation.parties for item in _party(federation, party, stacks)]


def _party(federation: Federation, party: Party, stacks: Mapping[str, Template]) -> Iterator[CostItem]:
    own = [f"{federation.name}-{party.name}-{kind}" for kind in ("network", "cluster", "data", "store", "workload")]
    if party is federation.aggregator:
        own += [f"{federation.name}-hub", f"{federation.name}-hub-alarms"]
    found = [resource for stack in own if stack in stacks for resource in stacks[stack]["Resources"].values()]
    yield from _by_count(party, found)
    yield from _endpoints(party, found)
    for resource in found:
        if resource["Type"] == "AWS::EKS::Cluster":
            yield from _cluster(party, len(resource["Properties"]["ComputeConfig"]["NodePools"]), found)
    # The agent of FedML's platform trains in its own pod, which runs all the time.
    yield _trainer(party, always=federation.control_plane == "mlops")


def _by_count(party: Party, resources: list[Any]) -> Iterator[CostItem]:
    """Resources of which each costs the same, whatever it does."""
    usd = {name: price.usd for name, price in prices().items()}
    monthly = {
        "AWS::EKS::Cluster": ("EKS control plane", usd["eks_cluster"] * HOURS),
        "AWS::EC2::NatGateway": (
            "NAT gateway, and its address",
            (usd["nat_gateway"] + usd["public_ipv4_address"]) * HOURS,
        ),
        "AWS::KMS::Key": ("KMS keys", usd["kms_key"]),
        "AWS::CloudWatch::Alarm": ("Alarms", usd["alarm"]),
    }
    for kind, (item, price) in monthly.items():
        count = sum(resource["Type"] == kind for resource in resources)
        if count:
            yield CostItem(party.name, item, count, count * price)


def _endpoints(party: Party, resources: list[Any]) -> Iterator[CostItem]:
    zones = sum(
        len(resource["Properties"]["SubnetIds"])
        for resource in resources
        if resource["Type"] == "AWS::EC2::VPCEndpoint" and resource["Properties"]["VpcEndpointType"] == "Interface"
    )
    if zones:
        price = prices()["interface_endpoint"].usd * HOURS
        yield CostItem(party.name, "Interface endpoints, times zones", zones, zones * price)


def _cluster(party: Party, node_pools: int, resources: list[Any]) -> Iterator[CostItem]:
    """What an idle cluster costs: Auto Mode keeps a node in each pool for the add-ons and the agent."""
    node = prices()["node"].usd * HOURS * (1 + prices()["eks_auto_mode"].usd)
    insights, logs = prices()["container_insights"].usd, prices()["log_ingestion"].usd
    yield CostItem(party.name, "Nodes that are always on", node_pools, node_pools * node)
    add_ons = {each["Properties"]["AddonName"] for each in resources if each["Type"] == "AWS::EKS::Addon"}
    if "amazon-cloudwatch-observability" in add_ons:
        yield CostItem(party.name, "Container Insights", node_pools, node_pools * insights)
    yield CostItem(party.name, "Control-plane logs, GB", CONTROL_PLANE_LOG_GB, CONTROL_PLANE_LOG_GB * logs)


def _trainer(party: Party, *, always: bool) -> CostItem:
    """What training costs. ``always``: the trainer runs all the time, not only during runs."""
    compute = party.compute
    if compute.gpu:
        item, quantity, price = "Trainer, GPUs", float(compute.gpu), prices()["gpu"].usd
    else:
        quantity = max(compute.cpu, compute.memory_gib / GIB_PER_VCPU)
        item, price = "Trainer, vCPUs", prices()["vcpu"].usd
    hour = quantity * price * (1 + prices()["eks_auto_mode"].usd)
    return CostItem(party.name, item, quantity, hour * HOURS if always else 0, 0 if always else hour)


def table(priced: list[CostItem]) -> Table:
    """The items, each party's sum, and the federation's."""
    made = Table(title=f"USD, list prices of us-east-1 in {as_of()}", show_footer=True)
    made.add_column("Party", "Federation")
    made.add_column("Item")
    made.add_column("Quantity", justify="right")
    made.add_column("Month, idle", f"{sum(item.monthly for item in priced):,.2f}", justify="right")
    made.add_column("Training hour", f"{sum(item.training_hour for item in priced):,.3f}", justify="right")
    for party in dict.fromkeys(item.party for item in priced):
        own = [item for item in priced if item.party == party]
        for item in own:
            month = f"{item.monthly:,.2f}" if item.monthly else ""
            hour = f"{item.training_hour:,.3f}" if item.training_hour else ""
            made.add_row("", item.item, f"{item.quantity:g}", month, hour)
        month = f"{sum(item.monthly for item in own):,.2f}"
        hour = f"{sum(item.training_hour for item in own):,.3f}"
        made.add_row(party, "", "", month, hour, style="bold", end_section=True)
    return made
