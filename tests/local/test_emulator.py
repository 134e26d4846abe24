"""The local AWS emulator keeps objects unchanged, also large ones."""

import hashlib
import io
import os

import pytest
from boto3.s3.transfer import TransferConfig

from fedsilo import aws
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
