"""What a federation costs: its synthesized resources, times a table of prices.

List prices of us-east-1, in USD, without tax, credits or free tiers. What depends on use (requests, gigabytes, how many
nodes Auto Mode starts) is estimated as said beside it: the table is for choosing between specs, not for a budget.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fedsilo.config.federation import Federation, Party
from fedsilo.errors import SpecError

AS_OF = "November 2026"

HOURS = 730
"""Hours in AWS's month."""

_APP = Path(__file__).parents[2] / "app.py"

_MONTHLY = {
    "AWS::EKS::Cluster": ("EKS control plane", 0.10 * HOURS),
    "AWS::EC2::NatGateway": ("NAT gateway, and its address", (0.045 + 0.005) * HOURS),
    "AWS::KMS::Key": ("KMS keys", 1.00),
    "AWS::CloudWatch::Alarm": ("Alarms", 0.10),
}
"""What one of a resource costs a month, whatever it does, as the pricing pages of EKS, VPC, KMS and CloudWatch say."""

_ENDPOINT_ZONE = 0.01 * HOURS
"""An interface endpoint in one zone. https://aws.amazon.com/privatelink/pricing"""

_NODE = 0.0765 * HOURS
"""A c6a.large-sized node; Auto Mode keeps one in each built-in node pool for the add-ons and the agent."""

_AUTO_MODE_FEE = 1.12
"""Auto Mode adds 12 % to its instances' on-demand price."""

_INSIGHTS = 12.00
"""Container Insights with enhanced observability, for a node."""

_CONTROL_PLANE_LOGS = 10 * 0.50
"""Ten gigabytes of an idle control plane's five logs."""

_VCPU_HOUR = 0.048
"""A vCPU with the 4 GiB of an m6i."""

_GPU_HOUR = 1.006
"""A g5.xlarge: one A10G."""


@dataclass(frozen=True)
class Line:
    """What one kind of thing costs one party: idle per month, or per hour of training."""

    party: str
    item: str
    quantity: float
    monthly: float
    training_hour: float = 0.0


def templates(spec: Path) -> dict[str, dict[str, Any]]:
    """The federation's templates by stack name, synthesized anew (some 5 seconds).

    Raises ``SpecError`` where the spec is not valid, or the CDK is not installed.
    """
    with tempfile.TemporaryDirectory() as out:
        environment = {**os.environ, "FEDSILO_FEDERATION_FILE": str(spec), "CDK_OUTDIR": out, "CDK_VALIDATION": "false"}
        done = subprocess.run([sys.executable, str(_APP)], env=environment, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise SpecError(f"{spec}: no templates to price: {done.stderr.strip().splitlines()[-1]}")
        found = Path(out).glob("*.template.json")
        return {path.name.removesuffix(".template.json"): json.loads(path.read_text()) for path in found}


def lines(federation: Federation, stacks: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """What every party pays for, in the order of the spec. The hub is the aggregator's."""
    return [line for party in federation.parties for line in _party(federation, party, stacks)]


def _party(federation: Federation, party: Party, stacks: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
    own = [f"{federation.name}-{party.name}-{kind}" for kind in ("network", "cluster", "data", "workload")]
    if party is federation.aggregator:
        own.append(f"{federation.name}-hub")
    resources = [r for stack in own if stack in stacks for r in stacks[stack]["Resources"].values()]
    for kind, (item, price) in _MONTHLY.items():
        count = sum(resource["Type"] == kind for resource in resources)
        if count:
            yield Line(party.name, item, count, count * price)
    zones = sum(
        len(resource["Properties"]["SubnetIds"])
        for resource in resources
        if resource["Type"] == "AWS::EC2::VPCEndpoint" and resource["Properties"]["VpcEndpointType"] == "Interface"
    )
    if zones:
        yield Line(party.name, "Interface endpoints, times zones", zones, zones * _ENDPOINT_ZONE)
    for cluster in (resource for resource in resources if resource["Type"] == "AWS::EKS::Cluster"):
        pools = len(cluster["Properties"]["ComputeConfig"]["NodePools"])
        yield Line(party.name, "Nodes that are always on", pools, pools * _NODE * _AUTO_MODE_FEE)
        yield Line(party.name, "Container Insights", pools, pools * _INSIGHTS)
        yield Line(party.name, "Control-plane logs, GB", 10, _CONTROL_PLANE_LOGS)
    compute = party.compute
    if compute.gpu:
        item, quantity, hour = "Trainer, GPUs", float(compute.gpu), compute.gpu * _GPU_HOUR * _AUTO_MODE_FEE
    else:
        cpu = max(compute.cpu, compute.memory_gib / 4)
        item, quantity, hour = "Trainer, vCPUs", cpu, cpu * _VCPU_HOUR * _AUTO_MODE_FEE
    # FedML's agent trains in its own pod, which is there all the time.
    always = federation.control_plane == "mlops"
    yield Line(party.name, item, quantity, hour * HOURS if always else 0, 0 if always else hour)


def table(priced: list[Line]) -> Table:
    """The lines, each party's sum, and the federation's."""
    made = Table(title=f"USD, list prices of us-east-1 in {AS_OF}", show_footer=True)
    made.add_column("Party", "Federation")
    made.add_column("Item")
    made.add_column("Quantity", justify="right")
    made.add_column("Month, idle", f"{sum(line.monthly for line in priced):,.2f}", justify="right")
    made.add_column("Training hour", f"{sum(line.training_hour for line in priced):,.3f}", justify="right")
    for party in dict.fromkeys(line.party for line in priced):
        own = [line for line in priced if line.party == party]
        for line in own:
            month = f"{line.monthly:,.2f}" if line.monthly else ""
            hour = f"{line.training_hour:,.3f}" if line.training_hour else ""
            made.add_row("", line.item, f"{line.quantity:g}", month, hour)
        month = f"{sum(line.monthly for line in own):,.2f}"
        hour = f"{sum(line.training_hour for line in own):,.3f}"
        made.add_row(party, "", "", month, hour, style="bold", end_section=True)
    return made
