"""What runs in a party's cluster: the agent, the template of its trainers, and what the two may do."""

import os
from pathlib import Path

from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_kms as kms
from constructs import Construct

from fedsilo import names
from fedsilo.spec import Federation, Party
from stacks import grants, manifests
from stacks.addons import pod_role
from stacks.base import PartyStack

_ROOT = Path(__file__).parents[1]


class WorkloadStack(PartyStack):
    """Training image, roles, and the Kubernetes objects of namespace ``fedsilo``."""

    def __init__(
        self,
        scope: Construct,
        *,
        federation: Federation,
        party: Party,
        cluster: eks.Cluster,
        data_key: kms.IKey | None,
    ) -> None:
        super().__init__(
            scope,
            party.name,
            "workload",
            federation=federation,
            party=party,
            description=f"agent and trainers of {party.name}",
        )
        self._federation = federation
        self._who = federation.name, party.name
        self._cluster = cluster
        self._hub = grants.Hub.of(federation)
        self._data_key = data_key
        self._data_bucket = names.data_bucket(*self._who, self.account, party.region)
        agent = self._make_role(names.AGENT, names.agent_role(*self._who), self._agents_grants())
        trainer = self._make_role(names.TRAINER, names.trainer_role(*self._who), self._trainers_grants())
        image = party.image or self._build_image()
        namespace = self.apply("Namespace", cluster, manifests.namespace())
        house = self.apply(
            "House",
            cluster,
            manifests.quota(party.compute),
            *manifests.network_policies(party),
            *manifests.service_accounts(),
            *manifests.agent_rbac(),
            *manifests.config_maps(party, self._settings()),
        )
        house.node.add_dependency(namespace)
        programs = self.apply("Programs", cluster, manifests.trainer(image, party), manifests.agent(image))
        # A pod gets its credentials when it starts, or never.
        programs.node.add_dependency(house, agent, trainer)
        self.output("ImageUri", image, "what the agent and the trainers run")
        self.output("Next", "fedsilo silo list", "the agent reports within two minutes of the deployment")

    def _settings(self) -> dict[str, str]:
        """What the agent and the trainer read from their environment; a run's own settings come with its Job."""
        return {
            "FEDSILO_FEDERATION": self._federation.name,
            "FEDSILO_PARTY": self.party.name,
            "FEDSILO_RANK": str(self.party.rank),
            "FEDSILO_HUB_ACCOUNT": self._hub.account,
            "FEDSILO_HUB_REGION": self._hub.region,
            "FEDSILO_DATA": f"s3://{self._data_bucket}/" if self._data_key else "packaged",
            "AWS_REGION": self.party.region,
        }

    def _trainers_grants(self) -> list[grants.Grant]:
        return [
            *grants.broadcasts(self._hub),
            *grants.mail(self._hub, self.party),
            *grants.notices(self._hub, self.party),
            *grants.hub_key(self._hub),
            *grants.experiments(self._federation, self.party, self.account),
            *(grants.own_data(self._data_bucket, self._data_key.key_arn) if self._data_key else ()),
        ]

    def _agents_grants(self) -> list[grants.Grant]:
        return [
            *grants.agents_mail(self._hub, self.party),
            grants.lists(self._hub),
            *grants.requests(self._hub, self.party),
            *grants.hub_key(self._hub),
        ]

    def _make_role(self, noun: str, name: str, allowed: list[grants.Grant]) -> eks.CfnPodIdentityAssociation:
        """A role, what it may do, and the service account of the same noun that gets it."""
        role = pod_role(self, noun.title(), role_name=name, description=f"The {noun} of {self.party.name}")
        grants.managed_policy(
            self,
            f"{noun.title()}Policy",
            name=name,
            description=f"What the {noun} of {self.party.name} may do",
            grants=allowed,
            role=role,
        )
        return eks.CfnPodIdentityAssociation(
            self,
            f"{noun.title()}Identity",
            cluster_name=self._cluster.cluster_name,
            namespace=names.NAMESPACE,
            service_account=noun,
            role_arn=role.role_arn,
        )

    def _build_image(self) -> str:
        """The image of this repository, built when the app is deployed; synth only reads the files it is made of."""
        asset = assets.DockerImageAsset(
            self,
            "Image",
            directory=str(_ROOT),
            file="workloads/image/Dockerfile",
            platform=assets.Platform.LINUX_AMD64,
            # The default index's build of torch runs on both; one of CPU builds makes a much smaller image.
            build_args={} if self.party.compute.gpu else {"TORCH_INDEX": os.environ.get("FEDSILO_TORCH_INDEX", "")},
        )
        return asset.image_uri
