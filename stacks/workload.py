"""The programs in a party's cluster: the agent and the template of its trainers, with their roles."""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_kms as kms
from constructs import Construct

from fedsilo import names
from fedsilo.config.environment import Settings
from fedsilo.config.federation import Federation, Party
from stacks import grants, image, manifests
from stacks.addons import pod_role
from stacks.admission import trainers_admission
from stacks.base import PartyStack

_MQTT = 1883
"""The port of FedML's broker."""


class WorkloadStack(PartyStack):
    """The images, the roles, and the Kubernetes objects of namespace ``fedsilo``."""

    def __init__(
        self,
        scope: Construct,
        *,
        federation: Federation,
        party: Party,
        cluster: eks.Cluster,
        data_key: kms.IKey | None,
        store_key: kms.IKey | None,
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
        self._hub = grants.HubResources.of(federation)
        self._data_key, self._store_key = data_key, store_key
        self._store_bucket = names.store_bucket(*self._who, self.account)
        self._data_bucket = names.data_bucket(*self._who, self.account, party.region)
        if federation.control_plane == "mlops":
            self._run_fedmls_agent()
        else:
            self._run_own_agent()

    def _run_own_agent(self) -> None:
        """Deploy fedsilo's agent and the template of the trainers that it starts."""
        agent = self._make_role(names.AGENT, names.agent_role(*self._who), self._agents_grants())
        trainer = self._make_role(names.TRAINER, names.trainer_role(*self._who), self._trainers_grants())
        agent_image = self.party.images.agent or image.build(self, "agent")
        trainer_image = self.party.images.trainer or image.build(self, "trainer", image.torch_build(self.party.compute))
        prerequisites = [
            *manifests.network_policies(self.party),
            manifests.service_account(names.AGENT),
            manifests.service_account(names.TRAINER),
            *manifests.agent_rbac(),
            *trainers_admission(),
            manifests.settings(self._settings()),
            manifests.policy(self.party),
        ]
        programs = [manifests.trainer(trainer_image, self.party), manifests.agent(agent_image)]
        self._apply(prerequisites, programs, [agent, trainer])
        self.output("AgentImageUri", agent_image, "what the agent runs in")
        self.output("TrainerImageUri", trainer_image, "what the trainers run in")
        self.output("Next", "fedsilo silo list", "the agent reports within two minutes of the deployment")

    def _run_fedmls_agent(self) -> None:
        """Deploy FedML's agent, which takes part in runs of FedML's platform in its own pod."""
        secret = self._federation.mlops_secret
        granted = [*self._own_records_and_data(), grants.mlops_secret(secret, self.party, self.account)]
        agent = self._make_role(names.AGENT, names.agent_role(*self._who), granted)
        arguments = image.STOCK_FEDML | image.torch_build(self.party.compute)
        trainer_image = self.party.images.trainer or image.build(self, "trainer", arguments)
        prerequisites = [
            *manifests.network_policies(self.party, _MQTT),
            manifests.service_account(names.AGENT),
            manifests.settings(self._settings()),
        ]
        self._apply(prerequisites, [manifests.mlops_agent(trainer_image, self.party, secret)], [agent])
        self.output("TrainerImageUri", trainer_image, "what FedML's agent runs in")
        device = names.mlops_device(*self._who)
        self.output("Next", device, "the device on FedML's platform a minute after the deployment; see docs/mlops.md")

    def _apply(
        self,
        prerequisites: list[manifests.Manifest],
        programs: list[manifests.Manifest],
        identities: list[eks.CfnPodIdentityAssociation],
    ) -> None:
        """Apply the namespace, then the objects that pods need when they start, then the programs."""
        namespace = self.apply("Namespace", self._cluster, manifests.namespace())
        # The id is part of the template: with another id, CloudFormation would delete and create the objects again.
        before = self.apply("House", self._cluster, manifests.quota(self.party.compute), *prerequisites)
        before.node.add_dependency(namespace)
        # A pod gets credentials only if its identity exists when it starts.
        self.apply("Programs", self._cluster, *programs).node.add_dependency(before, *identities)

    def _settings(self) -> dict[str, str]:
        """The environment of the agent and of every trainer. The settings of a run come with its Job."""
        settings = Settings.model_construct(  # not validated, because the account may be a CDK token
            federation=self._federation.name,
            party=self.party.name,
            rank=self.party.rank,
            gpus=self.party.compute.gpu,
            hub_account=self._hub.account,
            hub_region=self._hub.region,
            data=f"s3://{self._data_bucket}/" if self._data_key else "packaged",
            store=f"s3://{self._store_bucket}/" if self._store_key else "",
        )
        # boto3 reads AWS_DEFAULT_REGION alone, and other SDKs read AWS_REGION.
        region = self.party.region
        return settings.to_environment() | {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}

    def _trainers_grants(self) -> list[grants.Grant]:
        return [
            *grants.broadcasts(self._hub),
            *grants.mail(self._hub, self.party),
            *grants.notices(self._hub, self.party),
            *grants.hub_key(self._hub),
            *self._own_records_and_data(),
            *(grants.own_store(self._store_bucket, self._store_key.key_arn) if self._store_key else ()),
        ]

    def _own_records_and_data(self) -> list[grants.Grant]:
        return [
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
        """Make a role with its grants, and assign it to the service account of the same noun."""
        role = pod_role(
            self,
            noun.title(),
            cluster=names.cluster(*self._who),
            role_name=name,
            description=f"The {noun} of {self.party.name}",
        )
        # In the template, because `cdk deploy --tags` replaces the tags of a stack, and the hub admits roles by these.
        cdk.Tags.of(role).add(names.PARTY_TAG, self.party.name)
        cdk.Tags.of(role).add(names.MEMBER_TAG, names.member(self.account, self.party.name))
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
