"""What each role may do. The role's own policy and the hub's policies (``foreign.py``) are made from the same grants.

Across accounts, AWS asks both policies. A difference between them would be a hole or a fault.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from fedsilo import names
from fedsilo.config.federation import Federation, Party, Silo
from fedsilo.keys import INDEX, RunKeys, agent_key, agent_keys
from stacks.nag import acknowledge

_RUNS = RunKeys("*")
_READ_OBJECT = ("s3:GetObject",)
_READ_VERSION = (*_READ_OBJECT, "s3:GetObjectVersion")
_WRITE_OBJECT = ("s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload")
_ANY_WRITE = ("s3:Put*", "s3:Abort*")
"""For denials. S3 limits a bucket's policy to 20 KiB, so its statements are short."""
OWN_STORE_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
"""What a trainer does with the objects of its silo's own store."""
KEY_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey")
"""What S3 and SQS do with a bucket's or a queue's key for the caller."""
_RECEIVE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
_FIND_QUEUE = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
_KEY_HEADERS = ("s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-customer-algorithm")
_ALL_QUEUES = "one statement for a hundred silos' queues; its condition on the tag limits it to this federation"

RoleName = Callable[[str, str], str]
"""The function of ``names`` that gives a role its name from the federation's and the party's."""


@dataclass(frozen=True)
class Grant:
    """Actions on resources, under conditions."""

    actions: Sequence[str]
    resources: Sequence[str]
    conditions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    effect: iam.Effect = iam.Effect.ALLOW
    why: str = "runs are named when they start"
    """The reason for a resource that is a pattern."""

    def for_role(self) -> iam.PolicyStatement:
        """The statement for the role's own policy."""
        return iam.PolicyStatement(
            effect=self.effect,
            actions=[*self.actions],
            resources=[*self.resources],
            conditions={**self.conditions},
        )


@dataclass(frozen=True)
class HubResources:
    """The names and ARNs of what a federation's hub holds."""

    federation: str
    account: str
    region: str

    @classmethod
    def of(cls, federation: Federation) -> "HubResources":
        """The resources of the federation's hub, which is in the aggregator's account and Region."""
        aggregator = federation.aggregator
        return cls(federation.name, aggregator.account or cdk.Aws.ACCOUNT_ID, aggregator.region)

    @property
    def bucket_name(self) -> str:
        """The mail bucket."""
        return names.mail_bucket(self.federation, self.account, self.region)

    def mail(self, *patterns: str) -> list[str]:
        """The ARNs of the mail bucket's objects whose keys match the patterns."""
        return [names.bucket_arn(self.bucket_name, pattern) for pattern in patterns]

    def data_queue(self, party: str) -> str:
        """The ARN of the party's queue of notices."""
        return names.queue_arn(names.data_queue(self.federation, party), self.account, self.region)

    def control_queue(self, party: str) -> str:
        """The ARN of the party's queue of requests."""
        return names.queue_arn(names.control_queue(self.federation, party), self.account, self.region)

    @property
    def own_queues(self) -> dict[str, dict[str, str]]:
        """The condition that limits a pattern of queue names to this federation: another's name may begin with its."""
        return {"StringEquals": {f"aws:ResourceTag/{names.FEDERATION_TAG}": self.federation}}


_BROADCASTS = f"{_RUNS.outbox(names.AGGREGATOR, names.EVERYONE)}*"


def broadcasts(hub: HubResources) -> list[Grant]:
    """What every trainer may do in the mail bucket: read run.json, and list and read broadcasts."""
    return [run_json(hub), Grant(_READ_OBJECT, hub.mail(_BROADCASTS)), _list(hub, _BROADCASTS)]


def shared_objects(hub: HubResources) -> Grant:
    """Reading what every party may read: run.json in its versions, and broadcasts."""
    return Grant(_READ_VERSION, hub.mail(_RUNS.run_json, _BROADCASTS))


def listed(hub: HubResources, party: str, agents: str) -> Grant:
    """Listing what any of a silo's roles may list: broadcasts, run.json, the agents, and the silo's own keys."""
    return _list(hub, _BROADCASTS, _RUNS.run_json, agents, f"{_RUNS.party(party)}*")


def run_json(hub: HubResources) -> Grant:
    """Reading run.json, in the version that a request names."""
    return Grant(_READ_VERSION, hub.mail(_RUNS.run_json))


