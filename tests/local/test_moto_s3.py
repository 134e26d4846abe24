"""What the emulator keeps of objects: their content on the disk, and not all mail."""

from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from moto.s3.models import S3Backend

from fedsilo.keys import RunKeys
from fedsilo.local import moto_s3
from fedsilo.local.moto_s3 import OldMail, StoredContent


class KeysOnly:
    """As much of moto's backend of S3 as removes objects."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.tagger = SimpleNamespace(delete_all_tags_for_resource=lambda arn: None)

    def get_bucket(self, name: str) -> Any:
        return SimpleNamespace(keys=self)

    def getlist(self, key: str, default: list[Any]) -> list[Any]:
        return []

    def pop(self, key: str) -> None:
        del self.keys[key]


class Mails:
    """A backend, the mails in it, and what removes old ones; a mail has 10 bytes."""

    def __init__(self) -> None:
        self.backend, self.old = KeysOnly(), OldMail()

    def put(self, key: str) -> None:
        self.backend.keys[key] = ""
        self.old.add(self.backend, "bucket", key, 10)

    def rounds(self, run: str, count: int) -> None:
        """Put the mail of some rounds of a run with one silo."""
        keys = RunKeys(run)
        self.put(keys.mail("cleveland", "aggregator", 0, "status", 0).key)
        for round_idx in range(count):
            self.put(keys.broadcast(round_idx).key)
            self.put(keys.mail("cleveland", "aggregator", 1 + round_idx, "update", round_idx).key)

    def left(self, run: str) -> list[str]:
        return [key.removeprefix(RunKeys(run).prefix) for key in self.backend.keys if RunKeys(run).prefix in key]


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Mails:
    monkeypatch.setattr(moto_s3, "MAIL_BYTES", 100)
    monkeypatch.setattr(moto_s3, "FREED", 0.0)
    return Mails()


def test_below_the_limit_all_mail_is_kept(mails: Mails) -> None:
    mails.rounds("heart-1", 4)
    assert len(mails.left("heart-1")) == 9


def test_the_oldest_mail_goes_first_and_what_a_party_continues_from_stays(mails: Mails) -> None:
    mails.rounds("heart-1", 20)
    broadcasts = [f"aggregator/outbox/all/{k:06}.safetensors" for k in range(16, 20)]
    updates = [f"cleveland/outbox/aggregator/{k + 1:06}-update-{k:06}.safetensors" for k in range(15, 20)]
    status = "cleveland/outbox/aggregator/000000-status-000000.safetensors"
    assert sorted(mails.left("heart-1")) == [*broadcasts, status, *updates]


def test_mail_that_is_larger_than_the_limit_is_kept_while_it_is_needed(
    mails: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto_s3, "MAIL_BYTES", 10)
    mails.rounds("heart-1", 20)
    assert mails.left("heart-1") == [
        "cleveland/outbox/aggregator/000000-status-000000.safetensors",
        "aggregator/outbox/all/000018.safetensors",
        "cleveland/outbox/aggregator/000019-update-000018.safetensors",
        "aggregator/outbox/all/000019.safetensors",
        "cleveland/outbox/aggregator/000020-update-000019.safetensors",
    ]


def test_a_day_of_runs_leaves_the_mail_of_the_last_two(mails: Mails) -> None:
    mails.put("agents/cleveland.json")
    for run in range(100):
        mails.rounds(f"heart-{run:03}", 3)
        assert len(mails.backend.keys) <= 1 + 10
    assert mails.left("heart-097") == []
    assert len(mails.left("heart-099")) == 5
    assert "agents/cleveland.json" in mails.backend.keys, "what is no mail stays"


def test_many_small_mails_are_removed_too(mails: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto_s3, "MAIL_BYTES", 10**9)
    monkeypatch.setattr(moto_s3, "MAIL_COUNT", 12)
    mails.rounds("heart-1", 50)
    assert len(mails.left("heart-1")) == 12


def test_content_is_in_a_file_until_nobody_refers_to_it(tmp_path: Path) -> None:
    content = StoredContent(tmp_path, [b"0123", b"456789"])
    assert (len(content), b"".join(content), content[3:5], content[8:99]) == (10, b"0123456789", b"34", b"89")
    reader = iter(content)
    del content
    assert next(reader) == b"0123456789", "a reader is not disturbed"
    del reader
    assert list(tmp_path.iterdir()) == []


class Backend(S3Backend):
    """A backend of moto's."""


moto_s3.remove_old_objects(Backend)


def test_moto_keeps_the_newest_mails_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto_s3, "MAIL_COUNT", 4)
    monkeypatch.setattr(moto_s3, "FREED", 0.0)
    backend, keys = Backend("us-east-1", "123456789012"), RunKeys("heart-1")
    backend.create_bucket("bucket", "us-east-1")
    backend.put_bucket_versioning("bucket", "Enabled")
    for number in range(moto_s3.KEPT_VERSIONS + 3):
        backend.put_object("bucket", keys.broadcast(number).key, b"mail")
        backend.put_object("bucket", "status", str(number).encode())
    versions = backend.get_bucket("bucket").keys.getlist("status")
    assert [int(version.value) for version in versions] == list(range(3, moto_s3.KEPT_VERSIONS + 3))
    left = {key for key in backend.get_bucket("bucket").keys if key != "status"}
    assert left == {
        keys.broadcast(number).key for number in range(moto_s3.KEPT_VERSIONS - 1, moto_s3.KEPT_VERSIONS + 3)
    }


class Response:
    """moto's way of a conditional write: it looks at the key, and writes it afterwards."""

    headers: ClassVar = {"If-None-Match": "*"}
    written: ClassVar[list[str]] = []
    other: Thread | None = None

    def put_object(self) -> bool:
        free = not self.written
        if other := Response.other:
            Response.other = None
            other.start()
            other.join(0.2)
        if free:
            self.written.append("lease")
        return free


moto_s3.lock_conditional_writes(Response)


def test_of_two_conditional_writes_at_once_one_wins() -> None:
    won: list[bool] = []
    other = Response.other = Thread(target=lambda: won.append(Response().put_object()))
    won.append(Response().put_object())
    other.join()
    assert sorted(won) == [False, True]
