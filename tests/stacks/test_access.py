"""The access matrix: what each role may do to each party's resources, by IAM's own logic over all policies together.

Each role of each party, and an operator, asks for each action on each party's resources. This module says in plain
Python what has to be allowed, independently of the stacks; everything else has to be denied. The identity, bucket,
queue, key and VPC endpoint policies are evaluated. Policies of organisations and AWS's managed policies are not.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from fedsilo import names
from fedsilo.config.federation import Party, Silo
from fedsilo.keys import INDEX, RunKeys, agent_key, waiting_agent_key
from tests.support.access import Policies, Question, Who, key_arn, simulate
from tests.support.cloudformation import ACCOUNT
from tests.support.synthesis import Synthesized

RUN = RunKeys("run-1")
LISTED = f"{INDEX}8202000000000/run-1/heart_disease/4/50"
OBJECT_ACTIONS = (
    "GetObject", "GetObjectVersion", "PutObject", "PutObjectTagging", "AbortMultipartUpload", "DeleteObject",
    "DeleteObjectVersion", "PutObjectAcl",
)  # fmt: skip
CREATES = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}
OVERWRITES = {"s3:ObjectCreationOperation": "true"}
PART = {"s3:ObjectCreationOperation": "false"}
READ_BY_OPERATORS = ("run.json", "status.json", "metrics.jsonl", "log.txt", "model.safetensors")
WRITES = ("PutObject", "PutObjectTagging", "AbortMultipartUpload")
QUEUE_ACTIONS = (
    "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueUrl", "GetQueueAttributes",
    "PurgeQueue", "SetQueueAttributes", "DeleteQueue",
)  # fmt: skip
MAX_RECEIVE_COUNT = QUEUE_ACTIONS[1:6]
EXPERIMENT_ACTIONS = ("CreateExperiment", "DescribeExperiment", "AddTags", "DeleteExperiment")
COMPONENT_ACTIONS = ("CreateTrialComponent", "UpdateTrialComponent", "BatchPutMetrics", "DeleteTrialComponent")


def roles(synthesized: Synthesized) -> Iterator[Who]:
    fed = synthesized.federation
    for party in fed.parties:
        for noun, name in (("trainer", names.trainer_role), ("agent", names.agent_role)):
            yield Who(noun, party, names.role_arn(name(fed.name, party.name), party.account or ACCOUNT))
    aggregator = fed.aggregator
    yield Who("operator", aggregator, names.role_arn("an-operator", aggregator.account or ACCOUNT))


def may_touch_object(who: Who, action: str, key: str) -> bool:
    """Whether the design allows it: a party writes below its own prefix and reads what is addressed to it."""
    if action == "GetObjectVersion":
        return key == RUN.run_json and who.role != "operator"
    read, write = action == "GetObject", action in WRITES
    if key.startswith("agents/"):
        itself = who.role == "agent" and key in (agent_key(who.party.name), waiting_agent_key(who.party.name))
        return (read and (itself or who.role == "operator")) or (action == "PutObject" and itself)
    if key.startswith(INDEX):
        return who.role == "operator" and action == "PutObject"
    _, _, *rest = key.split("/")
    own = rest[0] == who.party.name
    if who.role == "operator":
        return (read and rest[-1] in READ_BY_OPERATORS) or (action == "PutObject" and rest == ["run.json"])
    if rest == ["run.json"]:
        return read
    if who.role == "agent":
        reported = rest[1:] in (["status.json"], ["log.txt"])
        return own and ((read and rest[1:] == ["status.json"]) or (action == "PutObject" and reported))
    if read and rest[1:] == ["status.json"] and who.party.name == names.AGGREGATOR:
        return True
    if own:
        return read or (write and who.party.name not in rest[1:])
    addressed = rest[1:2] == ["outbox"] and rest[2] == who.party.name
    broadcast = rest[:3] == [names.AGGREGATOR, "outbox", names.EVERYONE] and isinstance(who.party, Silo)
    return read and (addressed or broadcast or who.party.name in rest[1:-1])


def may_list(who: Who, key: str) -> bool:
    """Whether the design allows listing the key.

    The operator and the aggregator's trainer may list everything, and a party its own status. Agents may also list
    run.json and the other agents.
    """
    if who.role == "operator" or (who.role == "trainer" and who.party.name == names.AGGREGATOR):
        return True
    if key == RUN.run_json or key.startswith("agents/"):
        return who.role == "agent"
    return key == RUN.status(who.party.name)


def about_objects(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    fed = synthesized.federation
    hub = fed.aggregator
    bucket = names.mail_bucket(fed.name, hub.account or ACCOUNT, hub.region)
    keys = {RUN.run_json, RUN.broadcast(3).key, LISTED}
    for party in fed.parties:
        name = party.name
        keys |= {RUN.status(name), RUN.log(name), RUN.metrics(name), RUN.model(name)}
        keys |= {agent_key(name), waiting_agent_key(name)}
        keys |= {
            RUN.mail(names.AGGREGATOR, name, 1, "model", 0).key,
            RUN.mail(name, names.AGGREGATOR, 2, "update", 0).key,
        }
        for other in fed.parties:
            # Keys that a pattern might match by mistake, because a star also matches slashes.
            keys |= {RUN.mail(name, other.name, 3, "update", 0).key, f"{RUN.party(name)}{other.name}/model.safetensors"}
    for key in sorted(keys):
        for action in OBJECT_ACTIONS:
            expected = may_touch_object(who, action, key)
            context = CREATES if action == "PutObject" else {}
            yield Question(who, f"s3:{action}", names.bucket_arn(bucket, key), hub, expected, {**context})
    for context in (OVERWRITES, PART):  # the parts of a multipart upload do no harm before its completion
        expected = who.role == "operator" and context is PART
        yield Question(who, "s3:PutObject", names.bucket_arn(bucket, RUN.run_json), hub, expected, {**context})
    for party in fed.parties:
        for prefix in (RUN.party(party.name), RUN.outbox(names.AGGREGATOR, names.EVERYONE), RUN.prefix):
            everything = who.role == "operator" or (who.role == "trainer" and who.party is hub)
            some = who.role == "trainer" and (
                prefix == RUN.party(who.party.name) or prefix == RUN.outbox(names.AGGREGATOR, names.EVERYONE)
            )
            yield Question(
                who, "s3:ListBucket", names.bucket_arn(bucket), hub, everything or some, {"s3:prefix": prefix}
            )
        for key in (RUN.run_json, RUN.status(party.name), agent_key(party.name), LISTED):
            expected = may_list(who, key)
            yield Question(who, "s3:ListBucket", names.bucket_arn(bucket), hub, expected, {"s3:prefix": key})
    yield Question(who, "s3:DeleteBucket", names.bucket_arn(bucket), hub, False)


STORED_AS_THE_BUCKET_SAYS: tuple[tuple[dict[str, str], bool], ...] = (
    ({}, True),
    ({"s3:x-amz-storage-class": "STANDARD"}, True),
    ({"s3:x-amz-storage-class": "GLACIER"}, False),
    ({"s3:x-amz-server-side-encryption": "aws:kms"}, False),
    ({"s3:x-amz-server-side-encryption": "AES256"}, False),
    ({"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
)
"""The headers of an upload that decide how the object is stored, and whether the upload is allowed."""


def about_storage(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    """Nobody stores an object so that the others can't read it; an upload without such headers is allowed."""
    fed = synthesized.federation
    hub = fed.aggregator
    bucket = names.mail_bucket(fed.name, hub.account or ACCOUNT, hub.region)
    key = RUN.run_json if who.role == "operator" else RUN.status(who.party.name)
    for headers, allowed in STORED_AS_THE_BUCKET_SAYS:
        yield Question(who, "s3:PutObject", names.bucket_arn(bucket, key), hub, allowed, {**headers})


