"""What is mailed arrives as it was sent, once."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from fedsilo import aws, names
from fedsilo.errors import DiskError
from fedsilo.messaging import codec
from fedsilo.messaging.codec import Mail
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.store import PART_BYTES
from fedsilo.names import AGGREGATOR
from tests.support import mails
from tests.support.disk import largest_file
from tests.support.hub import Hub
from tests.support.scripted_aws import ScriptedAws
from tests.support.waiting import until

EVERY_TYPE = {
    "float64": torch.rand(3, 4, dtype=torch.float64),
    "float32": torch.rand(7),
    "float16": torch.rand(2, 2).half(),
    "bfloat16": torch.rand(5, 1, 3).bfloat16(),
    "int64": torch.tensor([2**62, -(2**62)]),
    "int32": torch.tensor([[-1], [2**31 - 1]], dtype=torch.int32),
    "int16": torch.tensor([-(2**15)], dtype=torch.int16),
    "int8": torch.tensor([-128, 127], dtype=torch.int8),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "empty": torch.zeros(0, 13),
    "nothing/with/slashes": torch.tensor(1.5),
    "zero dimensions": torch.tensor(7),
    "a column, not contiguous": torch.rand(4, 4)[:, 1],
    "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
}


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether the tensors are equal bit for bit, in dtype and shape."""
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and left.contiguous().flatten().view(torch.uint8).equal(right.contiguous().flatten().view(torch.uint8))


