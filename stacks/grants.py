"""What each role may do, said once: the role's own policy and the hub's policies are both made from it.

Across accounts AWS asks both sides, so a hub that admits what a role's policy does not, or the other way round, is a
hole or a fault. Here they can't differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party, Silo
from fedsilo.keys import INDEX, RunKeys, agent_key
from stacks.acknowledge import acknowledge

_RUNS = RunKeys("*")
_READ_OBJECT = ("s3:GetObject",)
_WRITE_OBJECT = ("s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload")
_RECEIVE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
_FIND_QUEUE = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
_ALL_QUEUES = "a hundred silos' queues in one statement; the condition on the tag keeps it to this federation's"


@dataclass(frozen=True)
class Grant:
    """Actions on resources, under conditions."""

    actions: Sequence[str]
    resources: Sequence[str]
    conditions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    effect: iam.Effect = iam.Effect.ALLOW
    why: str = "runs are named when they start"
    """Why a resource is a pattern, where it is one."""

    def for_role(self) -> iam.PolicyStatement:
        """The statement as the role's own policy has it."""
        return iam.PolicyStatement(
            effect=self.effect,
            actions=[*self.actions],
            resources=[*self.resources],
            conditions={**self.conditions},
        )

    def for_accounts(self, roles: Mapping[str, Sequence[str]]) -> iam.PolicyStatement:
        """The statement as a resource's policy has it: for the accounts, and of each only the roles named.

        The accounts are the principals because a role that does not exist yet can't be: hub and silos deploy in any
        order. What is denied is denied to the whole account.
        """
        conditions = {operator: {**keys} for operator, keys in self.conditions.items()}
        if self.effect is iam.Effect.ALLOW:
            conditions["ArnEquals"] = {
                "aws:PrincipalArn": [names.role_arn(role, account) for account in roles for role in roles[account]]
            }
        return iam.PolicyStatement(
            effect=self.effect,
            principals=[iam.AccountPrincipal(account) for account in roles],
            actions=[*self.actions],
            resources=[*self.resources],
            conditions=conditions,
        )


@dataclass(frozen=True)
class Hub:
    """Where a federation's hub is, and what it holds, by ARN."""

    federation: str
    account: str
    region: str

    @classmethod
    def of(cls, federation: Federation) -> "Hub":
        """The federation's hub, which is where its aggregator is."""
        aggregator = federation.aggregator
        return cls(federation.name, aggregator.account or cdk.Aws.ACCOUNT_ID, aggregator.region)

    @property
    def bucket_name(self) -> str:
        """The mail bucket."""
        return names.mail_bucket(self.federation, self.account, self.region)

    def mail(self, *patterns: str) -> list[str]:
        """The objects of the mail bucket whose keys the patterns name."""
        return [names.bucket_arn(self.bucket_name, pattern) for pattern in patterns]

    def data_queue(self, party: str) -> str:
        """The queue of the party's notices."""
        return names.queue_arn(names.data_queue(self.federation, party), self.account, self.region)

    def control_queue(self, party: str) -> str:
        """The queue of requests to the party's agent."""
        return names.queue_arn(names.control_queue(self.federation, party), self.account, self.region)

    @property
    def own_queues(self) -> dict[str, dict[str, str]]:
        """The condition under which a pattern of queue names means this federation's, not one of a longer name."""
        return {"StringEquals": {f"aws:ResourceTag/{names.FEDERATION_TAG}": self.federation}}


def broadcasts(hub: Hub) -> list[Grant]:
    """What every trainer may do in the mail bucket: read run.json, list and read what the aggregator sends to all."""
    everyones = f"{_RUNS.outbox(names.AGGREGATOR, names.EVERYONE)}*"
    return [Grant(_READ_OBJECT, hub.mail(_RUNS.run_json, everyones)), _list(hub, everyones)]


