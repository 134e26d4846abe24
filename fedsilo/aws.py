"""AWS clients with limits, and AWS's errors as errors of fedsilo.

Every call is limited: ``CONNECT_SECONDS`` to connect, ``READ_SECONDS`` for each read, ``ATTEMPTS`` tries. botocore's
standard mode repeats a call that was throttled, got a 5xx answer or lost its connection; its pauses grow up to 20 s, so
a call survives an outage of about a minute. The environment variable AWS_ENDPOINT_URL replaces AWS's own endpoints.

``Cause`` is the one table of AWS's error codes: what other modules make of an answer, they ask ``cause`` for.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from fedsilo import names, runtime
from fedsilo.errors import AccessError, AuthenticationError, FedsiloError, HubError
from fedsilo.text import duration

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

FIRST_PAUSE_SECONDS = 1.0
"""The first pause of ``when_authenticated``. Each pause is twice the one before, up to ``LONGEST_PAUSE_SECONDS``."""

LONGEST_PAUSE_SECONDS = 30.0

DISK_FULL = "InsufficientStorage"
"""The error code by which the local AWS emulator says that its disk is full. AWS has no such code."""

SKEW_SECONDS = 60.0
"""How far AWS's clock may be from this machine's before an error message says so."""

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Cause(Enum):
    """What the error codes of AWS say about the cause of an error: codes of S3, SQS, STS and KMS that mean the same.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
    """

    DENIED = frozenset(
        {
            "AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation", "KmsAccessDenied",
            "KMS.AccessDeniedException",
        }
    )  # fmt: skip
    """A policy denies the call. S3 answers so, too, about a KMS key that the caller may not use."""
    CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
    """The caller's clock is wrong."""
    SIGNATURE = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
    """The caller's secret key is wrong; or its clock, in the words of some services."""
    CREDENTIALS = frozenset(
        {
            "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
            "InvalidClientTokenId", "UnrecognizedClientException", "MissingAuthenticationToken",
            "MissingAuthenticationTokenException", "IncompleteSignature", "InvalidSecurity", "AuthFailure",
        }
    )  # fmt: skip
    """AWS does not accept the caller's credentials: they have expired, or AWS does not know them."""
    NO_OBJECT = frozenset({"NoSuchKey", "404"})
    NO_VERSION = frozenset({"NoSuchVersion", "InvalidArgument"})
    """Of a read that names a version: there is none with this id, or the id is malformed."""
    NO_RESOURCE = frozenset(
        {
            "NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFound",
            "ResourceNotFoundException",
        }
    )  # fmt: skip
    """The bucket, queue, secret or experiment does not exist."""
    CHANGED = frozenset({"PreconditionFailed"})
    """The condition of a write does not hold: the key exists, or its object has changed."""
    CONFLICT = frozenset({"ConditionalRequestConflict"})
    """Another write of the key came at the same time. The condition may still hold."""
    RECEIPT = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue"})
    """The receipt of a message has expired."""
    EMPTY = frozenset({"InvalidRange"})
    """A range of an empty object."""
    ENCRYPTION = frozenset(
        {
            "KMS.DisabledException", "KMS.InvalidKeyUsageException", "KMS.KMSInvalidStateException",
            "KMS.NotFoundException", "InvalidRequest",
        }
    )  # fmt: skip
    """The object's KMS key can't be used; InvalidRequest: the object's writer keeps the key (SSE-C)."""
    ARCHIVED = frozenset({"InvalidObjectState"})
    """The object is in a storage class from which it has to be restored."""


_AUTHENTICATION = (Cause.CLOCK, Cause.SIGNATURE, Cause.CREDENTIALS)

_STILL_EXPIRED = "Credentials were refreshed, but the refreshed credentials are still expired."
"""The message of the RuntimeError by which botocore says that this machine's clock is ahead."""


def cause(error: ClientError) -> Cause | None:
    """What AWS's answer says about the cause of the error; None if it says nothing that is listed."""
    return _cause_of(str(error.response.get("Error", {}).get("Code", "")))


def _cause_of(code: str) -> Cause | None:
    return next((each for each in Cause if code in each.value), None)


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
    client = boto3.client(service, region_name=region, config=config(attempts))  # type: ignore[call-overload]
    if boto3.DEFAULT_SESSION is None or boto3.DEFAULT_SESSION.get_credentials() is None:
        raise NoCredentialsError  # the client would never look for them again
    return client


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
        stack = names.stack(self.federation, names.HUB)
        return translate_errors(self.who, doing, f"stack {stack} is deployed in {self.region}")

    def s3(self, attempts: int = ATTEMPTS) -> "S3Client":
        """A client of S3. Raises ``AuthenticationError`` if there are no credentials at the moment."""
        with self.translate_errors("use S3"):
            return s3(self.region, attempts)

    def sqs(self, attempts: int = ATTEMPTS) -> "SQSClient":
        """A client of SQS. Raises ``AuthenticationError`` if there are no credentials at the moment."""
        with self.translate_errors("use SQS"):
            return sqs(self.region, attempts)