def test_every_type_and_shape_arrives_as_it_was_sent(silo: Mailbox, aggregator: Mailbox) -> None:
    fields = {"num_samples": 185, "client_status": "ONLINE", "text": "ä\u2028\n", "nothing": None, "list": [1, 2.5]}
    sums = {"count": torch.tensor(3), "sum": torch.rand(13, dtype=torch.float64)}
    silo.send(AGGREGATOR, "update", 4, fields, {"model": EVERY_TYPE, "statistics": sums})
    [notice] = aggregator.receive(0)
    mail = aggregator.open(notice)
    assert (mail.sender, mail.seq, mail.kind, mail.round_idx, mail.fields) == ("cleveland", 0, "update", 4, fields)
    assert mail.groups.keys() == {"model", "statistics"}
    assert type(mail.groups["model"]) is OrderedDict, "FedML takes a plain dict for models by client"
    for group, sent in {"model": EVERY_TYPE, "statistics": sums}.items():
        assert mail.groups[group].keys() == sent.keys()
        for name, tensor in sent.items():
            assert same(mail.groups[group][name], tensor), name
    assert list(silo.spool.iterdir()) == list(aggregator.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("operation", "size"),
    [("ListObjectsV2", 1), ("PutObject", 1), ("UploadPart", PART_BYTES), ("SendMessage", 1), ("ReceiveMessage", 1)],
)
def test_credentials_that_are_away_for_a_while_delay_mail_and_lose_none(
    hub: Hub, scripted: ScriptedAws, monkeypatch: pytest.MonkeyPatch, operation: str, size: int
) -> None:
    monkeypatch.setattr(aws, "FIRST_PAUSE_SECONDS", 0.01)
    silo, aggregator = hub.mailbox("cleveland"), hub.mailbox(AGGREGATOR)
    if operation == "ListObjectsV2":
        silo.send(AGGREGATOR, "update", 0, {}, {})
        scripted.refuse(operation, "ExpiredToken", 400, times=3)
        assert aggregator.last("cleveland", "update") is not None
    else:
        code = "UnrecognizedClientException" if "Message" in operation else "ExpiredToken"
        scripted.refuse(operation, code, 400, times=3)
        silo.send(AGGREGATOR, "update", 0, {}, {"model": {"w": torch.zeros(size // 4)}})
        assert [notice.address.seq for notice in aggregator.receive(0)] == [0]
    assert scripted.answered == [operation] * 3


def test_tensors_that_share_memory_arrive_whole(silo: Mailbox, aggregator: Mailbox) -> None:
    weight = torch.rand(4, 4)
    tied = {"a": weight, "b": weight, "row": weight[1], "turned": weight.t(), "none": weight[:0], "no": weight[:0]}
    silo.send(AGGREGATOR, "update", 0, {}, {"model": tied, "evaluation": {"same": weight}})
    silo.publish_model(tied)
    [notice] = aggregator.receive(0)
    mail = aggregator.open(notice)
    published = aws.s3("us-east-1").get_object(Bucket=silo.settings.bucket, Key=silo.keys.model("cleveland"))
    for arrived in (mail.groups["model"], load(published["Body"].read())):
        assert all(same(arrived[name], tensor) for name, tensor in tied.items())
    assert same(mail.groups["evaluation"]["same"], weight)


def test_only_tensors_that_share_memory_are_copied_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies would cost memory with any other model."""
    written: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(codec, "save_file", lambda tensors, path, metadata: written.update(tensors))
    weight, other = torch.rand(4, 4), torch.rand(3)
    codec.save(tmp_path / "model", {"a": weight, "other": other, "b": weight})
    assert written["a"] is weight
    assert written["other"] is other
    assert written["b"].data_ptr() != weight.data_ptr()


def test_a_mail_without_tensors_arrives(silo: Mailbox, aggregator: Mailbox) -> None:
    silo.send(AGGREGATOR, "status", 0, {"client_status": "ONLINE"}, {})
    [notice] = aggregator.receive(0)
    assert aggregator.open(notice) == Mail("cleveland", 0, "status", 0, {"client_status": "ONLINE"}, {})


def test_a_broadcast_is_one_object_and_a_notice_for_each(hub: Hub, aggregator: Mailbox) -> None:
    model = {"w": torch.rand(4)}
    sent = aggregator.broadcast(["cleveland", "hungary"], "sync", 3, {}, {"model": model})
    listed = aws.s3("us-east-1").list_objects_v2(Bucket=hub.bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == [hub.run.keys.broadcast(3).key]
    for party in ("cleveland", "hungary"):
        mailbox = hub.mailbox(party)
        assert mailbox.receive(0) == [sent] == [mailbox.newest_broadcast()]
        assert same(mailbox.open(sent).groups["model"]["w"], model["w"])
    assert aggregator.receive(0) == []


def test_a_party_that_is_started_again_continues_its_numbers(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
    for kind in ("status", "update", "status"):
        silo.send(AGGREGATOR, kind, 0, {"kind": kind}, {})
    silo.close()
    hub.mailbox("cleveland").send(AGGREGATOR, "update", 1, {}, {})
    assert [notice.address.seq for notice in aggregator.receive(0)] == [0, 1, 2, 3]
    last = [aggregator.last("cleveland", kind) for kind in ("status", "update")]
    assert [notice and notice.address.seq for notice in last] == [2, 3]
    assert aggregator.last("hungary", "status") is None
    found = aggregator.open(last[0])  # type: ignore[arg-type]
    assert found.fields == {"kind": "status"}, "found without its notice, and checked by the object's own digest"


def test_a_closed_mailbox_leaves_no_folder(hub: Hub) -> None:
    mailbox = hub.mailbox("hungary")
    spool = mailbox.spool
    assert spool.is_dir()
    mailbox.close()
    mailbox.close()
    assert not spool.exists()


def test_a_second_notice_of_a_mail_is_dropped_and_a_reminder_of_a_broadcast_is_not(
    hub: Hub, silo: Mailbox, aggregator: Mailbox
) -> None:
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [notice] = aggregator.receive(0)
    aggregator.open(notice)
    silo.remind(AGGREGATOR, notice)
    silo.send(AGGREGATOR, "update", 1, {}, {})
    again = aggregator.last("cleveland", "update")
    assert again is not None
    silo.remind(AGGREGATOR, again)
    assert [each.address.seq for each in aggregator.receive(0)] == [1], "twice in one batch"
    sent = aggregator.broadcast(["cleveland"], "sync", 0, {}, {})
    assert silo.receive(0) == [sent]
    silo.open(sent)
    aggregator.remind("cleveland", sent)
    assert silo.receive(0) == [sent]


def test_a_mail_found_in_the_bucket_is_not_delivered_again_by_its_notice(silo: Mailbox, aggregator: Mailbox) -> None:
    silo.send(AGGREGATOR, "update", 0, {}, {})
    found = aggregator.last("cleveland", "update")
    assert found is not None
    aggregator.open(found)
    assert aggregator.receive(0) == []


def test_mail_for_another_party_is_dropped_with_a_line_in_the_log(
    hub: Hub, aggregator: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    misled = mails.put(hub.mailbox("cleveland"), b"x", receiver="hungary")
    mails.put_notice(aggregator, misled.to_json())
    with caplog.at_level(logging.WARNING):
        assert aggregator.receive(0) == []
    assert [record.getMessage() for record in caplog.records] == ["dropped mail for hungary"]


def test_mail_of_another_run_is_left_for_its_trainer(
    hub: Hub, silo: Mailbox, aggregator: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsilo.messaging.notice.HAND_BACK_SECONDS", 0)
    other = hub.mailbox(AGGREGATOR, run=f"{hub.run.id}-other")
    hub.mailbox("cleveland", run=f"{hub.run.id}-other").send(AGGREGATOR, "update", 0, {}, {})
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [own] = aggregator.receive(0)
    assert own.address.run == hub.run.id
    [left] = until(lambda: other.receive(0), "the notice to be handed back")
    assert left.address.run == f"{hub.run.id}-other"


def test_mail_of_another_run_that_no_trainer_takes_does_not_end_up_with_the_undeliverable(
    hub: Hub, aggregator: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fedsilo.messaging.notice.HAND_BACK_SECONDS", 0)
    hub.mailbox("cleveland", run=f"{hub.run.id}-other").send(AGGREGATOR, "update", 0, {}, {})
    dropped = f"dropped mail of run {hub.run.id}-other, which no trainer has taken"
    until(lambda: not aggregator.receive(0) and dropped in caplog.messages, "the notice to be dropped")
    sqs = aws.sqs("us-east-1")
    for queue in (names.data_queue, names.dead_letter_queue):
        url = sqs.get_queue_url(QueueName=queue(hub.federation.name, AGGREGATOR))["QueueUrl"]
        until(lambda url=url: left_in(sqs, url) == {"0"}, "an empty queue")


def left_in(sqs: Any, url: str) -> set[str]:
    """How many messages are in the queue: those that wait, and those that were received."""
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"].values())


def test_a_spool_that_takes_no_more_is_named_with_what_is_needed(silo: Mailbox, aggregator: Mailbox) -> None:
    model = {"w": torch.zeros(10**6)}
    silo.send(AGGREGATOR, "update", 0, {}, {"model": model})
    [notice] = aggregator.receive(0)
    attempts: list[tuple[Mailbox, Callable[[], object]]] = [
        (silo, lambda: silo.send(AGGREGATOR, "update", 1, {}, {"model": model})),
        (silo, lambda: silo.publish_model(model)),
        (aggregator, lambda: aggregator.open(notice)),
    ]
    for mailbox, attempt in attempts:
        with largest_file(10**5), pytest.raises(DiskError) as caught:
            attempt()
        assert f"the disk of {mailbox.spool} takes no file of this size" in str(caught.value)
        assert ": 4.0 MB are needed for " in str(caught.value)
    assert list(silo.spool.iterdir()) == list(aggregator.spool.iterdir()) == []
