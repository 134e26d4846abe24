"""Federations as CDK synthesizes them: their apps, and their templates with intrinsic functions resolved."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from app import compose
from fedsilo import names
from fedsilo.config.federation import Federation, Party
from fedsilo.config.load import load_federation
from stacks.base import FLAGS
from tests.support.cloudformation import ACCOUNT, Resolver, manifests

ROOT = Path(__file__).parents[2]
FILES = {
    "example": ROOT / "federation.yaml",
    "everything": ROOT / "tests" / "stacks" / "everything.yaml",
    "mlops": ROOT / "tests" / "stacks" / "mlops.yaml",
}
"""The example, a federation with every setting away from its default, and one on FedML's hosted platform."""

Template = dict[str, Any]


@dataclass(frozen=True)
class Synthesized:
    """A federation, its app, and its templates by stack name."""

    federation: Federation
    app: cdk.App
    directory: Path
    templates: dict[str, Template]

    def resources(self, kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Stack, logical id and resolved properties of every resource of the kind."""
        for stack, template in self.templates.items():
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] == kind:
                    yield stack, logical_id, self.resolver(stack)(resource.get("Properties", {}))

    def party_of(self, stack: str) -> Party:
        """The party that deploys the stack."""
        if stack in hub_stacks(self.federation.name):
            return self.federation.aggregator
        middle = stack.removeprefix(f"{self.federation.name}-").rpartition("-")[0]
        return self.federation.party(middle)

    def resolver(self, stack: str) -> Resolver:
        party = self.party_of(stack)
        return Resolver(self.templates, stack, account=party.account or ACCOUNT, region=party.region)

    def manifests(self, party: str) -> list[dict[str, Any]]:
        """Every Kubernetes object that the party's stacks apply to its cluster."""
        stacks = [names.stack(self.federation.name, party, part) for part in ("cluster", "workload")]
        return [m for stack in stacks for m in manifests(self.resolver(stack), self.templates[stack])]

    def objects(self, party: Party, kind: str) -> dict[str, Any]:
        """The party's Kubernetes objects of one kind, by name."""
        return {m["metadata"]["name"]: m for m in self.manifests(party.name) if m["kind"] == kind}


def hub_stacks(federation: str) -> tuple[str, str]:
    """The stacks of the federation's hub."""
    return names.stack(federation, names.HUB), names.stack(federation, names.HUB, "alarms")


def synthesize(path: Path, outdir: Path, only: Callable[..., cdk.Stack] | None = None) -> Synthesized:
    """Synthesize the stacks of the federation in a file.

    Args:
        path: The federation's file.
        outdir: Where the cloud assembly goes.
        only: The class of the only stack to synthesize. Default: all stacks.
    """
    federation = load_federation(path)
    if only:
        app = cdk.App(context=FLAGS, outdir=str(outdir), analytics_reporting=False)
        only(app, federation=federation)
    else:
        app = compose(federation, outdir=str(outdir))
    assembly = app.synth(skip_validation=True)  # test_validators.py has one with it
    templates = {stack.stack_name: json.loads(Path(stack.template_full_path).read_text()) for stack in assembly.stacks}
    return Synthesized(federation, app, outdir, templates)