def run_json_stays(hub: HubResources, cleaner_arn: str | None) -> list[iam.PolicyStatement]:
    """The denials that keep a run.json as it was when the parties' policies were asked about it.

    S3 lets only those write it who ask for a free key. The parts of a multipart upload carry no such condition; its
    completion does. A copy can't carry one, and is denied.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html

    Args:
        hub: The hub.
        cleaner_arn: The role that empties the bucket before it is destroyed, if there is one. Lifecycle rules need no
            exemption, because no policy applies to them.
    """
    overwrites: dict[str, object] = {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }
    others: dict[str, object] = {"ArnNotEquals": {"aws:PrincipalArn": cleaner_arn}} if cleaner_arn else {}
    return [
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=actions,
            resources=hub.mail(_RUNS.run_json),
            conditions=conditions,
        )
        for actions, conditions in (
            (["s3:PutObject"], overwrites),
            (["s3:DeleteObject", "s3:DeleteObjectVersion"], others),
        )
    ]


def mail(hub: HubResources, party: Party) -> list[Grant]:
    """What a party's trainer may also do in the mail bucket: write below its prefix and read mail addressed to it.

    One pattern covers both, because its star also matches slashes: ``runs/*/<party>/*`` matches what the party wrote
    and also ``runs/<run>/<sender>/outbox/<party>/…``. ``denied`` forbids writing the latter. The aggregator also reads
    the silos' statuses, so that it does not wait for a silo that has ended.
    """
    own = f"{_RUNS.party(party.name)}*"
    return [
        own_mail(hub, party.name),
        _list(hub, *([own] if isinstance(party, Silo) else [])),
        denied(hub, party.name),
        *([] if isinstance(party, Silo) else [Grant(_READ_OBJECT, hub.mail(_RUNS.status("*")))]),
    ]


def own_mail(hub: HubResources, party: str) -> Grant:
    """Reading and writing below the party's own prefix."""
    return Grant((*_READ_OBJECT, *_WRITE_OBJECT), hub.mail(f"{_RUNS.party(party)}*"))


def _list(hub: HubResources, *prefixes: str) -> Grant:
    """Listing keys that begin with one of the prefixes; without a prefix, listing all keys.

    S3 answers "not found" for a missing object only to those who may list it, and "forbidden" to all others.
    """
    condition = prefixes[0] if len(prefixes) == 1 else [*prefixes]
    conditions = {"StringLike": {"s3:prefix": condition}} if prefixes else {}
    return Grant(("s3:ListBucket",), [names.bucket_arn(hub.bucket_name)], conditions)


def denied(hub: HubResources, party: str) -> Grant:
    """The denial to write below another party's prefix, where a segment of the key may also be the party's name."""
    return Grant(_ANY_WRITE, hub.mail(_RUNS.party(f"*/{party}") + "*"), effect=iam.Effect.DENY)


def stored_as_bucket_says(hub: HubResources) -> list[iam.PolicyStatement]:
    """The denials, for everybody, to store an object so that others can't read it: under another key or in an archive.

    fedsilo sends none of these headers, so the bucket's own settings apply: S3 asks the policy before it applies them.
    S3 takes the header that names a key of KMS only together with the first of the two about encryption. ``Null`` asks
    whether a request has a header. ``StringNotEquals`` alone would also be true of a request without it, and so would
    every ``IfExists``.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-bucket-encryption.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    storage_class = {"Null": {"s3:x-amz-storage-class": "false"}}
    conditions = [
        *({"Null": {header: "false"}} for header in _KEY_HEADERS),
        {**storage_class, "StringNotEquals": {"s3:x-amz-storage-class": "STANDARD"}},
    ]
    return [
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:PutObject"],
            resources=hub.mail("*"),
            conditions=condition,
        )
        for condition in conditions
    ]


def agents_mail(hub: HubResources, party: Party) -> list[Grant]:
    """What a party's agent may do in the mail bucket: read run.json, and report on its part of the run.

    It may list the keys that it reads, so that it can tell a missing object from a denied one.
    """
    status, log = _RUNS.status(party.name), _RUNS.log(party.name)
    return [
        run_json(hub),
        Grant(_READ_OBJECT, hub.mail(status)),
        Grant(("s3:PutObject",), hub.mail(status, log)),
        _list(hub, status),
        heartbeat(hub, party.name),
        denied(hub, party.name),
    ]


def heartbeat(hub: HubResources, party: str) -> Grant:
    """Writing and reading the heartbeat of the party's agent, and the report of a second one that waits."""
    return Grant((*_READ_OBJECT, "s3:PutObject"), hub.mail(agent_keys(party)))


