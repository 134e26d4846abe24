"""What the hub's own policies admit of the silos in other accounts. Roles of the hub's account need none of this.

Across accounts, AWS asks both the role's policy and the resource's. With each silo, only lists of accounts and members
grow here, so that a hundred silos fit into AWS's limits. The bucket's statements are the same for all silos: they name
a silo by the tags of its role. The owner of another account sets those tags, so three checks bind them together, and a
silo's account can only claim to be that silo:

* The tag ``fedsilo:member`` is one of the list ``<account>/<silo>``.
* It consists of the account that the role is in, which AWS states, and the tag ``fedsilo:party``.
* The role has the name that ``fedsilo:party`` gives it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aws_cdk import aws_iam as iam

from fedsilo import names
from fedsilo.config.federation import Federation, Party, Silo
from fedsilo.keys import agent_key
from stacks import grants
from stacks.grants import Grant, HubResources

_MEMBER = f"aws:PrincipalTag/{names.MEMBER_TAG}"
_PARTY = f"${{aws:PrincipalTag/{names.PARTY_TAG}}}"
"""The policy variable that stands for the calling role's party. IAM allows neither * nor ? in a tag."""
_ACCOUNT = "${aws:PrincipalAccount}"

Conditions = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Foreign:
    """The silos in other accounts than the hub's."""

    hub: HubResources
    silos: Sequence[Silo]
    """At least one."""

    @classmethod
    def of(cls, federation: Federation) -> "Foreign | None":
        """The federation's foreign silos; None if it has none."""
        silos = [silo for silo in federation.silos if federation.is_foreign(silo)]
        return cls(HubResources.of(federation), silos) if silos else None

    @property
    def _accounts(self) -> list[str]:
        return list(dict.fromkeys(_account(silo) for silo in self.silos))

    def to_bucket(self) -> list[iam.PolicyStatement]:
        """The mail bucket's statements: what all parties share, and each silo's own prefix.

        They do not tell trainer from agent; each role's own policy limits it further.
        """
        hub, name = self.hub, self.hub.federation
        roles = [names.role_arn(role(name, _PARTY), _ACCOUNT) for role in (names.trainer_role, names.agent_role)]
        member = {"StringEquals": {_MEMBER: names.member(_ACCOUNT, _PARTY), "aws:PrincipalArn": roles}}
        own = grants.own_mail(hub, _PARTY)
        with_heartbeat = replace(own, resources=[*own.resources, *grants.heartbeat(hub, _PARTY).resources])
        admitted = (grants.shared_objects(hub), with_heartbeat, grants.listed(hub, _PARTY, agent_key("*")))
        return [
            self._no_others(),
            _statement(grants.denied(hub, _PARTY), [iam.StarPrincipal()]),
            *(_statement(grant, self._principals(), member) for grant in admitted),
        ]

    def to_key(self) -> iam.PolicyStatement:
        """The statement of the hub's key. It can't name the key's alias: AWS has that condition for IAM policies only.

        https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
        """
        use = Grant(
            grants.KEY_ACTIONS, ["*"], {"StringEquals": {"kms:ViaService": grants.via_services(self.hub)}}
        )  # in a key's policy, * is the key
        return _statement(use, self._principals(), self._named(names.trainer_role, names.agent_role))

    def to_queue(self, party: Party) -> list[iam.PolicyStatement]:
        """The statements of the policy of a party's queues; none for a silo in the hub's account."""
        if not isinstance(party, Silo):
            _, send = grants.notices(self.hub, self.silos[0])
            return [self._to_queue(send, self._accounts, names.trainer_role(self.hub.federation, "*"))]
        if party not in self.silos:
            return []
        receive, _ = grants.notices(self.hub, party)
        (request,) = grants.requests(self.hub, party)
        return [
            self._to_queue(grant, [_account(party)], role(self.hub.federation, party.name))
            for grant, role in ((receive, names.trainer_role), (request, names.agent_role))
        ]

    def _to_queue(self, grant: Grant, accounts: Sequence[str], role: str) -> iam.PolicyStatement:
        """A statement of a queue's policy. The accounts are a condition, because SQS allows 50 principals.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
        """
        only = {"StringEquals": {"aws:PrincipalAccount": [*accounts]}, **_named(role)}
        return _statement(grant, [iam.StarPrincipal()], only)

    def _no_others(self) -> iam.PolicyStatement:
        """The denial, to all other accounts, of everything to everybody who is no member of the federation."""
        members = [names.member(_account(silo), silo.name) for silo in self.silos]
        return iam.PolicyStatement(
            effect=iam.Effect.DENY,
            principals=[iam.StarPrincipal()],
            actions=["s3:*"],
            resources=[names.bucket_arn(self.hub.bucket_name), *self.hub.mail("*")],
            conditions={
                "StringNotEquals": {"aws:PrincipalAccount": self.hub.account, _MEMBER: members},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        )

    def _principals(self) -> list[iam.IPrincipal]:
        """The accounts. Roles that do not exist yet can't be principals, and hub and silos deploy in any order."""
        return [iam.ArnPrincipal(account) for account in self._accounts]  # short for arn:aws:iam::<account>:root

    def _named(self, *roles: grants.RoleName) -> Conditions:
        return _named(*(role(self.hub.federation, "*") for role in roles))


def _named(*roles: str) -> Conditions:
    """The condition on the name of the role, which may be a pattern."""
    return {"ArnLike": {"aws:PrincipalArn": [names.role_arn(role, "*") for role in roles]}}


def _account(silo: Silo) -> str:
    """The account of a foreign silo: the spec names it."""
    return str(silo.account)


def _statement(
    grant: Grant, principals: Sequence[iam.IPrincipal], only: Conditions | None = None
) -> iam.PolicyStatement:
    """A grant as a statement of a resource's policy, under more conditions."""
    conditions = {operator: {**keys} for operator, keys in grant.conditions.items()}
    for operator, keys in (only or {}).items():
        conditions[operator] = {**conditions.get(operator, {}), **keys}
    return iam.PolicyStatement(
        effect=grant.effect,
        principals=[*principals],
        actions=[*grant.actions],
        resources=[*grant.resources],
        conditions=conditions,
    )
