"""What is mailed arrives as it was sent, once; what is not a mail is refused by name, and nothing else happens."""

import hashlib
import io
import json
import logging
import pickle
import struct
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fedsilo import aws, names
from fedsilo.errors import MailError, NoticeError
from fedsilo.keys import MAIL_TAG, MailAddress
from fedsilo.messaging.mailbox import DIGEST, PART_BYTES, Mail, Mailbox, Notice, _read, _write
from tests.support.hub import Hub

pytestmark = pytest.mark.usefixtures("early_parts")
AGGREGATOR = names.AGGREGATOR
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


@pytest.fixture
def silo(hub: Hub) -> Mailbox:
    return hub.mailbox("cleveland")


@pytest.fixture
def aggregator(hub: Hub) -> Mailbox:
    return hub.mailbox(AGGREGATOR)


def spooled(mailbox: Mailbox) -> list[Path]:
    return list(mailbox._spool.iterdir())


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal bit for bit, in dtype and shape."""
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and left.contiguous().flatten().view(torch.uint8).equal(right.contiguous().flatten().view(torch.uint8))


def put(mailbox: Mailbox, body: bytes, receiver: str = AGGREGATOR, seq: int = 7, digest: str = "") -> Notice:
    """Any bytes where a mail of the mailbox's party should lie, with a notice that fits them, or has any ``digest``."""
    key = mailbox.keys.mail(mailbox.settings.party, receiver, seq, "update")
    digest = digest or hashlib.sha256(body).hexdigest()
    aws.s3("us-east-1").put_object(Bucket=mailbox.settings.bucket, Key=key, Body=body, Metadata={DIGEST: digest})
    address = MailAddress.parse(key)
    assert address is not None
    return Notice(address, key, len(body), digest)


def put_notice(mailbox: Mailbox, body: str) -> None:
    """Any text in the queue of the mailbox's party."""
    mailbox._sqs.send_message(
        QueueUrl=mailbox._queue(mailbox.settings.party),
        MessageBody=body,
        MessageGroupId="g",
        MessageDeduplicationId=hashlib.sha256(body.encode()).hexdigest(),
    )


# --- what is sent


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
    assert spooled(silo) == spooled(aggregator) == []


def test_a_mail_without_tensors_arrives(silo: Mailbox, aggregator: Mailbox) -> None:
    silo.send(AGGREGATOR, "status", 0, {"client_status": "ONLINE"}, {})
    [notice] = aggregator.receive(0)
    assert aggregator.open(notice) == Mail("cleveland", 0, "status", 0, {"client_status": "ONLINE"}, {})