def mail(hub: Hub, party: Party) -> list[Grant]:
    """What a party's trainer may do in the mail bucket beside: write below its prefix, read what is addressed to it.

    One pattern is both, since its star also matches slashes: ``runs/*/<party>/*`` is what the party wrote and
    ``runs/<run>/<sender>/outbox/<party>/…``. Writing the latter, below the sender's prefix, is denied. The
    aggregator reads the silos' statuses, too, so as not to wait for one that has ended.
    """
    own = f"{_RUNS.party(party.name)}*"
    return [
        Grant((*_READ_OBJECT, *_WRITE_OBJECT), hub.mail(own)),
        _list(hub, *([own] if isinstance(party, Silo) else [])),
        denied(hub, party),
        *([] if isinstance(party, Silo) else [Grant(_READ_OBJECT, hub.mail(_RUNS.status("*")))]),
    ]


def admitted_to_all(hub: Hub) -> list[Grant]:
    """What the bucket admits every party of another account to: what their trainers, or their agents, may do.

    The bucket's policy has room for one set of statements, not two; each role's own policy holds it to its part.
    """
    read, _ = broadcasts(hub)
    everyones = f"{_RUNS.outbox(names.AGGREGATOR, names.EVERYONE)}*"
    return [read, _list(hub, everyones, _RUNS.run_json, agent_key("*"))]


def admitted(hub: Hub, party: Party) -> list[Grant]:
    """What the bucket admits a party of another account to beside, again for trainer and agent together."""
    own, *others = mail(hub, party)
    return [replace(own, resources=[*own.resources, *sign_of_life(hub, party).resources]), *others]


def _list(hub: Hub, *prefixes: str) -> Grant:
    """Listing what begins with one of the prefixes, or everything.

    Only with all of the bucket does S3 tell a missing object (404) from a forbidden one.
    """
    condition = prefixes[0] if len(prefixes) == 1 else [*prefixes]
    conditions = {"StringLike": {"s3:prefix": condition}} if prefixes else {}
    return Grant(("s3:ListBucket",), [names.bucket_arn(hub.bucket_name)], conditions)


def denied(hub: Hub, party: Party) -> Grant:
    """Writing below a segment of the party's name that is not the one after the run: another party's prefix."""
    return Grant(_WRITE_OBJECT, hub.mail(_RUNS.party(f"*/{party.name}") + "*"), effect=iam.Effect.DENY)


def agents_mail(hub: Hub, party: Party) -> list[Grant]:
    """What a party's agent may do in the mail bucket: read run.json, report how its part of the run goes.

    It lists a key before it reads it, because one that is not there can't be told from a denied one else.
    """
    status, log = _RUNS.status(party.name), _RUNS.log(party.name)
    return [
        Grant(_READ_OBJECT, hub.mail(_RUNS.run_json, status)),
        Grant(("s3:PutObject",), hub.mail(status, log)),
        _list(hub, status),
        sign_of_life(hub, party),
        denied(hub, party),
    ]


def sign_of_life(hub: Hub, party: Party) -> Grant:
    """Saying that the party's agent is there, and reading what it said last."""
    return Grant((*_READ_OBJECT, "s3:PutObject"), hub.mail(agent_key(party.name)))


def lists(hub: Hub) -> Grant:
    """What every agent may list: which runs and agents there are."""
    return _list(hub, _RUNS.run_json, agent_key("*"))


def notices(hub: Hub, party: Party) -> list[Grant]:
    """What a party's trainer may do with queues: receive from its own, tell the other side of its mail."""
    if isinstance(party, Silo):
        send = Grant(("sqs:SendMessage", "sqs:GetQueueUrl"), [hub.data_queue(names.AGGREGATOR)])
    else:
        send = Grant(("sqs:SendMessage", "sqs:GetQueueUrl"), [hub.data_queue("*")], hub.own_queues, why=_ALL_QUEUES)
    return [Grant((*_RECEIVE, *_FIND_QUEUE), [hub.data_queue(party.name)]), send]


def requests(hub: Hub, party: Party) -> list[Grant]:
    """What a party's agent may do with queues: receive requests, and take away the notices of runs that are over."""
    queues = [hub.control_queue(party.name), hub.data_queue(party.name)]
    return [Grant((*_RECEIVE, *_FIND_QUEUE), queues)]