def lists(hub: HubResources) -> Grant:
    """What every agent may list: the runs and the agents."""
    return _list(hub, _RUNS.run_json, agent_key("*"))


def notices(hub: HubResources, party: Party) -> list[Grant]:
    """What a party's trainer may do with queues: receive from its own, and send notices of its mail.

    A silo sends notices to the aggregator, and the aggregator to every silo.
    """
    if isinstance(party, Silo):
        send = Grant(("sqs:SendMessage", "sqs:GetQueueUrl"), [hub.data_queue(names.AGGREGATOR)])
    else:
        send = Grant(("sqs:SendMessage", "sqs:GetQueueUrl"), [hub.data_queue("*")], hub.own_queues, why=_ALL_QUEUES)
    return [Grant((*_RECEIVE, *_FIND_QUEUE), [hub.data_queue(party.name)]), send]


def requests(hub: HubResources, party: Party) -> list[Grant]:
    """What a party's agent may do with queues: receive requests, and remove the notices of runs that have ended."""
    queues = [hub.control_queue(party.name), hub.data_queue(party.name)]
    return [Grant((*_RECEIVE, *_FIND_QUEUE), queues)]


def hub_key(hub: HubResources) -> list[Grant]:
    """The use of the hub's key, through S3 and SQS only. Other stacks know the key's alias, but not its id."""
    return [
        Grant(
            KEY_ACTIONS,
            [f"arn:aws:kms:{hub.region}:{hub.account}:key/*"],
            {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": names.hub_key_alias(hub.federation)},
                "StringEquals": {"kms:ViaService": via_services(hub)},
            },
            why="a key's id is not known before it exists; the condition on its alias means one key",
        )
    ]


def via_services(hub: HubResources) -> list[str]:
    """The services through which the hub's key may be used, as ``kms:ViaService`` names them."""
    return [f"{service}.{hub.region}.amazonaws.com" for service in ("s3", "sqs")]


def experiments(federation: Federation, party: Party, account: str) -> list[Grant]:
    """What a trainer may do in SageMaker: record its own experiment.

    The SageMaker SDK's ``Run`` calls these ten actions and ``Search``, which can't be limited to a resource
    (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html).
    """
    actions = (
        "CreateExperiment", "DescribeExperiment", "CreateTrial", "DescribeTrial", "CreateTrialComponent",
        "DescribeTrialComponent", "UpdateTrialComponent", "AssociateTrialComponent", "AddTags", "BatchPutMetrics",
    )  # fmt: skip
    experiment = names.experiment(federation.name, party.rank)
    return [
        Grant([f"sagemaker:{action}" for action in actions], names.experiment_arns(experiment, account, party.region)),
        Grant(("sagemaker:Search",), ["*"], why="Search can't be limited to a resource"),
    ]


def own_data(bucket: str, key_arn: str) -> list[Grant]:
    """Reading a party's own data bucket."""
    return [
        Grant(_READ_OBJECT, [names.bucket_arn(bucket, "*")], why="a party may name its data freely"),
        Grant(("s3:ListBucket",), [names.bucket_arn(bucket)]),
        Grant(("kms:Decrypt",), [key_arn]),
    ]


def own_store(bucket: str, key_arn: str) -> list[Grant]:
    """The use of a silo's own store. A conditional write also needs the right to read."""
    return [
        Grant(OWN_STORE_ACTIONS, [names.bucket_arn(bucket, "*")], why="a trainer names what it keeps"),
        Grant(("s3:ListBucket",), [names.bucket_arn(bucket)]),
        Grant(("kms:Decrypt", "kms:GenerateDataKey"), [key_arn]),
    ]


def mlops_secret(secret: str, party: Party, account: str) -> Grant:
    """Reading FedML's API key."""
    return Grant(("secretsmanager:GetSecretValue",), [names.secret_arn(secret, account, party.region)])


def operator(hub: HubResources) -> list[Grant]:
    """What an operator may do: begin runs, send requests to the agents, and read ledgers and the models of runs.

    An operator may not read mail. Of a silo's updates, an operator can read only the last one, which the silo publishes
    as its model. Listing lets an operator tell a missing object from a denied one.
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
    """Make a customer-managed policy of the grants and attach it to the role.

    The reasons for patterns in the grants' resources are acknowledged for cdk-nag.
    """
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