def test_a_large_mail_travels_in_parts(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
    large = {"weight": torch.arange(PART_BYTES // 4 + 1000, dtype=torch.float32)}
    for mailbox, receiver in ((silo, AGGREGATOR), (aggregator, "cleveland")):
        mailbox.send(receiver, "update", 0, {}, {"model": large})
    [notice] = aggregator.receive(0)
    head = aws.s3("us-east-1").head_object(Bucket=hub.bucket, Key=notice.key)
    assert head["ETag"].strip('"').endswith("-2"), "two parts"
    assert head["Metadata"] == {DIGEST: notice.digest}
    assert same(aggregator.open(notice).groups["model"]["weight"], large["weight"])
    assert spooled(silo) == spooled(aggregator) == []

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
        for key in (*(silo.keys.mail("cleveland", AGGREGATOR, seq, "update") for seq in (0, 1)),)
    ]
    assert tags == [[dict(zip(("Key", "Value"), MAIL_TAG, strict=True))]] * 2, "the lifecycle rule's"
    assert s3.get_object_tagging(Bucket=hub.bucket, Key=silo.keys.model("cleveland"))["TagSet"] == []


def test_a_broadcast_is_one_object_and_a_notice_for_each(hub: Hub, aggregator: Mailbox) -> None:
    model = {"w": torch.rand(4)}
    sent = aggregator.broadcast(["cleveland", "hungary"], "sync", 3, {}, {"model": model})
    listed = aws.s3("us-east-1").list_objects_v2(Bucket=hub.bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == [hub.run.keys.broadcast(3)]
    for party in ("cleveland", "hungary"):
        mailbox = hub.mailbox(party)
        assert mailbox.receive(0) == [sent] == [mailbox.newest_broadcast()]
        assert same(mailbox.open(sent).groups["model"]["w"], model["w"])
    assert aggregator.receive(0) == []


def test_a_party_that_is_started_again_numbers_its_mail_on(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
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
    spool = mailbox._spool
    assert spool.is_dir()
    mailbox.close()
    mailbox.close()
    assert not spool.exists()


# --- what is dropped


def test_a_second_notice_of_a_mail_is_dropped_and_a_reminder_of_a_broadcast_is_not(
    hub: Hub, silo: Mailbox, aggregator: Mailbox
) -> None:
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [notice] = aggregator.receive(0)
    aggregator.open(notice)
    silo._notify(AGGREGATOR, notice)
    silo.send(AGGREGATOR, "update", 1, {}, {})
    again = aggregator.last("cleveland", "update")
    assert again is not None
    silo._notify(AGGREGATOR, again)
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


def test_notices_of_one_batch_all_arrive_and_are_acknowledged(hub: Hub, silo: Mailbox, aggregator: Mailbox) -> None:
    other = hub.mailbox("hungary")
    for round_idx in range(2):
        silo.send(AGGREGATOR, "update", round_idx, {}, {})
        other.send(AGGREGATOR, "update", round_idx, {}, {})
    received = {(notice.address.sender, notice.address.seq) for notice in aggregator.receive(0)}
    assert received == {("cleveland", 0), ("cleveland", 1), ("hungary", 0), ("hungary", 1)}
    queue = aggregator._queue(AGGREGATOR)
    aggregator.close()
    names_ = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = aggregator._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names_)["Attributes"]  # type: ignore[arg-type]
    assert set(left.values()) == {"0"}


def test_mail_of_another_run_or_for_another_party_is_dropped_with_a_word(
    hub: Hub, aggregator: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = hub.mailbox("cleveland", run=f"{hub.run.id}-other")
    foreign.send(AGGREGATOR, "update", 0, {}, {})
    misled = put(hub.mailbox("cleveland"), b"x", receiver="hungary")
    put_notice(aggregator, json.dumps({"key": misled.key, "size": 1, "sha256": misled.digest}))
    with caplog.at_level(logging.WARNING):
        assert aggregator.receive(0) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"dropped mail of run {hub.run.id}-other",
        "dropped mail for hungary",
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_KEY = "runs/run-1/cleveland/outbox/aggregator/000001-update.safetensors"
_NOTICES = st.one_of(
    st.text(),
    _JSON.map(json.dumps),
    st.fixed_dictionaries(
        {},
        optional={
            "key": st.just(_KEY) | _JSON,
            "size": st.integers() | st.sampled_from([float("inf"), float("nan"), "9" * 5000, 1e999]) | _JSON,
            "sha256": st.just("0" * 64) | _JSON,
        },
    ).map(json.dumps),
    st.just("[" * 200_000),
)


@given(body=_NOTICES)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_notice_whatever_it_says_raises(box: Mailbox, body: str) -> None:
    notice = box._read_notice({"Body": body})
    assert notice is None or (notice.key == _KEY and notice.size >= 0)
    box._seen.clear()


@pytest.fixture(scope="module")
def box(endpoint: str) -> Iterator[Mailbox]:
    """An aggregator's mailbox of run-1 for tests that make many examples."""
    hub = Hub(endpoint)
    yield hub.mailbox(AGGREGATOR, run="run-1")
    hub.close()


def test_junk_in_the_queue_does_not_hold_up_mail(silo: Mailbox, aggregator: Mailbox) -> None:
    key = silo.keys.mail("cleveland", AGGREGATOR, 3, "update")
    for body in ("{", "[]", "null", '{"key": 1}', f'{{"key": "{key}", "size": Infinity, "sha256": ""}}', "ü" * 1000):
        put_notice(aggregator, body)
    silo.send(AGGREGATOR, "update", 0, {}, {})
    assert [notice.address.seq for notice in aggregator.receive(0)] == [0]


# --- what is refused


def test_a_changed_mail_is_refused(silo: Mailbox, aggregator: Mailbox) -> None:
    """The object says of itself what it is not: only its sender can have put it there."""
    notice = put(silo, b"changed", digest="1" * 64)
    with pytest.raises(MailError, match=r"000007-update.* by cleveland .*changed on the way"):
        aggregator.open(notice)
    assert spooled(aggregator) == []


@pytest.mark.parametrize("lie", [{"digest": "0" * 64}, {"digest": ""}, {"size": 6}, {"size": PART_BYTES + 1}])
def test_a_notice_that_does_not_fit_the_object_is_nobodys_fault(
    silo: Mailbox, aggregator: Mailbox, lie: dict[str, Any]
) -> None:
    """Any silo may have sent it, to have another one refused; the true notice still counts."""
    silo.send(AGGREGATOR, "update", 0, {}, {})
    [notice] = aggregator.receive(0)
    with pytest.raises(NoticeError, match=r"000000-update.* by cleveland is .* bytes .* its notice says"):
        aggregator.open(replace(notice, **lie))
    aggregator._notify(AGGREGATOR, notice)
    assert [aggregator.open(again).sender for again in aggregator.receive(0)] == ["cleveland"]


def test_an_object_that_can_not_be_read_is_its_senders_fault(silo: Mailbox, aggregator: Mailbox) -> None:
    """Such as one encrypted with a key that the sender keeps. Not the end of the aggregator's run."""
    notice = put(silo, b"x")

    aggregator._s3.meta.events.register("before-send.s3.GetObject", lambda **_: AWSResponse("", 400, {}, _Raw()))
    with pytest.raises(MailError, match=r"000007-update.* by cleveland can't be read: 400"):
        aggregator.open(notice)


class _Raw(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        return iter(())


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_mail_is_refused(silo: Mailbox, aggregator: Mailbox, keep: int) -> None:
    whole = save({"model/w": torch.zeros(64)}, metadata={"fedsilo": '{"kind": "update", "round": 0, "fields": {}}'})
    cut = put(silo, whole[:keep])
    with pytest.raises(MailError, match="by cleveland is not a safetensors file"):
        aggregator.open(cut)
    assert spooled(aggregator) == []


def test_a_mail_larger_than_allowed_is_refused_without_a_download(
    hub: Hub, silo: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator = hub.mailbox(AGGREGATOR, limit=1000)
    notice = put(silo, b"x" * 1001)
    read: list[int] = []
    original = StreamingBody.read
    monkeypatch.setattr(StreamingBody, "read", lambda *given: read.append(1) or original(*given))
    with pytest.raises(MailError, match="is 1,001 bytes; a mail of this run has at most 1,000"):
        aggregator.open(notice)
    assert read == []


def test_a_pickle_is_refused_and_not_loaded(silo: Mailbox, aggregator: Mailbox, tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    with pytest.raises(MailError, match="is not a safetensors file"):
        aggregator.open(put(silo, pickle.dumps(Exploit())))
    torch.save({"model/w": torch.zeros(3), "x": Exploit()}, tmp_path / "model.pt")
    with pytest.raises(MailError, match="is not a safetensors file"):
        aggregator.open(put(silo, (tmp_path / "model.pt").read_bytes()))
    assert not (tmp_path / "executed").exists()


def test_a_notice_of_a_mail_that_is_not_there_is_nobodys_fault(silo: Mailbox, aggregator: Mailbox) -> None:
    notice = put(silo, b"x")
    aws.s3("us-east-1").delete_object(Bucket=silo.settings.bucket, Key=notice.key)
    for size in (1, PART_BYTES + 1):
        with pytest.raises(NoticeError, match=r"000007-update.* by cleveland is not there"):
            aggregator.open(replace(notice, size=size))


def header(**fields: Any) -> str:
    return json.dumps({"kind": "update", "round": 0, "fields": {}} | fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"kind"',
        "{",
        "[" * 200_000,
        '{"kind": "update", "round": 0}',
        '{"kind": "update", "fields": {}}',
        '{"round": 0, "fields": {}}',
        header(round=None),
        header(round="soon"),
        header(round=[0]),
        header(round=float("inf")),
        header(round=float("nan")),
        header(fields=None),
        header(fields="ab"),
        header(fields=[[1]]),
        header(fields=[[[], 1]]),
        header(fields=7),
    ],
    ids=range(19),
)
def test_a_header_that_is_none_is_refused(silo: Mailbox, aggregator: Mailbox, text: str) -> None:
    with pytest.raises(MailError, match="by cleveland has no readable header"):
        aggregator.open(put(silo, save({"model/w": torch.zeros(2)}, metadata={"fedsilo": text})))


def test_a_safetensors_file_of_another_program_is_refused(silo: Mailbox, aggregator: Mailbox) -> None:
    with pytest.raises(MailError, match="no readable header"):
        aggregator.open(put(silo, save({"w": torch.zeros(2)}, metadata={"format": "pt"})))


def test_a_broadcast_that_lies_about_its_round_is_refused(hub: Hub, aggregator: Mailbox, silo: Mailbox) -> None:
    notice = aggregator._put(hub.run.keys.broadcast(3), "sync", 4, {}, {"model": {}})
    with pytest.raises(MailError, match="says that it is of round 4"):
        silo.open(notice)


def test_a_header_can_not_name_another_sender(silo: Mailbox, aggregator: Mailbox) -> None:
    lie = json.dumps({"kind": "update", "round": 0, "fields": {}, "sender": "hungary", "seq": 99})
    mail = aggregator.open(put(silo, save({"model/w": torch.zeros(2)}, metadata={"fedsilo": lie})))
    assert (mail.sender, mail.seq) == ("cleveland", 7)


@pytest.mark.parametrize("name", ["w", "", "/", "//", "model/", "/w", "model//w", "../../x/y"])
def test_odd_names_of_tensors_stay_names(silo: Mailbox, aggregator: Mailbox, name: str) -> None:
    mail = aggregator.open(put(silo, save({name: torch.ones(2)}, metadata={"fedsilo": header()})))
    [(group, tensors)] = mail.groups.items()
    assert [f"{group}/{each}".removesuffix("/" if "/" not in name else "") for each in tensors] == [name]


_LIKELY = [b"\0", b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"9", b"-", b"e", b"/", b"\\", b"F", b"B"]


def _valid() -> tuple[bytes, Notice]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mail"
        groups = {"model": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}, "evaluation": {}}
        size, digest = _write(path, "update", 2, {"num_samples": 50, "client_status": "ONLINE"}, groups)
        address = MailAddress.parse(_KEY)
        assert address is not None
        return path.read_bytes(), Notice(address, _KEY, size, digest)


VALID, NOTICE = _valid()
HEADER_LENGTH = struct.unpack("<Q", VALID[:8])[0] + 8


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "mail"


@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, HEADER_LENGTH - 1) | st.integers(0, len(VALID) - 1),
            st.sampled_from(_LIKELY) | st.binary(min_size=1, max_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    cut=st.just(0) | st.integers(0, 40),
    more=st.just(b"") | st.binary(max_size=20),
)
@settings(max_examples=1500, deadline=None)
def test_a_damaged_mail_is_refused_or_opened_and_nothing_else(
    fuzzed: Path, changes: list[tuple[int, bytes]], cut: int, more: bytes
) -> None:
    """As if the digest fitted the damage: what a silo that means harm may send."""
    body = bytearray(VALID)
    for place, byte in changes:
        body[place : place + 1] = byte
    fuzzed.write_bytes(bytes(body[: len(body) - cut]) + more)
    try:
        mail = _read(fuzzed, NOTICE)
    except MailError as error:
        assert str(error).startswith(f"{_KEY} by cleveland ")  # noqa: PT017
    else:
        assert (mail.sender, mail.seq) == ("cleveland", 1)
        assert isinstance(mail.kind, str)
        assert isinstance(mail.round_idx, int)
        assert isinstance(mail.fields, dict)
    finally:
        fuzzed.unlink()


@given(place=st.integers(0, len(VALID) - 1), byte=st.integers(0, 255))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mail_with_one_byte_changed_on_the_way_is_never_opened(box: Mailbox, place: int, byte: int) -> None:
    body = bytearray(VALID)
    body[place] = byte
    box._s3.put_object(Bucket=box.settings.bucket, Key=_KEY, Body=bytes(body), Metadata={DIGEST: NOTICE.digest})
    if bytes(body) == VALID:
        assert box.open(NOTICE).fields["num_samples"] == 50
    else:
        with pytest.raises(MailError, match="it was changed on the way"):
            box.open(NOTICE)


@given(
    text=st.fixed_dictionaries(
        {},
        optional={
            "kind": st.just("update") | _JSON,
            "round": st.integers() | st.sampled_from([float("inf"), float("nan"), 10**400]) | _JSON,
            "fields": st.dictionaries(st.text(), _JSON, max_size=3) | _JSON,
        },
    ).map(json.dumps)
    | _JSON.map(json.dumps)
    | st.text()
)
@settings(max_examples=500, deadline=None)
def test_whatever_a_header_says_is_refused_or_read(fuzzed: Path, text: str) -> None:
    encoded = text.encode("utf-8", "ignore").decode()
    fuzzed.write_bytes(save({"model/w": torch.zeros(2)}, metadata={"fedsilo": encoded}))
    try:
        mail = _read(fuzzed, NOTICE)
    except MailError:
        return
    assert isinstance(mail.kind, str)
    assert isinstance(mail.round_idx, int)
    assert all(isinstance(name, str) for name in mail.fields)


def test_what_is_sent_is_in_the_sqs_notice_and_nothing_more(silo: Mailbox, aggregator: Mailbox) -> None:
    """A notice says where and what, never a parameter or a count."""
    silo.send(AGGREGATOR, "update", 0, {"num_samples": 185}, {"model": {"w": torch.rand(3)}})
    answer = aggregator._sqs.receive_message(QueueUrl=aggregator._queue(AGGREGATOR))
    assert json.loads(answer["Messages"][0]["Body"]).keys() == {"key", "size", "sha256"}


def test_the_deleted_object_is_really_gone(silo: Mailbox) -> None:
    """The control of the test above that deletes a mail."""
    notice = put(silo, b"x")
    aws.s3("us-east-1").delete_object(Bucket=silo.settings.bucket, Key=notice.key)
    with pytest.raises(ClientError, match="404"):
        aws.s3("us-east-1").head_object(Bucket=silo.settings.bucket, Key=notice.key)
