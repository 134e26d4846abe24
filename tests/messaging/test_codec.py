"""A mail's file is read or refused by name, whatever it holds, and nothing in it is ever executed."""

import hashlib
import json
import pickle
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fedsilo.errors import MailError
from fedsilo.keys import RunKeys
from fedsilo.messaging import codec
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from tests.support import mails
from tests.support.hub import Hub
from tests.support.strategies import JSON


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_mail_is_refused(silo: Mailbox, aggregator: Mailbox, keep: int) -> None:
    whole = save({"model/w": torch.zeros(64)}, metadata={"fedsilo": '{"kind": "update", "round": 0, "fields": {}}'})
    cut = mails.put(silo, whole[:keep])
    with pytest.raises(MailError, match="by cleveland is not a safetensors file"):
        aggregator.open(cut)
    assert list(aggregator.spool.iterdir()) == []


def test_a_pickle_is_refused_and_not_loaded(silo: Mailbox, aggregator: Mailbox, tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    with pytest.raises(MailError, match="is not a safetensors file"):
        aggregator.open(mails.put(silo, pickle.dumps(Exploit())))
    torch.save({"model/w": torch.zeros(3), "x": Exploit()}, tmp_path / "model.pt")
    with pytest.raises(MailError, match="is not a safetensors file"):
        aggregator.open(mails.put(silo, (tmp_path / "model.pt").read_bytes()))
    assert not (tmp_path / "executed").exists()


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
def test_a_malformed_header_is_refused(silo: Mailbox, aggregator: Mailbox, text: str) -> None:
    with pytest.raises(MailError, match="by cleveland has no readable header"):
        aggregator.open(mails.put(silo, save({"model/w": torch.zeros(2)}, metadata={"fedsilo": text})))


def test_a_safetensors_file_of_another_program_is_refused(silo: Mailbox, aggregator: Mailbox) -> None:
    with pytest.raises(MailError, match="no readable header"):
        aggregator.open(mails.put(silo, save({"w": torch.zeros(2)}, metadata={"format": "pt"})))


def test_a_broadcast_whose_header_says_another_round_is_refused(
    aggregator: Mailbox, silo: Mailbox, tmp_path: Path
) -> None:
    codec.write(tmp_path / "mail", "sync", 4, {}, {"model": {}})
    notice = mails.put_at(aggregator, aggregator.keys.broadcast(3), (tmp_path / "mail").read_bytes())
    with pytest.raises(MailError, match="belongs to round 3, but its header says round 4"):
        silo.open(notice)


@pytest.mark.parametrize("kind", ["status", "finish", "", "x\n"])
def test_a_mail_whose_header_says_another_kind_than_its_key_is_refused(
    silo: Mailbox, aggregator: Mailbox, kind: str
) -> None:
    body = save({"model/w": torch.zeros(2)}, metadata={"fedsilo": header(kind=kind)})
    with pytest.raises(MailError, match=r"000007-update.* by cleveland is of kind update, but its header says kind '"):
        aggregator.open(mails.put(silo, body))


def test_a_mail_whose_header_says_another_round_than_its_key_is_refused(aggregator: Mailbox, silo: Mailbox) -> None:
    body = save({"model/w": torch.zeros(2)}, metadata={"fedsilo": header(round=4)})
    with pytest.raises(MailError, match="belongs to round 3, but its header says round 4"):
        aggregator.open(mails.put(silo, body, round_idx=3))


def test_a_header_can_not_name_another_sender(silo: Mailbox, aggregator: Mailbox) -> None:
    lie = json.dumps({"kind": "update", "round": 0, "fields": {}, "sender": "hungary", "seq": 99})
    mail = aggregator.open(mails.put(silo, save({"model/w": torch.zeros(2)}, metadata={"fedsilo": lie})))
    assert (mail.sender, mail.seq) == ("cleveland", 7)


@pytest.mark.parametrize("name", ["w", "", "/", "//", "model/", "/w", "model//w", "../../x/y"])
def test_odd_names_of_tensors_stay_names(silo: Mailbox, aggregator: Mailbox, name: str) -> None:
    mail = aggregator.open(mails.put(silo, save({name: torch.ones(2)}, metadata={"fedsilo": header()})))
    [(group, tensors)] = mail.groups.items()
    assert [f"{group}/{each}".removesuffix("/" if "/" not in name else "") for each in tensors] == [name]


LIKELY = [b"\0", b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"9", b"-", b"e", b"/", b"\\", b"F", b"B"]


def _valid() -> bytes:
    groups = {"model": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}, "evaluation": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mail"
        codec.write(path, "update", 2, {"num_samples": 50, "client_status": "ONLINE"}, groups)
        return path.read_bytes()


VALID = _valid()
ADDRESS = RunKeys("run-1").mail("cleveland", AGGREGATOR, 1, "update", 2)
NOTICE = Notice(ADDRESS, len(VALID), hashlib.sha256(VALID).hexdigest())
HEADER_LENGTH = struct.unpack("<Q", VALID[:8])[0] + 8


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a file that each example writes."""
    return tmp_path_factory.mktemp("fuzz") / "mail"


@pytest.fixture(scope="module")
def shared(endpoint: str) -> Iterator[Mailbox]:
    """An aggregator's mailbox of run-1 that all examples of a test share."""
    hub = Hub(endpoint)
    yield hub.mailbox(AGGREGATOR, run="run-1")
    hub.close()


@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, HEADER_LENGTH - 1) | st.integers(0, len(VALID) - 1),
            st.sampled_from(LIKELY) | st.binary(min_size=1, max_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    cut=st.just(0) | st.integers(0, 40),
    more=st.just(b"") | st.binary(max_size=20),
)
@settings(max_examples=500)
def test_a_damaged_mail_is_refused_or_opened_and_nothing_else(
    damaged: Path, changes: list[tuple[int, bytes]], cut: int, more: bytes
) -> None:
    """The digest fits the damage, as in a mail of a malicious silo."""
    body = bytearray(VALID)
    for place, byte in changes:
        body[place : place + 1] = byte
    damaged.write_bytes(bytes(body[: len(body) - cut]) + more)
    try:
        mail = codec.read(damaged, NOTICE)
    except MailError as error:
        assert str(error).startswith(f"{NOTICE} ")  # noqa: PT017
    else:
        assert (mail.sender, mail.seq) == ("cleveland", 1)
        assert isinstance(mail.kind, str)
        assert isinstance(mail.round_idx, int)
        assert isinstance(mail.fields, dict)
    finally:
        damaged.unlink()


