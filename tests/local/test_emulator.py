"""The local AWS emulator keeps objects unchanged and out of its memory, and answers its own clients only."""

import hashlib
import io
import os
import re
from pathlib import Path

import boto3
import pytest
import requests
from boto3.s3.transfer import TransferConfig

from fedsilo import aws
from fedsilo.errors import HubError
from fedsilo.local.emulator import Emulator
from tests.support.disk import largest_file
from tests.support.hub import Hub

LARGE = 20 * 2**20
"""Bytes; more than moto keeps in memory by itself."""


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_an_object_has_the_content_of_the_last_put(hub: Hub, size: int) -> None:
    s3, body = aws.s3("us-east-1"), os.urandom(size)
    for content in (b"what was there before", body):
        s3.put_object(Bucket=hub.bucket, Key="object", Body=content)
    for _ in range(2):
        answer = s3.get_object(Bucket=hub.bucket, Key="object")
        assert (answer["ContentLength"], answer["Body"].read()) == (size, body)
    [listed] = s3.list_objects_v2(Bucket=hub.bucket, Prefix="object")["Contents"]
    assert listed["Size"] == s3.head_object(Bucket=hub.bucket, Key="object")["ContentLength"] == size


def test_a_range_of_an_object_can_be_read(hub: Hub) -> None:
    s3 = aws.s3("us-east-1")
    s3.put_object(Bucket=hub.bucket, Key="object", Body=b"0123456789")
    assert s3.get_object(Bucket=hub.bucket, Key="object", Range="bytes=3-5")["Body"].read() == b"345"


def test_a_multipart_object_is_complete_and_its_copy_outlives_it(hub: Hub) -> None:
    s3, body = aws.s3("us-east-1"), os.urandom(LARGE)
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    s3.upload_fileobj(io.BytesIO(body), hub.bucket, "object", Config=parts)
    s3.copy_object(Bucket=hub.bucket, Key="copy", CopySource={"Bucket": hub.bucket, "Key": "object"})
    s3.delete_object(Bucket=hub.bucket, Key="object")
    got = s3.get_object(Bucket=hub.bucket, Key="copy")["Body"].read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    assert "Contents" not in s3.list_objects_v2(Bucket=hub.bucket, Prefix="object")


class Process:
    """This session's emulator."""

    def __init__(self) -> None:
        started = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
        [self._proc] = [
            proc
            for proc in map(Path("/proc").joinpath, started)
            if b"fedsilo.local.moto_server" in (proc / "cmdline").read_bytes()
        ]

    @property
    def memory(self) -> int:
        """The bytes of memory that it takes."""
        [kilobytes] = re.findall(r"VmRSS:\s*([0-9]+) kB", (self._proc / "status").read_text())
        return int(kilobytes) * 1024

    @property
    def disk(self) -> int:
        """The bytes of its files."""
        *_, folder = (self._proc / "cmdline").read_text().removesuffix("\0").split("\0")
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def test_objects_fill_neither_the_memory_nor_more_of_the_disk_than_they_take(hub: Hub) -> None:
    s3, body, emulator = aws.s3("us-east-1"), os.urandom(8 * 2**20), Process()
    s3.put_object(Bucket=hub.bucket, Key="overwritten", Body=body)
    memory, disk = emulator.memory, emulator.disk
    for number in range(12):
        s3.put_object(Bucket=hub.bucket, Key=f"runs/{number}/model.safetensors", Body=body)
        s3.put_object(Bucket=hub.bucket, Key="overwritten", Body=body)
    assert emulator.memory - memory < 8 * len(body)
    assert emulator.disk - disk <= 14 * len(body), "one of those that were overwritten may still be let go"


def get(url: str, access_key: str = "", **headers: str) -> requests.Response:
    """What a client gets that signs with the access key."""
    key = access_key or os.environ["AWS_ACCESS_KEY_ID"]
    scope = "20261126/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}"}
    return requests.get(url, headers=signed | headers, timeout=60)


def test_a_client_of_the_emulator_is_answered(hub: Hub) -> None:
    answer = get(hub.endpoint)
    assert (answer.status_code, hub.bucket in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"Host": "attacker.example"}),
        ("/", {"Host": "127.0.0.1.attacker.example:80"}),
        ("/", {"Origin": "http://attacker.example"}),
        ("/", {"Origin": "null"}),
        ("/", {"Authorization": ""}),
        ("/", {"access_key": "emulator"}),
        ("/moto-api/data.json", {}),
        ("/moto-api/", {"Origin": "http://127.0.0.1"}),
    ],
)
def test_anybody_else_is_refused_and_learns_nothing(hub: Hub, path: str, headers: dict[str, str]) -> None:
    answer = get(f"{hub.endpoint}{path}", **headers)
    assert answer.status_code == 403
    assert "<Code>AccessDenied</Code><Message>the local AWS emulator: " in answer.text
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert hub.bucket not in answer.text


def test_a_pages_preflight_is_refused(hub: Hub) -> None:
    asks = {"Origin": "http://attacker.example", "Access-Control-Request-Method": "PUT"}
    answer = requests.options(hub.endpoint, headers=asks, timeout=60)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_full_disk_of_the_emulator_is_named_to_its_clients(tmp_path: Path) -> None:
    with largest_file(10**5):
        own = Emulator(folder=tmp_path)
    with own:
        session = boto3.session.Session(own.access_key, "any", region_name="us-east-1")
        s3 = session.client("s3", endpoint_url=own.endpoint)
        s3.create_bucket(Bucket="bucket")
        words = rf"^me could not write it: the disk of {tmp_path}/fedsilo-aws-\w+ takes no file .* 1\.0 MB are needed"
        with pytest.raises(HubError, match=words), aws.translate_errors("me", "write it", "it is there"):
            s3.put_object(Bucket="bucket", Key="object", Body=bytes(10**6))
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
