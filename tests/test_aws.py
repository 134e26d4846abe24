"""AWS's errors say who could not do what, and what to check; a call that fails for a moment is tried again."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import boto3
import pytest
import requests
import torch
from botocore.credentials import RefreshableCredentials
from botocore.utils import ContainerMetadataFetcher

from fedsilo import aws, names
from fedsilo.aws import HubAccess
from fedsilo.config.environment import Settings
from fedsilo.errors import AccessError, AuthenticationError, HubError
from fedsilo.local import emulator
from fedsilo.local.federation import create_hub, party_settings
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.store import PART_BYTES
from fedsilo.names import AGGREGATOR
from tests.support.faulty_proxy import FaultyProxy
from tests.support.federations import described
from tests.support.hub import Hub
from tests.support.moto_process import moto_process
from tests.support.scripted_aws import ScriptedAws

LARGE = {"model": {"w": torch.zeros(PART_BYTES // 4)}}


def test_a_missing_queue_is_named_with_the_stack_that_creates_it(hub: Hub) -> None:
    name = names.data_queue(hub.federation.name, "hungary")
    sqs = aws.sqs("us-east-1")
    mailbox = hub.mailbox("cleveland")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    role = f"{hub.federation.name}-hungary-trainer"
    stack = f"{hub.federation.name}-hub"
    words = f"^not found: {role} could not find queue {name}; check that stack {stack} is deployed in us-east-1$"
    with pytest.raises(HubError, match=words):
        hub.mailbox("hungary")
    with pytest.raises(
        HubError, match=f"^not found: {hub.federation.name}-cleveland-trainer could not find queue {name}; "
    ):
        mailbox.send("hungary", "update", 0, {}, {})


def test_a_missing_bucket_is_named_with_the_stack_that_creates_it(hub: Hub) -> None:
    mailbox = hub.mailbox("cleveland")
    aws.s3("us-east-1").delete_bucket(Bucket=hub.bucket)
    stack = f"check that stack {hub.federation.name}-hub is deployed in us-east-1$"
    with pytest.raises(HubError, match=f"^not found: .*-aggregator-trainer could not list {hub.bucket}/runs/.*{stack}"):
        hub.mailbox(AGGREGATOR)
    for groups in ({}, LARGE):
        with pytest.raises(
            HubError, match=f"^not found: .* could not write {hub.bucket}/runs/.*-update-000000.safetensors; {stack}"
        ):
            mailbox.send(AGGREGATOR, "update", 0, {}, groups)
    with pytest.raises(
        HubError, match=f"^not found: .* could not write {hub.bucket}/.*/cleveland/model.safetensors; {stack}"
    ):
        mailbox.publish_model(LARGE["model"])


def test_a_call_survives_bad_answers_for_a_while(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyProxy(hub.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        silo, aggregator = hub.mailbox("cleveland"), hub.mailbox(AGGREGATOR)
        proxy.fail_next(s3=2, sqs=2)
        silo.send(AGGREGATOR, "update", 0, {"num_samples": 3}, {})
        [notice] = aggregator.receive(0)
        assert proxy.failed == {"s3": 2, "sqs": 2}
        proxy.fail_next(s3=2)
        assert aggregator.open(notice).fields == {"num_samples": 3}
        assert proxy.failed["s3"] == 4
        assert aggregator.receive(0) == [], "a call that was tried again sent once"


def test_a_connection_that_breaks_in_the_middle_of_a_mail_is_not_the_senders_fault(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"model": {"w": torch.rand(100_000)}}
    with FaultyProxy(hub.endpoint) as proxy:
        silo = hub.mailbox("cleveland")
        silo.send(AGGREGATOR, "update", 0, {}, small)
        silo.send(AGGREGATOR, "update", 1, {}, LARGE)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        aggregator = hub.mailbox(AGGREGATOR)
        notices = aggregator.receive(0)
        for notice, sent in zip(notices, (small, LARGE), strict=True):
            proxy.cut_next(2)
            assert aggregator.open(notice).groups["model"]["w"].equal(sent["model"]["w"])
            assert proxy._to_cut == 0


def test_bad_answers_without_end_are_an_error_that_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyProxy(hub.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setattr(aws, "ATTEMPTS", 2)
        client = boto3.client("s3", config=aws.config(2))
        proxy.fail_next(s3=10**6)
        with (
            pytest.raises(HubError, match=r"^AWS answered (500|503) \((500|503)\): me could not list it; tries: 2$"),
            aws.translate_errors("me", "list it", "it is there"),
        ):
            client.list_objects_v2(Bucket=hub.bucket)
        assert proxy.failed["s3"] == 2


def test_an_endpoint_that_does_not_answer_is_an_error_that_says_so() -> None:
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1", config=aws.config(1))
    with (
        pytest.raises(HubError, match=r"^AWS could not be reached: me could not read x: .*127\.0\.0\.1:9"),
        aws.translate_errors("me", "read x", "it is there"),
    ):
        client.list_objects_v2(Bucket="bucket")


def test_a_call_that_can_not_be_made_is_not_an_outage() -> None:
    client = boto3.client("s3", region_name="us-east-1", config=aws.config(1))
    with (
        pytest.raises(HubError, match=r"^me could not read x: Parameter validation failed"),
        aws.translate_errors("me", "read x", "it is there"),
    ):
        client.list_objects_v2(Bucket="not a bucket")


def test_every_client_has_the_limits(endpoint: str) -> None:
    for client in (aws.s3("us-east-1"), aws.sqs("us-east-1")):
        limits = client.meta.config
        assert (limits.connect_timeout, limits.read_timeout) == (5.0, 30.0)  # type: ignore[attr-defined]
        assert limits.retries == {"mode": "standard", "total_max_attempts": 8}  # type: ignore[attr-defined]


def always(status: int, body: str) -> AbstractContextManager[str]:
    """An endpoint that gives every call the same answer."""
    return answering([(status, body)])


@contextmanager
def answering(answers: list[tuple[int, str]]) -> Iterator[str]:
    """An endpoint that gives these answers, one after the other; the last one again and again."""
    left = iter(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = next(left, answers[-1])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "code",
    [
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
    ],
)
def test_credentials_that_aws_does_not_accept_are_to_be_renewed(endpoint: str, code: str) -> None:
    with always(403, f"<Error><Code>{code}</Code><Message>no</Message></Error>") as url:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=aws.config(2))
        words = rf"^me: AWS does not accept the credentials \({code}\) to list it; renew them$"
        with pytest.raises(AuthenticationError, match=words), aws.translate_errors("me", "list it", "it is there"):
            client.list_objects_v2(Bucket="bucket")


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException", "ExpiredToken"])
def test_a_wrong_clock_is_named_whatever_aws_calls_it(endpoint: str, scripted: ScriptedAws, code: str) -> None:
    scripted.refuse("ListObjectsV2", code, clock=1200)
    words = (
        rf"^me: .* \({code}\) to list it; this machine's clock is (19 min \d+ s|20 min) behind AWS's; set it, by NTP$"
    )
    with pytest.raises(AuthenticationError, match=words), aws.translate_errors("me", "list it", "it is there"):
        aws.s3("us-east-1").list_objects_v2(Bucket="bucket")


def test_no_credentials_and_no_region_are_errors_that_say_what_to_set(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(
        AuthenticationError,
        match=r"^me found no AWS credentials to use S3; set AWS_PROFILE, .* `fedsilo up`, or give the pod",
    ):
        HubAccess("me", "heart", "123456789012", "us-east-1").s3()
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with (
        pytest.raises(AccessError, match=r"^me has no AWS Region to list it; set AWS_DEFAULT_REGION$"),
        aws.translate_errors("me", "list it", "it is there"),
    ):
        boto3.session.Session().client("sqs")


def test_a_party_waits_for_the_agent_that_gives_its_pod_credentials(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on EKS, where the agent of a new node may come up after the pod. Its first answers are errors."""
    monkeypatch.setattr(aws, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0.01)
    access_key = os.environ["AWS_ACCESS_KEY_ID"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    expires = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
    keys = {"AccessKeyId": access_key, "SecretAccessKey": "local", "Token": "local", "Expiration": expires}
    answers = [(503, "not yet")] * 4 + [(200, json.dumps(keys))]
    with answering(answers) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        access = hub.settings("cleveland").hub_access("cleveland")
        with pytest.raises(AuthenticationError, match=r"cleveland has no valid AWS credentials to use S3: .*not yet"):
            access.s3()
        buckets = aws.when_authenticated(60, lambda: access.s3().list_buckets())
    assert hub.bucket in [bucket["Name"] for bucket in buckets["Buckets"]]


def test_waiting_for_credentials_has_a_bound_and_says_what_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(aws, "FIRST_PAUSE_SECONDS", 0.04)
    tries = []

    def fail() -> None:
        tries.append(1)
        raise AuthenticationError("expired")

    with pytest.raises(AuthenticationError, match=r"^expired$"):
        aws.when_authenticated(0, fail)
    assert (len(tries), caplog.messages) == (1, [])
    with pytest.raises(AuthenticationError, match=r"^expired; waited 0.1 s$"):
        aws.when_authenticated(0.1, fail)
    assert len(tries) == 4
    assert caplog.messages[0].startswith("expired; trying again in 0.04 s, for another ")


def test_credentials_that_have_expired_by_this_machines_clock_are_no_defect() -> None:
    def expired() -> dict[str, str]:
        return {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": "2020-01-01T00:00:00Z"}

    credentials = RefreshableCredentials.create_from_metadata(expired(), expired, "test")
    with (
        pytest.raises(
            AuthenticationError, match=r"^me has expired AWS credentials to list it; .* may be wrong; set it"
        ),
        aws.translate_errors("me", "list it", "it is there"),
    ):
        credentials.get_frozen_credentials()


def test_a_defect_is_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), aws.translate_errors("me", "divide", "it is there"):
        _ = 1 / 0


# --- calls that AWS denies

Act = Callable[[Settings], None]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """A hub in a moto server of its own that enforces IAM, with the keys of a user that may do little in it."""
    federation = described("guarded", ("cleveland", "hungary"))
    log = tmp_path_factory.mktemp("guarded") / "moto.log"
    server = moto_process(["moto_server"], {"INITIAL_NO_AUTH_ACTION_COUNT": "999999"}, log)
    with pytest.MonkeyPatch.context() as patch, server as port:
        own = f"http://127.0.0.1:{port}"
        for name, value in emulator.environment(own, "anybody", "us-east-1").items():
            patch.setenv(name, value)
        create_hub(federation)
        iam = boto3.client("iam")
        iam.create_user(UserName="cleveland")
        keys = iam.create_access_key(UserName="cleveland")["AccessKey"]
        bucket = f"arn:aws:s3:::{names.mail_bucket('guarded', emulator.ACCOUNT, 'us-east-1')}"
        allowed = [
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListAllMyBuckets"], "Resource": bucket},
            {"Effect": "Allow", "Action": "s3:PutObject*", "Resource": f"{bucket}/runs/*/cleveland/*"},
            {"Effect": "Allow", "Action": ["sqs:GetQueueUrl"], "Resource": "*"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_user_policy(UserName="cleveland", PolicyName="trainer", PolicyDocument=policy)
        requests.post(f"{own}/moto-api/reset-auth", b"0", timeout=60).raise_for_status()
        patch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys it has seen first
        yield own, party_settings(federation, "cleveland")


def test_a_denied_call_is_named_with_the_role_that_made_it(guarded: tuple[str, Settings]) -> None:
    _, settings = guarded
    mailbox = Mailbox(settings, "run-1", limit=2**26)
    check = "check the role's policy and that stack guarded-hub is deployed in us-east-1$"
    queue = "guarded-cleveland-data.fifo"
    with pytest.raises(AccessError, match=f"^access denied: guarded-cleveland-trainer may not receive from {queue}"):
        mailbox.receive(0)
    with pytest.raises(AccessError, match=f"may not send to guarded-aggregator-data.fifo; {check}"):
        mailbox.send(AGGREGATOR, "update", 0, {}, {"model": {"w": torch.zeros(3)}})
    theirs = Mailbox(
        Settings(federation="guarded", party="hungary", rank=2, hub_account=emulator.ACCOUNT, hub_region="us-east-1"),
        "run-1",
        limit=2**26,
        multipart_bytes=PART_BYTES,
    )  # cleveland's keys under hungary's name
    for groups in ({}, LARGE):
        with pytest.raises(AccessError, match=r"may not write .*/runs/run-1/hungary/outbox/aggregator/000"):
            theirs.send(AGGREGATOR, "update", 0, {}, groups)
    with pytest.raises(AccessError, match=r"may not write .*/runs/run-1/hungary/model.safetensors"):
        theirs.publish_model({"w": torch.zeros(3)})
    mailbox.publish_model({"w": torch.zeros(3)})
    mailbox.close()
    theirs.close()


def test_a_user_that_aws_does_not_know_is_told_to_renew_its_credentials(
    guarded: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
    with (
        pytest.raises(
            AuthenticationError, match=r"^me: AWS does not accept the credentials \(InvalidAccessKeyId\) to "
        ),
        aws.translate_errors("me", "list it", "it is there"),
    ):
        boto3.session.Session().client("s3").list_objects_v2(Bucket=guarded[1].bucket)