@given(place=st.integers(0, len(VALID) - 1), byte=st.integers(0, 255))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mail_with_one_byte_changed_on_the_way_is_never_opened(shared: Mailbox, place: int, byte: int) -> None:
    body = bytearray(VALID)
    body[place] = byte
    mails.put_at(shared, ADDRESS, bytes(body), NOTICE.digest)
    if bytes(body) == VALID:
        assert shared.open(NOTICE).fields["num_samples"] == 50
    else:
        with pytest.raises(MailError, match="it was changed on the way"):
            shared.open(NOTICE)


@given(
    text=st.fixed_dictionaries(
        {},
        optional={
            "kind": st.just("update") | JSON,
            "round": st.integers() | st.sampled_from([float("inf"), float("nan"), 10**400]) | JSON,
            "fields": st.dictionaries(st.text(), JSON, max_size=3) | JSON,
        },
    ).map(json.dumps)
    | JSON.map(json.dumps)
    | st.text()
)
@settings(max_examples=500)
def test_whatever_a_header_says_is_refused_or_read(damaged: Path, text: str) -> None:
    encoded = text.encode("utf-8", "ignore").decode()
    damaged.write_bytes(save({"model/w": torch.zeros(2)}, metadata={"fedsilo": encoded}))
    try:
        mail = codec.read(damaged, NOTICE)
    except MailError:
        return
    assert isinstance(mail.kind, str)
    assert isinstance(mail.round_idx, int)
    assert all(isinstance(name, str) for name in mail.fields)
