"""A silo's own store: the folder and the bucket do the same, and conditional writes lose nobody's work."""

import itertools
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fedsilo import aws, names, silo_store
from fedsilo.config.environment import Settings
from fedsilo.errors import HubError, StoreError
from fedsilo.silo_store import BucketStore, FolderStore, SiloStore

_count = itertools.count()


def settings(store: str) -> Settings:
    return Settings(federation="heart", party="near", rank=1, hub_account="1" * 12, hub_region="us-east-1", store=store)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, endpoint: str) -> SiloStore:
    if request.param == "folder":
        made = silo_store.of(settings(str(tmp_path / "store")))
    else:
        bucket = names.store_bucket("heart", f"near{next(_count)}", "1" * 12)
        aws.s3("us-east-1").create_bucket(Bucket=bucket)
        made = silo_store.of(settings(f"s3://{bucket}/"))
    assert made is not None
    return made


def version(store: SiloStore, key: str) -> str:
    kept = store.get(key)
    assert kept is not None
    return kept.version


def test_what_was_written_is_read_until_it_is_deleted(store: SiloStore) -> None:
    assert store.get("runs/heart-1/checkpoint") is None
    assert store.keys("") == []
    store.put("runs/heart-1/checkpoint", b"first")
    store.put("runs/heart-1/checkpoint", b"")
    store.put("privacy/ledger.json", b"\x00\xff" * 2**20)
    kept = store.get("runs/heart-1/checkpoint")
    assert kept is not None
    assert kept.body == b""
    kept = store.get("privacy/ledger.json")
    assert kept is not None
    assert kept.body == b"\x00\xff" * 2**20
    assert store.keys("") == ["privacy/ledger.json", "runs/heart-1/checkpoint"]
    assert store.keys("runs/heart") == ["runs/heart-1/checkpoint"]
    store.delete("runs/heart-1/checkpoint")
    store.delete("runs/heart-1/checkpoint")
    assert store.keys("") == ["privacy/ledger.json"]


def test_an_object_is_created_once(store: SiloStore) -> None:
    assert store.create("lease", b"mine")
    assert not store.create("lease", b"yours")
    assert store.create("lease", b"mine"), "a call whose answer was lost may be repeated"
    kept = store.get("lease")
    assert kept is not None
    assert kept.body == b"mine"


def test_only_what_was_read_is_replaced(store: SiloStore) -> None:
    assert not store.replace("ledger", b"1", "0"), "there is nothing to replace"
    store.put("ledger", b"1")
    read = version(store, "ledger")
    assert store.replace("ledger", b"2", read)
    assert not store.replace("ledger", b"3", read), "somebody has written in between"
    assert store.replace("ledger", b"2", read), "a call whose answer was lost may be repeated"
    assert store.replace("ledger", b"3", version(store, "ledger"))
    store.delete("ledger")
    assert not store.replace("ledger", b"4", read)


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "..", "a/../b", ".lock", "a/.b", "A", "a b", "ü"])
def test_a_key_stays_below_the_store(store: SiloStore, key: str) -> None:
    with pytest.raises(ValueError, match="can't be a key"):
        store.put(key, b"")


def test_what_ended_runs_have_left_is_removed(store: SiloStore) -> None:
    for key in ("privacy/ledger.json", "runs/heart-1/checkpoint", "runs/heart-10/checkpoint"):
        store.put(key, b"x")
    silo_store.remove_other_runs(store, "heart-1")
    assert store.keys("") == ["privacy/ledger.json", "runs/heart-1/checkpoint"]


def test_writers_of_one_folder_lose_no_step(tmp_path: Path) -> None:
    def count(writer: str) -> None:
        own = FolderStore(tmp_path)
        for _ in range(20):
            written = False
            while not written:
                kept = own.get("count")
                counted = 1 + int(kept.body.split()[0] if kept else 0)
                body = f"{counted} {writer}".encode()
                written = own.replace("count", body, kept.version) if kept else own.create("count", body)

    writers = [threading.Thread(target=count, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    kept = FolderStore(tmp_path).get("count")
    assert kept is not None
    assert kept.body.split()[0] == b"80"


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o755)
    FolderStore(tmp_path / "store")
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_an_unusable_store_is_named(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"own store in {tmp_path}/file can't be used"):
        FolderStore(tmp_path / "file")
    missing = BucketStore("heart-far-store", "us-east-1", "heart-far-trainer", "stack heart-far-store is deployed")
    with pytest.raises(HubError, match="check that stack heart-far-store is deployed"):
        missing.put("key", b"")


def test_a_write_whose_answer_was_lost_counts(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats the call, and S3 refuses the second one because the first has written the object."""
    aws.s3("us-east-1").create_bucket(Bucket="heart-lossy-store")
    store = BucketStore("heart-lossy-store", "us-east-1", "heart-lossy-trainer", "")
    put = store._s3.put_object

    def put_twice(**request: Any) -> Any:
        put(**request)
        return put(**request)

    monkeypatch.setattr(store._s3, "put_object", put_twice)
    assert store.create("ledger", b"1")
    assert store.replace("ledger", b"2", version(store, "ledger"))


def test_other_errors_of_s3_are_errors(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BucketStore("heart-busy-store", "us-east-1", "heart-busy-trainer", "")

    def busy(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "PutObject")  # type: ignore[typeddict-item]

    monkeypatch.setattr(store._s3, "put_object", busy)
    with pytest.raises(HubError, match="SlowDown"):
        store.create("ledger", b"1")
