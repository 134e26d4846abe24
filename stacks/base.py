"""The base of every stack of a federation: its name, account and Region, its tags, and whether its data is kept."""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party
from stacks.manifests import Manifest

# These stand here and not in cdk.json, so that `python app.py` makes the same templates as `cdk synth`.
FLAGS = {
    "@aws-cdk/aws-s3:createDefaultLoggingPolicy": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/core:validateAgainstDefaultRules": True,
}
"""CDK's feature flags."""


class PartyStack(cdk.Stack):
    """A stack ``<fed>-<parts…>`` in a party's account and Region, tagged with the federation and the party."""

    def __init__(self, scope: Construct, *parts: str, federation: Federation, party: Party, description: str) -> None:
        super().__init__(
            scope,
            names.stack(federation.name, *parts),
            env=cdk.Environment(account=party.account, region=party.region),
            description=f"Federation {federation.name}: {description}",
            tags={
                **federation.tags_of(party),
                names.FEDERATION_TAG: federation.name,
                names.PARTY_TAG: party.name,
            },
        )
        self.party = party
        self.keeps = party.on_destroy == "keep"
        """Whether data that can't be made again stays when the stack is destroyed."""
        self.removal = cdk.RemovalPolicy.RETAIN if self.keeps else cdk.RemovalPolicy.DESTROY

    def output(self, name: str, value: str, description: str) -> None:
        """Add an output to the stack. Its description says what to do with the value."""
        cdk.CfnOutput(self, name, value=value, description=description)

    def apply(self, id_: str, cluster: eks.Cluster, *objects: Manifest) -> eks.KubernetesManifest:
        """Apply objects to the cluster, in this order. Objects that exist already are taken over."""
        return eks.KubernetesManifest(
            self,
            id_,
            cluster=cluster,  # type: ignore[arg-type]  # jsii's stubs lack a member that the class has
            manifest=[*objects],
            overwrite=True,
        )
