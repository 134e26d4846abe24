"""Mails are stored and read whole or in parts; an object that is not as its notice says is not read."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from fedsilo import aws
from fedsilo.errors import FedsiloError, MailError, NoticeError
from fedsilo.keys import MAIL_TAG
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.store import DIGEST, PART_BYTES
from fedsilo.names import AGGREGATOR
from tests.support import mails
from tests.support.hub import Hub
from tests.support.scripted_aws import ScriptedAws


def test_a_large_mail_travels_in_parts(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
    large = {"weight": torch.arange(PART_BYTES // 4 + 1000, dtype=torch.float32)}
    for mailbox, receiver in ((silo, AGGREGATOR), (aggregator, "cleveland")):
        mailbox.send(receiver, "update", 0, {}, {"model": large})
    [notice] = aggregator.receive(0)
    head = aws.s3("us-east-1").head_object(Bucket=hub.bucket, Key=notice.key)
    assert head["ETag"].strip('"').endswith("-2"), "two parts"
    assert head["Metadata"] == {DIGEST: notice.digest}
    assert aggregator.open(notice).groups["model"]["weight"].equal(large["weight"])
    assert list(silo.spool.iterdir()) == list(aggregator.spool.iterdir()) == []

    silo.send(AGGREGATOR, "update", 1, {}, {"model": {"weight": large["weight"][: PART_BYTES // 8]}})
    [small] = aggregator.receive(0)
    assert "-" not in aws.s3("us-east-1").head_object(Bucket=hub.bucket, Key=small.key)["ETag"]


def test_every_mail_has_the_tag_by_which_it_expires_and_a_model_has_none(hub: Hub, silo: Mailbox) -> None:
    s3 = aws.s3("us-east-1")
    silo.send(AGGREGATOR, "update", 0, {}, {"model": {"w": torch.zeros(3)}})
    silo.send(AGGREGATOR, "update", 0, {}, {"model": {"w": torch.zeros(PART_BYTES // 4)}})
    silo.publish_model({"w": torch.zeros(3)})
    tags = [
        s3.get_object_tagging(Bucket=hub.bucket, Key=key)["TagSet"]
        for key in (silo.keys.mail("cleveland", AGGREGATOR, seq, "update", 0).key for seq in (0, 1))
    ]
    assert tags == [[dict(zip(("Key", "Value"), MAIL_TAG, strict=True))]] * 2, "the tag of the lifecycle rule"
    assert s3.get_object_tagging(Bucket=hub.bucket, Key=silo.keys.model("cleveland"))["TagSet"] == []


def test_a_changed_mail_is_refused(silo: Mailbox, aggregator: Mailbox) -> None:
    """The object is not as its own metadata says. Only its sender can have stored it."""
    notice = mails.put(silo, b"changed", digest="1" * 64)
    with pytest.raises(MailError, match=r"000007-update.* by cleveland .*changed on the way"):
        aggregator.open(notice)
    assert list(aggregator.spool.iterdir()) == []


@pytest.mark.parametrize("lie", [{"digest": "0" * 64}, {"digest": ""}, {"size": 6}, {"size": PART_BYTES + 1}])
def test_a_notice_that_does_not_fit_the_object_is_nobodys_fault(
    silo: Mailbox, aggregator: Mailbox, lie: dict[str, Any]
) -> None:
    """Any silo may have sent it, so that another silo is refused. The true notice still counts."""
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [notice] = aggregator.receive(0)
    with pytest.raises(NoticeError, match=r"000000-update.* by cleveland is .* bytes .* its notice says"):
        aggregator.open(replace(notice, **lie))
    aggregator.remind(AGGREGATOR, notice)
    assert [aggregator.open(again).sender for again in aggregator.receive(0)] == ["cleveland"]


SMALL, LARGE = 1, PART_BYTES
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE])


@SIZES
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestTimeTooSkewed", 403),
        ("SignatureDoesNotMatch", 403),
        ("ExpiredToken", 400),
        ("InvalidToken", 400),
        ("InvalidAccessKeyId", 403),
    ],
)
def test_the_readers_own_clock_and_credentials_are_not_the_senders_fault(
    hub: Hub, silo: Mailbox, scripted: ScriptedAws, monkeypatch: pytest.MonkeyPatch, code: str, status: int, size: int
) -> None:
    """The reader waits, and reads the mail when it can."""
    monkeypatch.setattr(aws, "FIRST_PAUSE_SECONDS", 0.01)
    silo.send(AGGREGATOR, "update", 0, {}, {"model": {"w": torch.zeros(size // 4)}})
    aggregator = hub.mailbox(AGGREGATOR)
    [notice] = aggregator.receive(0)
    scripted.refuse("GetObject", code, status, key=notice.key, times=3)
    assert aggregator.open(notice).sender == "cleveland"
    assert len(scripted.answered) == 3


@SIZES
@pytest.mark.parametrize(
    "code", ["AccessDenied", "KMS.KMSInvalidStateException", "KMS.DisabledException", "InvalidRequest"]
)
def test_an_object_that_only_its_sender_can_have_made_unreadable_is_its_senders_fault(
    hub: Hub, silo: Mailbox, scripted: ScriptedAws, code: str, size: int
) -> None:
    """Such as an object that is encrypted with a key of the sender's. S3 says the same of a key of the hub's."""
    notice = mails.put(silo, b"x" * size)
    scripted.refuse("GetObject", code, key=notice.key)
    aggregator = hub.mailbox(AGGREGATOR)
    with pytest.raises(FedsiloError, match="000007-update") as unknown:
        aggregator.open(notice)
    assert not isinstance(unknown.value, MailError), "there is nothing yet by which the reader can tell"
    aws.s3("us-east-1").put_object(Bucket=hub.bucket, Key=aggregator.keys.status(AGGREGATOR), Body=b"{}")
    with pytest.raises(MailError, match=rf"000007-update.* by cleveland can't be read: {code}"):
        aggregator.open(notice)
    scripted.refuse("GetObject", code, key=aggregator.keys.status(AGGREGATOR))
    with pytest.raises(FedsiloError, match="aggregator-trainer") as own:
        aggregator.open(notice)
    assert not isinstance(own.value, MailError), "the reader can't read its own object, too"


def test_a_denial_that_passes_is_not_the_senders_fault(hub: Hub, silo: Mailbox, scripted: ScriptedAws) -> None:
    aws.s3("us-east-1").put_object(Bucket=hub.bucket, Key=silo.keys.status(AGGREGATOR), Body=b"{}")
    silo.send(AGGREGATOR, "update", 0, {}, {})
    aggregator = hub.mailbox(AGGREGATOR)
    [notice] = aggregator.receive(0)
    scripted.refuse("GetObject", "AccessDenied", key=notice.key, times=1)
    assert aggregator.open(notice).sender == "cleveland"


@SIZES
def test_an_object_in_an_archive_is_its_senders_fault(
    hub: Hub, silo: Mailbox, scripted: ScriptedAws, size: int
) -> None:
    notice = mails.put(silo, b"x" * size)
    scripted.refuse("GetObject", "InvalidObjectState", key=notice.key)
    with pytest.raises(MailError, match=r"000007-update.* by cleveland can't be read: InvalidObjectState"):
        hub.mailbox(AGGREGATOR).open(notice)


@pytest.mark.parametrize("calls", [1, 2])
def test_an_object_that_is_replaced_while_it_is_read_is_not_read(
    hub: Hub, silo: Mailbox, scripted: ScriptedAws, calls: int
) -> None:
    """The large one comes after the check, or after the first part of what was checked."""
    notice = mails.put(silo, b"x" * 2 * PART_BYTES)
    larger = b"y" * 3 * PART_BYTES
    scripted.before("GetObject", lambda: mails.put(silo, larger, digest=notice.digest), key=notice.key, skip=calls)
    aggregator = hub.mailbox(AGGREGATOR)
    with pytest.raises(NoticeError, match=r"000007-update.* by cleveland was replaced while it was read"):
        aggregator.open(notice)
    assert list(aggregator.spool.iterdir()) == []


def test_a_mail_larger_than_allowed_is_refused_without_a_download(
    hub: Hub, silo: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator = hub.mailbox(AGGREGATOR, limit=1000)
    notice = mails.put(silo, b"x" * 1001)
    read: list[int] = []
    original = StreamingBody.read
    monkeypatch.setattr(StreamingBody, "read", lambda *given: read.append(1) or original(*given))
    with pytest.raises(MailError, match="is 1,001 bytes; a mail of this run has at most 1,000"):
        aggregator.open(notice)
    assert read == []


def test_a_notice_of_a_mail_that_does_not_exist_is_nobodys_fault(silo: Mailbox, aggregator: Mailbox) -> None:
    notice = mails.put(silo, b"x")
    aws.s3("us-east-1").delete_object(Bucket=silo.settings.bucket, Key=notice.key)
    for size in (1, PART_BYTES + 1):
        with pytest.raises(NoticeError, match=r"000007-update.* by cleveland does not exist"):
            aggregator.open(replace(notice, size=size))


def test_the_deleted_object_is_really_gone(silo: Mailbox) -> None:
    """The control of the test above, which deletes a mail."""
    notice = mails.put(silo, b"x")
    aws.s3("us-east-1").delete_object(Bucket=silo.settings.bucket, Key=notice.key)
    with pytest.raises(ClientError, match="404"):
        aws.s3("us-east-1").head_object(Bucket=silo.settings.bucket, Key=notice.key)