def hub_key(hub: Hub) -> list[Grant]:
    """The use of the hub's key, through S3 and SQS only. Its id is not known before it exists; its alias is."""
    return [
        Grant(
            ("kms:Decrypt", "kms:GenerateDataKey"),
            [f"arn:aws:kms:{hub.region}:{hub.account}:key/*"],
            {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": names.hub_key_alias(hub.federation)},
                "StringEquals": {"kms:ViaService": via_services(hub)},
            },
            why="a key's id is not known before it exists; the condition on its alias means one key",
        )
    ]


def via_services(hub: Hub) -> list[str]:
    """The services through which the hub's key may be used, as ``kms:ViaService`` names them."""
    return [f"{service}.{hub.region}.amazonaws.com" for service in ("s3", "sqs")]


def experiments(federation: Federation, party: Party, account: str) -> list[Grant]:
    """What a trainer may do in SageMaker: keep the record of its own experiment.

    These ten actions are what the SageMaker SDK's ``Run`` calls; ``Search`` can't be scoped
    (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html).
    """
    kept = (
        "CreateExperiment", "DescribeExperiment", "CreateTrial", "DescribeTrial", "CreateTrialComponent",
        "DescribeTrialComponent", "UpdateTrialComponent", "AssociateTrialComponent", "AddTags", "BatchPutMetrics",
    )  # fmt: skip
    experiment = names.experiment(federation.name, party.rank)
    return [
        Grant([f"sagemaker:{action}" for action in kept], names.experiment_arns(experiment, account, party.region)),
        Grant(("sagemaker:Search",), ["*"], why="SageMaker knows no resource for Search"),
    ]


def own_data(bucket: str, key_arn: str) -> list[Grant]:
    """Reading a party's own data bucket."""
    return [
        Grant(_READ_OBJECT, [names.bucket_arn(bucket, "*")], why="a party names its data as it likes"),
        Grant(("s3:ListBucket",), [names.bucket_arn(bucket)]),
        Grant(("kms:Decrypt",), [key_arn]),
    ]


def mlops_secret(secret: str, party: Party, account: str) -> Grant:
    """Reading FedML's API key."""
    return Grant(("secretsmanager:GetSecretValue",), [names.secret_arn(secret, account, party.region)])


def operator(hub: Hub) -> list[Grant]:
    """What an operator may do: begin runs, send requests to the agents, read ledgers and final models.

    An operator may not read mail. Of a silo's updates an operator reads only the last one, which the silo publishes as
    its model. The right to list tells an object that does not exist from one that the operator may not read.
    """
    ledgers = [of_party("*") for of_party in (_RUNS.status, _RUNS.metrics, _RUNS.log, _RUNS.model)]
    every_queue = names.queue_arn(f"{hub.federation}-*.fifo", hub.account, hub.region)
    return [
        Grant(_READ_OBJECT, hub.mail(_RUNS.run_json, *ledgers, agent_key("*"))),
        Grant(("s3:PutObject",), hub.mail(_RUNS.run_json, f"{INDEX}*")),
        Grant(("s3:PutObject",), hub.mail(f"{_RUNS.party('*')}*"), effect=iam.Effect.DENY),
        _list(hub),
        Grant(("sqs:SendMessage",), [hub.control_queue("*")], hub.own_queues, why=_ALL_QUEUES),
        Grant(_FIND_QUEUE, [every_queue], hub.own_queues, why=_ALL_QUEUES),
        *hub_key(hub),
    ]


def managed_policy(
    scope: Construct, id_: str, *, name: str, description: str, grants: Sequence[Grant], role: iam.Role | None = None
) -> iam.ManagedPolicy:
    """A customer-managed policy of the grants, attached to the role, with the reasons for its patterns."""
    policy = iam.ManagedPolicy(
        scope,
        id_,
        managed_policy_name=name,
        description=description,
        statements=[grant.for_role() for grant in grants],
        roles=[role] if role else None,
    )
    patterns = {
        f"AwsSolutions-IAM5[Resource::{resource.replace(cdk.Aws.ACCOUNT_ID, '<AWS::AccountId>')}]": grant.why
        for grant in grants
        for resource in grant.resources
        if "*" in resource and grant.effect is iam.Effect.ALLOW
    }
    acknowledge(policy, patterns)
    return policy
