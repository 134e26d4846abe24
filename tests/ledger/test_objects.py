"""Objects of the mail bucket: read, written, created once, and told from missing ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fedsilo.aws import HubAccess
from fedsilo.errors import AccessError, HubError
from fedsilo.ledger.objects import MailBucket
from fedsilo.names import AGGREGATOR
from tests.support.hub import Hub


@pytest.fixture
def bucket(hub: Hub) -> MailBucket:
    return MailBucket(hub.settings(AGGREGATOR).hub_access("the test"))


def denied(bucket: MailBucket, *operations: str) -> MailBucket:
    """The bucket, with operations that S3 denies."""

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {}}, "Any")  # type: ignore[typeddict-item]

    for operation in operations:
        setattr(bucket.s3, operation, deny)
    return bucket


def test_an_object_is_read_as_it_was_written_up_to_a_limit(bucket: MailBucket) -> None:
    bucket.put("runs/run-1/x", b"0123456789")
    stored = bucket.get("runs/run-1/x")
    assert stored is not None
    assert stored.body == b"0123456789"
    assert 0 <= stored.age_seconds < 60
    assert abs((datetime.now(UTC) - stored.modified).total_seconds()) < 60
    beginning, end = bucket.get("runs/run-1/x", 4), bucket.get_end("runs/run-1/x", 4)
    assert beginning is not None
    assert end is not None
    assert (beginning.body, end.body) == (b"0123", b"6789")


def test_the_end_of_a_short_or_empty_object_is_all_of_it(bucket: MailBucket) -> None:
    for body in (b"", b"ab"):
        bucket.put("runs/run-1/x", body)
        stored = bucket.get_end("runs/run-1/x", 4)
        assert stored is not None
        assert stored.body == body


def test_a_missing_object_is_none(bucket: MailBucket, tmp_path: Path) -> None:
    bucket.put("runs/run-1/x-and-more", b"")
    assert bucket.get("runs/run-1/x") is None
    assert bucket.get_end("runs/run-1/x", 4) is None
    assert bucket.download("runs/run-1/x", tmp_path / "x") is None
    assert not bucket.exists("runs/run-1/x")
    assert bucket.exists("runs/run-1/x-and-more")
    assert list(tmp_path.iterdir()) == []


def test_a_denied_read_of_a_missing_object_is_none_and_of_another_an_error(bucket: MailBucket) -> None:
    bucket.put("runs/run-1/x", b"")
    denied(bucket, "get_object")
    assert bucket.get("runs/run-1/y") is None
    with pytest.raises(AccessError, match=r"the test may not read .*/runs/run-1/x"):
        bucket.get("runs/run-1/x")
    denied(bucket, "list_objects_v2")
    with pytest.raises(AccessError, match=r"the test may not read .*/runs/run-1/y"):
        bucket.get("runs/run-1/y")
    with pytest.raises(AccessError, match=r"the test may not list .*/runs/run-1/y"):
        bucket.exists("runs/run-1/y")


def test_an_object_is_created_once(bucket: MailBucket) -> None:
    assert bucket.create("runs/run-1/x", b"first")
    assert not bucket.create("runs/run-1/x", b"second")
    stored = bucket.get("runs/run-1/x")
    assert stored is not None
    assert stored.body == b"first"


def test_an_object_is_replaced_only_by_who_has_seen_it_last(bucket: MailBucket) -> None:
    first = bucket.create("agents/x.json", b"first")
    assert first is not None
    second = bucket.replace("agents/x.json", b"second", first.etag)
    assert second is not None
    assert bucket.replace("agents/x.json", b"late", first.etag) is None
    stored = bucket.get("agents/x.json")
    assert stored is not None
    assert (stored.body, stored.etag) == (b"second", second.etag)
    bucket.s3.delete_object(Bucket=bucket.name, Key="agents/x.json")
    assert bucket.replace("agents/x.json", b"late", second.etag) is None


def test_a_download_replaces_a_file_and_leaves_no_part(bucket: MailBucket, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"older")
    bucket.put("runs/run-1/x", b"newer")
    assert bucket.download("runs/run-1/x", tmp_path / "x") == 5
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"newer")]


def test_keys_are_listed_in_order_below_their_prefix(bucket: MailBucket) -> None:
    for key in ("index/b", "index/a", "runs/x"):
        bucket.put(key, b"")
    assert list(bucket.keys("index/")) == ["index/a", "index/b"]


def test_a_bucket_that_does_not_exist_is_named(endpoint: str) -> None:
    bucket = MailBucket(HubAccess("the test", "nowhere", "123456789012", "us-east-1"))
    with pytest.raises(
        HubError, match=r"not found: the test could not read nowhere-mail-.* check that stack nowhere-hub is deployed"
    ):
        bucket.get("x")
