"""AWS clients with limits, and AWS's errors as errors of fedsilo.

Every call is limited: ``CONNECT_SECONDS`` to connect, ``READ_SECONDS`` for each read, ``ATTEMPTS`` tries. botocore's
standard mode repeats a call that was throttled, got a 5xx answer or lost its connection; its pauses grow up to 20 s, so
a call survives an outage of about a minute. The environment variable AWS_ENDPOINT_URL replaces AWS's own endpoints.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import boto3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from fedsilo import names
from fedsilo.errors import AccessError, FedsiloError, HubError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

CONNECT_SECONDS = 5.0

READ_SECONDS = 30.0
"""Longer than the longest long poll of SQS, 20 s."""

ATTEMPTS = 8

OPERATOR_ATTEMPTS = 3
"""The attempts of a command. A person who waits at a terminal should read about a broken connection within seconds."""

POOL_CONNECTIONS = 16
"""Enough for the parallel parts of one large mail and the other threads of a party."""

DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation"}
"""The error codes with which AWS denies a call."""

_BAD_CREDENTIALS = {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId"}

_NOT_FOUND = ("NoSuchBucket", "NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException")
"""Parts of the error codes of missing resources; SQS puts the name of its API before its codes."""


def config(attempts: int = ATTEMPTS) -> Config:
    """The limits of a client. Checksums are used only if a call requires one: each mail has its own SHA-256."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=POOL_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # Signing a payload would hash it once more. TLS and the mail's digest protect it.
        s3={"payload_signing_enabled": False},
        tcp_keepalive=True,
    )


Clients = Callable[[str, str, int], Any]
"""Makes a client: of a service such as ``s3``, in a Region, with a number of attempts."""


def _boto_client(service: str, region: str, attempts: int) -> Any:
    return boto3.client(service, region_name=region, config=config(attempts))  # type: ignore[call-overload]


_clients: ContextVar[Clients] = ContextVar("clients", default=_boto_client)


@contextmanager
def using(clients: Clients) -> Iterator[None]:
    """Make clients of S3, SQS and STS with ``clients`` in the block, in this thread or greenlet."""
    token = _clients.set(clients)
    try:
        yield
    finally:
        _clients.reset(token)


def s3(region: str, attempts: int = ATTEMPTS) -> "S3Client":
    """A client of S3 with the limits of ``config``."""
    return cast("S3Client", _clients.get()("s3", region, attempts))


def sqs(region: str, attempts: int = ATTEMPTS) -> "SQSClient":
    """A client of SQS with the limits of ``config``."""
    return cast("SQSClient", _clients.get()("sqs", region, attempts))


def sts(region: str, attempts: int = ATTEMPTS) -> "STSClient":
    """A client of STS with the limits of ``config``."""
    return cast("STSClient", _clients.get()("sts", region, attempts))


@dataclass(frozen=True)
class HubAccess:
    """Who uses the hub of a federation, and where the hub is: what error messages say about every call to it."""

    who: str
    """The name of a role, or "the operator"."""
    federation: str
    account: str
    """The AWS account of the hub."""
    region: str
    """The Region of the hub."""

    def translate_errors(self, doing: str) -> AbstractContextManager[None]:
        """As ``aws.translate_errors``, for a resource that the stack of the federation's hub creates."""
        stack = names.stack(self.federation, "hub")
        return translate_errors(self.who, doing, f"stack {stack} is deployed in {self.region}")


@contextmanager
def translate_errors(who: str, doing: str, check: str) -> Iterator[None]:
    """Turn AWS's errors inside the block into fedsilo's.

    Args:
        who: Who makes the calls, such as a role.
        doing: What the calls are for, as a verb with its object: "read <bucket>/<key>".
        check: What to check if AWS denies the call or the resource does not exist, after "check that".

    Raises:
        AccessError: AWS denies the call, or there are no valid credentials.
        HubError: Any other error of AWS, or no answer.
    """
    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        answer = _answer(error)
        if answer is None:
            raise _without_answer(error, who, doing) from error
        raise _error_of_answer(answer, who, doing, check) from error


def _answer(error: Exception) -> dict[str, Any] | None:
    """The answer of AWS that caused the error; None if there was no answer."""
    # boto3's upload of a file raises an error of its own, whose context is the answer.
    cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
    return dict(cause.response) if isinstance(cause, ClientError) else None


def _without_answer(error: Exception, who: str, doing: str) -> FedsiloError:
    match error:
        case NoCredentialsError():
            return AccessError(
                f"{who} found no AWS credentials to {doing}; set AWS_PROFILE, start a local federation with "
                "`fedsilo up`, or give the pod its role"
            )
        case (
            CredentialRetrievalError()
            | PartialCredentialsError()
            | ProfileNotFound()
            | SSOError()
            | TokenRetrievalError()
        ):
            return AccessError(f"{who} has no valid AWS credentials to {doing}: {error}; renew them")
        case NoRegionError():
            return AccessError(f"{who} has no AWS Region to {doing}; set AWS_REGION")
        case ConnectionError() | HTTPClientError():
            return HubError(f"AWS could not be reached: {who} could not {doing}: {error}")
        case _:
            return HubError(f"{who} could not {doing}: {error}")


def _error_of_answer(answer: dict[str, Any], who: str, doing: str, check: str) -> FedsiloError:
    code = str(answer.get("Error", {}).get("Code", "unknown"))
    metadata = answer.get("ResponseMetadata", {})
    status, tries = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0) + 1
    if code in DENIED:
        return AccessError(f"access denied: {who} may not {doing}; check the role's policy and that {check}")
    if code in _BAD_CREDENTIALS:
        return AccessError(f"{who}: AWS does not accept the credentials ({code}) to {doing}; renew them")
    if status == 404 or any(each in code for each in _NOT_FOUND):
        return HubError(f"not found: {who} could not {doing}; check that {check}")
    return HubError(f"AWS answered {code} ({status}): {who} could not {doing}; tries: {tries}")
