"""The add-ons that a party can ask for: what each needs of the cluster, of IAM and of the network.

To add another, add an entry to ``ADD_ONS`` and run ``python -m stacks.add_on_versions``, which pins its version. Auto
Mode includes the network, DNS, storage, load-balancing, Pod Identity and GPU add-ons
(https://docs.aws.amazon.com/eks/latest/userguide/eks-add-ons.html).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class AddOn:
    """An EKS add-on: https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html."""

    name: str
    """The name in the spec, which is EKS's own."""
    link: str
    """The page that says what it does and needs."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Values that differ from the add-on's defaults."""
    service_account: str | None = None
    """The service account that calls AWS. Pod Identity gives it a role with ``managed_policies``."""
    managed_policies: tuple[str, ...] = ()
    """The managed policies of AWS that the add-on's page asks for."""
    endpoints: tuple[str, ...] = ()
    """The interface endpoints that it uses in an isolated VPC, by their ids in ``stacks/network.py``."""
    log_groups: tuple[str, ...] = ()
    """The log groups to which it writes. ``{cluster}`` stands for the cluster's name."""
    after: tuple[str, ...] = ()
    """Other add-ons that it needs."""


_COMMUNITY = "https://docs.aws.amazon.com/eks/latest/userguide/community-addons.html"
_AWS = "https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html"

ADD_ONS = {
    add_on.name: add_on
    for add_on in (
        AddOn("metrics-server", _COMMUNITY),
        AddOn(
            "amazon-cloudwatch-observability",
            "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html",
            # What a trainer prints may hold values of the data. It stays on the node, and not in a log group.
            configuration={"containerLogs": {"enabled": False}},
            service_account="cloudwatch-agent",
            managed_policies=("CloudWatchAgentServerPolicy",),
            endpoints=("Logs", "Monitoring"),
            log_groups=("/aws/containerinsights/{cluster}/performance",),
        ),
        AddOn("cert-manager", _COMMUNITY),
        AddOn("kube-state-metrics", _COMMUNITY),
        AddOn("prometheus-node-exporter", _COMMUNITY),
        # It needs no role: a volume with `authenticationSource: pod` is read with the role of the pod that mounts it.
        AddOn(
            "aws-mountpoint-s3-csi-driver",
            "https://github.com/awslabs/mountpoint-s3-csi-driver/blob/main/docs/CONFIGURATION.md#pod-level-credentials",
        ),
        # The operator needs no role. Each collector that a party defines has a service account, and a role, of its own.
        AddOn("adot", f"{_AWS}#add-ons-adot", after=("cert-manager",)),
    )
}
"""Every add-on by name."""

DEFAULT = ("metrics-server",)
"""What every cluster has without a word in the spec: ``kubectl top``, which costs nothing."""
