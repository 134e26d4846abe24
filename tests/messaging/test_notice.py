"""A notice says where a mail is and nothing else; whatever else is in a queue is dropped."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from tests.support import mails
from tests.support.hub import Hub
from tests.support.strategies import JSON
from tests.support.waiting import until

KEY = "runs/run-1/cleveland/outbox/aggregator/000001-update.safetensors"
NOTICES = st.one_of(
    st.text(),
    JSON.map(json.dumps),
    st.fixed_dictionaries(
        {},
        optional={
            "key": st.just(KEY) | JSON,
            "size": st.integers() | st.sampled_from([float("inf"), float("nan"), "9" * 5000, 1e999]) | JSON,
            "sha256": st.just("0" * 64) | JSON,
        },
    ).map(json.dumps),
    st.just("[" * 200_000),
)


@given(body=NOTICES)
@settings(max_examples=400)
def test_any_message_is_a_notice_or_none(body: str) -> None:
    notice = Notice.parse(body)
    assert notice is None or (notice.key == KEY and notice.size >= 0)


def test_a_notice_is_read_as_it_was_written(silo: Mailbox) -> None:
    notice = mails.put(silo, b"x")
    assert Notice.parse(notice.to_json()) == notice


def test_a_notice_holds_where_and_what_the_mail_is_and_nothing_more(silo: Mailbox, aggregator: Mailbox) -> None:
    """Neither a parameter nor a count of samples."""
    silo.send(AGGREGATOR, "update", 0, {"num_samples": 185}, {"model": {"w": torch.rand(3)}})
    sqs, url = mails.data_queue(aggregator)
    answer = sqs.receive_message(QueueUrl=url)
    assert json.loads(answer["Messages"][0]["Body"]).keys() == {"key", "size", "sha256"}


def test_notices_of_one_batch_all_arrive_and_are_acknowledged(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
    other = hub.mailbox("hungary")
    for round_idx in range(2):
        silo.send(AGGREGATOR, "update", round_idx, {}, {})
        other.send(AGGREGATOR, "update", round_idx, {}, {})
    received = {(notice.address.sender, notice.address.seq) for notice in aggregator.receive(0)}
    assert received == {("cleveland", 0), ("cleveland", 1), ("hungary", 0), ("hungary", 1)}
    until(lambda: left_in(aggregator) == {"0"}, "the acknowledgement, before the next call to receive")


def test_a_notice_whose_receipt_has_expired_comes_again_and_is_dropped(
    silo: Mailbox, aggregator: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a pause of the process for longer than the visibility timeout."""
    sqs, url = mails.data_queue(aggregator)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [notice] = aggregator.receive(0)
    aggregator.open(notice)
    said = "a notice was not acknowledged; it will come again and be dropped: ReceiptHandleIsInvalid"
    until(lambda: any(said in message for message in caplog.messages), "the refused acknowledgement")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
    assert aggregator.receive(0) == []
    until(lambda: left_in(aggregator) == {"0"}, "the acknowledgement by the new receipt")


def left_in(mailbox: Mailbox) -> set[str]:
    """How many messages are in the party's queue: those that wait, and those that were received."""
    sqs, url = mails.data_queue(mailbox)
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"].values())  # type: ignore[arg-type]


def test_junk_in_the_queue_does_not_hold_up_mail(silo: Mailbox, aggregator: Mailbox) -> None:
    key = silo.keys.mail("cleveland", AGGREGATOR, 3, "update", 0).key
    for body in ("{", "[]", "null", '{"key": 1}', f'{{"key": "{key}", "size": Infinity, "sha256": ""}}', "ü" * 1000):
        mails.put_notice(aggregator, body)
    silo.send(AGGREGATOR, "update", 0, {}, {})
    assert [notice.address.seq for notice in aggregator.receive(0)] == [0]