def about_queues(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    fed = synthesized.federation
    hub = fed.aggregator
    queues = [
        (kind, party, name(fed.name, party.name))
        for party in fed.parties
        for kind, name in (
            ("data", names.data_queue), ("control", names.control_queue), ("dead", names.dead_letter_queue),
        )
    ]  # fmt: skip
    for kind, party, queue in queues:
        own = party is who.party
        for action in QUEUE_ACTIONS:
            find = action in ("GetQueueUrl", "GetQueueAttributes")
            match who.role:
                case "operator":
                    expected = find or (kind == "control" and action == "SendMessage")
                case "agent":
                    expected = own and kind != "dead" and action in MAX_RECEIVE_COUNT
                case _:
                    to_other_side = isinstance(party, Silo) != isinstance(who.party, Silo)
                    to_all = isinstance(who.party, Silo) or not own
                    send = kind == "data" and action in ("SendMessage", "GetQueueUrl") and (to_other_side or not to_all)
                    expected = send or (own and kind == "data" and action in MAX_RECEIVE_COUNT)
            arn = names.queue_arn(queue, hub.account or ACCOUNT, hub.region)
            yield Question(who, f"sqs:{action}", arn, hub, expected)
    # The queues of a federation in the same account whose name begins with this one's.
    for queue in (names.data_queue(f"{fed.name}-2", "near"), names.control_queue(f"{fed.name}-2", "near")):
        tags: dict[str, str | list[str]] = {f"aws:ResourceTag/{names.FEDERATION_TAG}": f"{fed.name}-2"}
        yield Question(
            who, "sqs:SendMessage", names.queue_arn(queue, hub.account or ACCOUNT, hub.region), hub, False, tags
        )


def about_experiments(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    for party in synthesized.federation.parties:
        experiment = names.experiment(synthesized.federation.name, party.rank)
        own = party is who.party and who.role == "trainer"
        here = f"arn:aws:sagemaker:{party.region}:{party.account or ACCOUNT}"
        for action in EXPERIMENT_ACTIONS:
            expected = own and not action.startswith("Delete")
            yield Question(who, f"sagemaker:{action}", f"{here}:experiment/{experiment}", party, expected)
        for action in COMPONENT_ACTIONS:
            component = f"{here}:experiment-trial-component/{experiment}-{RUN.run}"
            yield Question(who, f"sagemaker:{action}", component, party, own and not action.startswith("Delete"))


def about_data_and_keys(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    fed = synthesized.federation
    for party in fed.parties:
        if party.data != "s3":
            continue
        bucket = names.data_bucket(fed.name, party.name, party.account or ACCOUNT, party.region)
        own = party is who.party and who.role == "trainer"
        for action in OBJECT_ACTIONS:
            expected = own and action == "GetObject"
            yield Question(who, f"s3:{action}", names.bucket_arn(bucket, "patients.csv"), party, expected)
        yield Question(who, "s3:ListBucket", names.bucket_arn(bucket), party, own)
        (key,) = [
            key_arn(party, stack, logical_id)
            for stack, logical_id, _ in synthesized.resources("AWS::KMS::Key")
            if stack == names.stack(fed.name, party.name, "data")
        ]
        yield Question(who, "kms:Decrypt", key, party, own)
    hub = fed.aggregator
    (key,) = [
        key_arn(hub, stack, logical_id)
        for stack, logical_id, _ in synthesized.resources("AWS::KMS::Key")
        if stack == names.stack(fed.name, names.HUB)
    ]
    alias = {"kms:ResourceAliases": [names.hub_key_alias(fed.name)]}
    for action, via, expected in (
        ("kms:Decrypt", "s3", True), ("kms:GenerateDataKey", "sqs", True), ("kms:Decrypt", "ec2", False),
        ("kms:CreateGrant", "s3", False), ("kms:ScheduleKeyDeletion", "s3", False),
    ):  # fmt: skip
        context: dict[str, str | list[str]] = {**alias, "kms:ViaService": f"{via}.{hub.region}.amazonaws.com"}
        yield Question(who, action, key, hub, expected, context)


def about_stores(synthesized: Synthesized, who: Who) -> Iterator[Question]:
    fed = synthesized.federation
    for silo in fed.silos:
        bucket = names.store_bucket(fed.name, silo.name, silo.account or ACCOUNT)
        own = silo is who.party and who.role == "trainer"
        for action in OBJECT_ACTIONS:
            expected = own and action in ("GetObject", "PutObject", "DeleteObject")
            yield Question(who, f"s3:{action}", names.bucket_arn(bucket, "runs/run-1/checkpoint"), silo, expected)
        yield Question(who, "s3:ListBucket", names.bucket_arn(bucket), silo, own)
        (key,) = [
            key_arn(silo, stack, logical_id)
            for stack, logical_id, _ in synthesized.resources("AWS::KMS::Key")
            if stack == names.stack(fed.name, silo.name, "store")
        ]
        for action in ("Decrypt", "GenerateDataKey", "ScheduleKeyDeletion"):
            yield Question(who, f"kms:{action}", key, silo, own and action != "ScheduleKeyDeletion")


@pytest.mark.parametrize("synthesized", [pytest.param("example", marks=pytest.mark.e2e), "everything"], indirect=True)
@pytest.mark.parametrize(
    "about", [about_objects, about_storage, about_queues, about_experiments, about_data_and_keys, about_stores]
)
def test_role_is_allowed_what_it_needs_and_nothing_else(synthesized: Synthesized, about: Any) -> None:
    policies = Policies(synthesized)
    questions = [question for who in roles(synthesized) for question in about(synthesized, who)]
    results = simulate([policies.simulation(question) for question in questions])
    wrong = [
        f"{question}: {result}, should be {'Allowed' if question.expected else 'denied'}"
        for question, result in zip(questions, results, strict=True)
        if (result == "Allowed") != question.expected or result.startswith("error")
    ]
    assert not wrong, f"{len(wrong)} of {len(questions)}:\n" + "\n".join(wrong[:40])
    assert sum(question.expected for question in questions) >= 18


def test_not_even_an_administrator_of_the_hub_exchanges_a_run_json(synthesized: Synthesized) -> None:
    policies, hub = Policies(synthesized), synthesized.federation.aggregator
    bucket = names.mail_bucket(synthesized.federation.name, hub.account or ACCOUNT, hub.region)
    admin = Who("operator", hub, names.role_arn("an-administrator", hub.account or ACCOUNT))
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policies.identity[admin.arn] = [everything]
    asked: tuple[tuple[str, dict[str, str], str, bool], ...] = (
        ("s3:PutObject", CREATES, RUN.run_json, True),
        ("s3:PutObject", OVERWRITES, RUN.run_json, False),
        ("s3:PutObject", OVERWRITES, LISTED, True),
        ("s3:DeleteObject", {}, RUN.run_json, False),
        ("s3:DeleteObjectVersion", {}, RUN.run_json, False),
        ("s3:DeleteObjectVersion", {}, LISTED, True),
    )
    questions = [
        Question(admin, action, names.bucket_arn(bucket, key), hub, expected, {**context})
        for action, context, key, expected in asked
    ]
    results = simulate([policies.simulation(question) for question in questions])
    assert [result == "Allowed" for result in results] == [question.expected for question in questions]


def store_of(federation: str, party: Party) -> str:
    """The ARN of an object in the party's own store; the aggregator has none."""
    return names.bucket_arn(names.store_bucket(federation, party.name, party.account or ACCOUNT), "x")


def test_endpoints_stop_all_traffic_to_others_even_for_an_admin_role(synthesized: Synthesized) -> None:
    """A pod with all permissions, or with others' credentials, still reaches only the federation's resources."""
    fed = synthesized.federation
    policies = Policies(synthesized)
    elsewhere = "999999999999"
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    open_to_all = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
    }
    hub = fed.aggregator
    bucket = names.mail_bucket(fed.name, hub.account or ACCOUNT, hub.region)
    simulations, expected = [], []
    for party in (party for party in fed.parties if party.egress == "endpoints"):
        own, other = party.account or ACCOUNT, next(p for p in fed.parties if p is not party)
        sagemaker = f"arn:aws:sagemaker:{party.region}:{own}:experiment"
        queue = names.data_queue(fed.name, party.name)
        for account, action, resource, passes in (
            (own, "s3:PutObject", names.bucket_arn(bucket, RUN.model(party.name)), True),
            (own, "s3:PutObject", "arn:aws:s3:::somebody-elses/x", False),
            (own, "s3:PutObject", store_of(fed.name, party), isinstance(party, Silo)),
            (own, "s3:PutObject", store_of(fed.name, other), False),
            (elsewhere, "s3:PutObject", names.bucket_arn(bucket, RUN.model(party.name)), False),
            (own, "s3:GetObject", f"arn:aws:s3:::prod-{party.region}-starport-layer-bucket/layer", True),
            (own, "s3:PutObject", f"arn:aws:s3:::prod-{party.region}-starport-layer-bucket/layer", False),
            (own, "sqs:SendMessage", names.queue_arn(queue, hub.account or ACCOUNT, hub.region), True),
            (own, "sqs:SendMessage", names.queue_arn("mine", elsewhere, party.region), False),
            (elsewhere, "sqs:SendMessage", names.queue_arn("mine", elsewhere, party.region), False),
            (own, "sagemaker:CreateExperiment", f"{sagemaker}/{names.experiment(fed.name, party.rank)}", True),
            (own, "sagemaker:CreateExperiment", f"{sagemaker}/{names.experiment(fed.name, other.rank)}", False),
        ):
            who = Who("trainer", party, names.role_arn("anything", account))
            policies.identity[who.arn] = [everything]
            simulation = policies.simulation(Question(who, action, resource, hub, passes))
            simulations.append({**simulation, "resourcePolicy": open_to_all})
            expected.append((party.name, account, action, resource, passes))
    results = simulate(simulations)
    wrong = [
        (asked, result) for asked, result in zip(expected, results, strict=True) if (result == "Allowed") != asked[-1]
    ]
    assert not wrong
    assert len(expected) >= 30
