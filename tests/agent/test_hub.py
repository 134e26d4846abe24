"""The agent's side of the hub, against the local AWS emulator."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fedsilo import aws, names
from fedsilo.agent.hub import AgentHub
from fedsilo.config.run import RunIdentity
from fedsilo.errors import HubError, SpecError
from fedsilo.keys import RunKeys, agent_key
from fedsilo.ledger.schema import AgentStatus, Status
from fedsilo.states import AgentState, PartyState
from tests.support.hub import Hub

PARTY = "cleveland"


@pytest.fixture
def agent_hub(hub: Hub) -> AgentHub:
    return AgentHub(hub.settings(PARTY))


def send(hub: Hub, queue: str, *texts: str) -> None:
    sqs = aws.sqs("us-east-1")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    for number, text in enumerate(texts):
        sqs.send_message(
            QueueUrl=url, MessageBody=text, MessageGroupId=str(number), MessageDeduplicationId=f"{number}.{len(text)}"
        )


def notice(run: str) -> str:
    return json.dumps({"key": RunKeys(run).broadcast(3).key, "size": 1, "sha256": "0" * 64})


def put(hub: Hub, key: str, body: bytes) -> None:
    aws.s3("us-east-1").put_object(Bucket=hub.bucket, Key=key, Body=body)


def test_a_message_is_received_until_it_is_acknowledged(hub: Hub, agent_hub: AgentHub) -> None:
    send(hub, names.control_queue(hub.federation.name, PARTY), "a request")
    [delivery] = agent_hub.receive()
    assert delivery.text == "a request"
    agent_hub.acknowledge(delivery)


def test_a_message_that_is_acknowledged_too_late_comes_again(hub: Hub, agent_hub: AgentHub) -> None:
    sqs, queue = aws.sqs("us-east-1"), names.control_queue(hub.federation.name, PARTY)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    send(hub, queue, "a request")
    [late] = agent_hub.receive()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
    agent_hub.acknowledge(late)
    [again] = agent_hub.receive()
    assert again.text == late.text
    agent_hub.acknowledge(again)
    assert (
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
            "ApproximateNumberOfMessagesNotVisible"
        ]
        == "0"
    )


def test_a_missing_run_is_an_error_that_says_so(hub: Hub, agent_hub: AgentHub) -> None:
    with pytest.raises(SpecError, match="there is no run heart-9 in this federation"):
        agent_hub.run(RunIdentity("heart-9", "0" * 64))


def test_status_and_heartbeat_are_read_as_they_were_written(hub: Hub, agent_hub: AgentHub) -> None:
    assert agent_hub.status("heart-1") is None
    assert agent_hub.heartbeat() == (AgentStatus(), "")
    now = datetime.now(UTC).replace(microsecond=0)
    agent_hub.put_status("heart-1", Status(run="heart-1", state=PartyState.QUEUED, started=now))
    status = agent_hub.status("heart-1")
    assert status is not None
    assert (status.run, status.state, status.started) == ("heart-1", PartyState.QUEUED, now)
    agent_hub.put_heartbeat(AgentStatus(party=PARTY, state=AgentState.BUSY, run="heart-1", queued=("heart-2",)), "")
    heartbeat, _ = agent_hub.heartbeat()
    assert (heartbeat.run, heartbeat.queued, heartbeat.aborting) == ("heart-1", ("heart-2",), ())


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_what_is_not_a_json_object_counts_as_missing(hub: Hub, agent_hub: AgentHub, body: bytes) -> None:
    put(hub, RunKeys("heart-1").status(PARTY), body)
    put(hub, agent_key(PARTY), body)
    assert agent_hub.status("heart-1") is None
    heartbeat, etag = agent_hub.heartbeat()
    assert (heartbeat.instance, heartbeat.run, heartbeat.queued) == ("", None, ())
    assert agent_hub.put_heartbeat(AgentStatus(party=PARTY), etag)


def test_of_two_agents_only_the_one_that_has_seen_the_last_heartbeat_writes(hub: Hub, agent_hub: AgentHub) -> None:
    first, second = AgentStatus(instance="first"), AgentStatus(instance="second")
    etag = agent_hub.put_heartbeat(first, "")
    assert etag
    assert agent_hub.put_heartbeat(second, "") is None
    assert agent_hub.heartbeat()[0].instance == "first"
    assert agent_hub.put_heartbeat(second, etag)
    assert agent_hub.put_heartbeat(first, etag) is None
    assert agent_hub.heartbeat()[0].instance == "second"


def test_mail_of_finished_runs_is_deleted(hub: Hub, agent_hub: AgentHub) -> None:
    send(hub, names.data_queue(hub.federation.name, PARTY), notice("heart-1"), notice("heart-2"), notice("heart-1"))
    assert agent_hub.drain_mail({"heart-1", "heart-2"}.__contains__)
    assert count(hub) == 0


@pytest.mark.parametrize("other", [notice("heart-3"), "not a notice", "[]", '{"key": 1}'])
def test_other_mail_stays_and_ends_the_drain(hub: Hub, agent_hub: AgentHub, other: str) -> None:
    send(hub, names.data_queue(hub.federation.name, PARTY), notice("heart-1"), other)
    assert not agent_hub.drain_mail({"heart-1"}.__contains__)
    assert count(hub) == 1


def count(hub: Hub) -> int:
    """How many messages the party's data queue holds, those in somebody's hands included."""
    sqs = aws.sqs("us-east-1")
    asked: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = sqs.get_queue_url(QueueName=names.data_queue(hub.federation.name, PARTY))["QueueUrl"]
    return sum(
        int(each) for each in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"].values()
    )


def test_a_hub_that_is_not_deployed_is_an_error(endpoint: str, hub: Hub) -> None:
    settings = hub.settings(PARTY).model_copy(update={"federation": "nowhere"})
    with pytest.raises(HubError, match="nowhere"):
        AgentHub(settings).receive()
