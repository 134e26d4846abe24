"""What the hub's policies admit of other accounts, whatever the owner of such an account makes and claims there."""

import itertools
from typing import Any

import pytest

from fedsilo import names
from fedsilo.keys import RunKeys, agent_key
from tests.support.access import Policies, Question, Who, key_arn, simulate
from tests.support.condition_keys import unusable
from tests.support.synthesis import Synthesized

RUN = RunKeys("run-1")
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ACCOUNT = "222222222222"
"""The account of silo far."""


def claims() -> list[tuple[str, dict[str, str]]]:
    """Roles that the owner of silo far's account could make: their ARNs, and what their tags claim."""
    roles = ("every-far-trainer", "every-other-trainer", "every-far-x-trainer", "far-trainer")
    parties = ("far", "other", "far-x", None)
    members = (f"{ACCOUNT}/far", "333333333333/other", f"{ACCOUNT}/other", None)
    return [
        (
            names.role_arn(role, ACCOUNT),
            {
                f"aws:PrincipalTag/{tag}": value
                for tag, value in ((names.PARTY_TAG, party), (names.MEMBER_TAG, member))
                if value
            },
        )
        for role, party, member in itertools.product(roles, parties, members)
    ]


def asked_as(everything: Synthesized, policies: Policies, action: str, resource: str) -> list[Any]:
    """The simulations of one request, with each claim and with a policy of its own that allows everything."""
    far, hub = everything.federation.party("far"), everything.federation.aggregator
    simulations = []
    for arn, tags in claims():
        policies.identity[arn] = [EVERYTHING]
        policies.tags[arn] = {}
        context: dict[str, str | list[str]] = {**tags}
        if action == "s3:ListBucket":
            resource, context["s3:prefix"] = resource.split("/", 1)
        simulation = policies.simulation(Question(Who("trainer", far, arn), action, resource, hub, False, context))
        simulations.append({**simulation, "vpcEndpointPolicies": None})
        if action == "s3:ListBucket":
            resource = f"{resource}/{context['s3:prefix']}"
    return simulations


def test_account_that_claims_to_be_another_party_reaches_only_its_own_prefix(everything: Synthesized) -> None:
    policies = Policies(everything)
    hub = everything.federation.aggregator
    bucket = names.mail_bucket("every", str(hub.account), hub.region)
    requests = [
        ("far", "s3:PutObject", names.bucket_arn(bucket, RUN.status("far"))),
        ("other", "s3:PutObject", names.bucket_arn(bucket, RUN.status("other"))),
        ("other", "s3:PutObject", names.bucket_arn(bucket, agent_key("other"))),
        ("near", "s3:GetObject", names.bucket_arn(bucket, RUN.status("near"))),
        ("other", "s3:GetObject", names.bucket_arn(bucket, RUN.mail("aggregator", "other", 1, "model", 0).key)),
        ("other", "s3:ListBucket", names.bucket_arn(bucket, RUN.status("other"))),
        ("far", "s3:ListBucket", names.bucket_arn(bucket, RUN.status("far"))),
    ]
    honest = (
        names.role_arn("every-far-trainer", ACCOUNT),
        {
            f"aws:PrincipalTag/{names.PARTY_TAG}": "far",
            f"aws:PrincipalTag/{names.MEMBER_TAG}": f"{ACCOUNT}/far",
        },
    )
    simulations = [s for _, action, resource in requests for s in asked_as(everything, policies, action, resource)]
    results = iter(simulate(simulations))
    for party, action, resource in requests:
        allowed = [claim for claim in claims() if next(results) == "Allowed"]
        assert allowed == ([honest] if party == "far" else []), (action, resource)


@pytest.mark.parametrize(("service", "allowed"), [("s3", True), ("sqs", True), ("ec2", False)])
def test_roles_of_other_accounts_use_the_hubs_key_through_s3_and_sqs_alone(
    everything: Synthesized, service: str, allowed: bool
) -> None:
    """Without the alias in the request's context: AWS gives it to IAM policies only, which allow everything here."""
    policies, hub = Policies(everything), everything.federation.aggregator
    (key,) = [key_arn(hub, s, i) for s, i, _ in everything.resources("AWS::KMS::Key") if s == "every-hub"]
    far = everything.federation.party("far")
    answers = {}
    for arn in (names.role_arn("every-far-trainer", ACCOUNT), names.role_arn("every-far-trainer", "999999999999")):
        policies.identity[arn] = [EVERYTHING]
        context: dict[str, str | list[str]] = {"kms:ViaService": f"{service}.{hub.region}.amazonaws.com"}
        question = Question(Who("trainer", far, arn), "kms:Decrypt", key, hub, allowed, context)
        answers[arn] = simulate([policies.simulation(question)]) == ["Allowed"]
    assert [*answers.values()] == [allowed, False]


def test_condition_that_aws_would_never_meet_is_found() -> None:
    alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/every-hub"}}
    document = {"Statement": [{"Effect": "Allow", "Condition": alias}]}
    assert [*unusable("identity", document)] == []
    assert [*unusable("key", document)] == ["kms:ResourceAliases"]