def when_authenticated(patience_seconds: float, action: Callable[[], _T]) -> _T:
    """Run the action, and run it again while this party's own clock or credentials are wrong.

    EKS gives a pod its credentials through an agent on the node, which may come up later than the pod, or be away for
    a while. Each pause is announced in the log.

    Args:
        patience_seconds: How long to wait in all; 0 to run the action once.
        action: What to do. It may be run many times.

    Returns:
        What the action returns.

    Raises:
        AuthenticationError: The clock or the credentials are still wrong after ``patience_seconds``.
    """
    end, pause = runtime.monotonic() + patience_seconds, FIRST_PAUSE_SECONDS
    while True:
        try:
            return action()
        except AuthenticationError as error:
            left = end - runtime.monotonic()
            if left <= 0:
                waited = f"; waited {duration(patience_seconds)}" if patience_seconds else ""
                raise AuthenticationError(f"{error}{waited}") from error
            pause = min(pause, left)
            log.warning("%s; trying again in %.2g s, for another %s", error, pause, duration(left))
        runtime.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


@contextmanager
def translate_errors(who: str, doing: str, check: str) -> Iterator[None]:
    """Turn AWS's errors inside the block into fedsilo's.

    Args:
        who: Who makes the calls, such as a role.
        doing: What the calls are for, as a verb with its object: "read <bucket>/<key>".
        check: What to check if AWS denies the call or the resource does not exist, after "check that".

    Raises:
        AccessError: AWS denies the call.
        AuthenticationError: This process's clock or credentials are wrong.
        HubError: Any other error of AWS, or no answer.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != _STILL_EXPIRED:
            raise
        raise AuthenticationError(f"{who} has expired AWS credentials to {doing}; {_set_clock('')}") from error
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
            return AuthenticationError(
                f"{who} found no AWS credentials to {doing}; set AWS_PROFILE, start a local federation with "
                "`fedsilo up`, or give the pod its role"
            )
        case (
            CredentialRetrievalError()
            | LoginError()
            | MetadataRetrievalError()
            | NoAuthTokenError()
            | PartialCredentialsError()
            | ProfileNotFound()
            | SSOError()
            | TokenRetrievalError()
        ):
            return AuthenticationError(f"{who} has no valid AWS credentials to {doing}: {error}; renew them")
        case NoRegionError():
            return AccessError(f"{who} has no AWS Region to {doing}; set AWS_DEFAULT_REGION")
        case ConnectionError() | HTTPClientError():
            return HubError(f"AWS could not be reached: {who} could not {doing}: {error}")
        case _:
            return HubError(f"{who} could not {doing}: {error}")


def _error_of_answer(answer: dict[str, Any], who: str, doing: str, check: str) -> FedsiloError:
    code = str(answer.get("Error", {}).get("Code", "unknown"))
    metadata = answer.get("ResponseMetadata", {})
    status, tries = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0) + 1
    found = _cause_of(code)
    if found is Cause.DENIED:
        return AccessError(f"access denied: {who} may not {doing}; check the role's policy and that {check}")
    if found in _AUTHENTICATION:
        date = metadata.get("HTTPHeaders", {}).get("date", "")
        todo = _set_clock(date) if found is Cause.CLOCK or abs(_skew(date)) > SKEW_SECONDS else "renew them"
        return AuthenticationError(f"{who}: AWS does not accept the credentials ({code}) to {doing}; {todo}")
    if found in (Cause.NO_OBJECT, Cause.NO_RESOURCE) or status == 404:
        return HubError(f"not found: {who} could not {doing}; check that {check}")
    if code == DISK_FULL:
        return HubError(f"{who} could not {doing}: {answer['Error'].get('Message', 'the disk is full')}")
    return HubError(f"AWS answered {code} ({status}): {who} could not {doing}; tries: {tries}")


def _set_clock(date: str) -> str:
    """What to do about this machine's clock, and how far it is off if that is known."""
    off = _skew(date)
    wrong = f"is {duration(abs(off))} {'behind' if off > 0 else 'ahead of'} AWS's" if off else "may be wrong"
    return f"this machine's clock {wrong}; set it, by NTP"


def _skew(date: str) -> float:
    """By how many seconds AWS's clock is ahead of this machine's.

    Args:
        date: The date header of an answer that has just come. Without a date, the skew is 0.
    """
    try:
        return (parsedate_to_datetime(date) - runtime.now()).total_seconds()
    except (TypeError, ValueError):
        return 0.0
