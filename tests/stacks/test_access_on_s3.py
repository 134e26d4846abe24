"""The S3 half of the access matrix with real requests: moto enforces IAM, and roles are assumed through STS.

moto enforces IAM by resource for S3 alone, so test_access.py covers the other services. The roles get only the
statements about S3, because moto does not check the hub's key.
"""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from fedsilo import names
from fedsilo.keys import MAIL_TAG, RunKeys
from tests.support.cloudformation import ACCOUNT
from tests.support.moto_process import moto_process
from tests.support.synthesis import Synthesized

RUN = RunKeys("run-1")
PARTIES = ("aggregator", "cleveland", "hungary")


def client(service: str, endpoint: str, **credentials: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", **credentials}
    config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a moto server that asks for no authentication until ``reset-auth``."""
    log = tmp_path_factory.mktemp("guarded") / "moto.log"
    with moto_process(["moto_server"], {"INITIAL_NO_AUTH_ACTION_COUNT": "999999"}, log) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def trainers(guarded: str, example: Synthesized) -> dict[str, Any]:
    """S3 clients with each party's trainer role. The mail bucket exists, with an object of each party in it."""
    s3, iam, sts = (client(service, guarded) for service in ("s3", "iam", "sts"))
    bucket = names.mail_bucket("heart", ACCOUNT, "us-east-1")
    s3.create_bucket(Bucket=bucket)
    mails = [RUN.broadcast(1), *(RUN.mail(name, "aggregator", 1, "update", 0) for name in PARTIES)]
    for key in [RUN.run_json, *(mail.key for mail in mails)]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for name in PARTIES[1:]:
        s3.put_object(Bucket=bucket, Key=RUN.mail("aggregator", name, 1, "model", 0).key, Body=b"x")
    documents = {p["Roles"][0]: p["PolicyDocument"] for _, _, p in policies(example) if p.get("Roles")}
    clients = {}
    for name in PARTIES:
        role = names.trainer_role("heart", name)
        trust = {"Version": "2012-10-17", "Statement": []}
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        statements = [s for s in documents[role]["Statement"] if "s3:" in json.dumps(s["Action"])]
        iam.put_role_policy(
            RoleName=role,
            PolicyName="s3",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
        session = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        clients[name] = client(
            "s3",
            guarded,
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
        )
    requests.post(f"{guarded}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    return clients


def policies(example: Synthesized) -> Iterator[tuple[str, str, dict[str, Any]]]:
    return example.resources("AWS::IAM::ManagedPolicy")


def allowed(trainer: Any, operation: str, **request: Any) -> bool:
    try:
        getattr(trainer, operation)(Bucket=names.mail_bucket("heart", ACCOUNT, "us-east-1"), **request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def test_silo_reads_what_is_addressed_to_it_and_no_other_silos_update(trainers: dict[str, Any]) -> None:
    cleveland = trainers["cleveland"]
    assert allowed(cleveland, "get_object", Key=RUN.run_json)
    assert allowed(cleveland, "get_object", Key=RUN.broadcast(1).key)
    assert allowed(cleveland, "get_object", Key=RUN.mail("aggregator", "cleveland", 1, "model", 0).key)
    assert allowed(cleveland, "get_object", Key=RUN.mail("cleveland", "aggregator", 1, "update", 0).key)
    assert not allowed(cleveland, "get_object", Key=RUN.mail("aggregator", "hungary", 1, "model", 0).key)
    assert not allowed(cleveland, "get_object", Key=RUN.mail("hungary", "aggregator", 1, "update", 0).key)


def test_aggregator_reads_what_every_silo_sends_to_it(trainers: dict[str, Any]) -> None:
    for silo in PARTIES[1:]:
        assert allowed(trainers["aggregator"], "get_object", Key=RUN.mail(silo, "aggregator", 1, "update", 0).key)


@pytest.mark.parametrize("writer", PARTIES)
def test_party_writes_below_its_own_prefix_and_below_no_other(trainers: dict[str, Any], writer: str) -> None:
    for owner in PARTIES:
        key = RUN.mail(owner, "hungary" if owner == "aggregator" else "aggregator", 2, "update", 0).key
        may = allowed(trainers[writer], "put_object", Key=key, Body=b"x")
        assert may is (owner == writer), key
        smuggled = f"{RUN.party(owner)}outbox/{writer}/000009-update.safetensors"
        assert not allowed(trainers[writer], "put_object", Key=smuggled, Body=b"x"), smuggled
    assert not allowed(trainers[writer], "put_object", Key=RUN.run_json, Body=b"x")
    assert not allowed(trainers[writer], "delete_object", Key=RUN.mail(writer, "aggregator", 1, "update", 0).key)


def test_mail_carries_the_tag_by_which_it_expires(trainers: dict[str, Any]) -> None:
    key = RUN.mail("cleveland", "aggregator", 3, "update", 0).key
    tag = "=".join(MAIL_TAG)
    assert allowed(trainers["cleveland"], "put_object", Key=key, Body=b"x", Tagging=tag)
