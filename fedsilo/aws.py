"""AWS clients with limits, and AWS's errors in words.

Every call is bounded: ``CONNECT_SECONDS`` to connect, ``READ_SECONDS`` for each read, ``ATTEMPTS`` tries. Throttling,
5xx answers and broken connections are tried again with exponential backoff and full jitter, up to 20 s apart
(botocore's standard mode), which rides out an outage of about a minute. The endpoint is AWS's, or AWS_ENDPOINT_URL.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from fedsilo import names
from fedsilo.errors import AccessError, HubError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""Longer than SQS's longest long poll, 20 s."""
ATTEMPTS = 8
OPERATOR_ATTEMPTS = 3
"""For a person who waits at a terminal: a broken connection is said within seconds."""
POOL_CONNECTIONS = 16
"""Enough for the parallel parts of one large mail beside the other threads of a party."""

DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation"}
_STALE = {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId"}


def config(attempts: int = ATTEMPTS) -> Config:
    """The limits above; checksums only where a call requires one, because every mail carries its own SHA-256."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=POOL_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A signed payload is hashed once more before it is sent; TLS and the mail's digest guard it.
        s3={"payload_signing_enabled": False},
        tcp_keepalive=True,
    )


def s3(region: str, attempts: int = ATTEMPTS) -> "S3Client":
    """A client of S3, with the limits."""
    return boto3.client("s3", region_name=region, config=config(attempts))


def sqs(region: str, attempts: int = ATTEMPTS) -> "SQSClient":
    """A client of SQS, with the limits."""
    return boto3.client("sqs", region_name=region, config=config(attempts))


def sts(region: str, attempts: int = ATTEMPTS) -> "STSClient":
    """A client of STS, with the limits."""
    return boto3.client("sts", region_name=region, config=config(attempts))


@dataclass(frozen=True)
class HubAccess:
    """Who uses the hub of a federation, and where the hub is: what error messages say of every call to it."""

    who: str
    """A role's name, or "the operator"."""
    federation: str
    account: str
    """The AWS account of the hub."""
    region: str
    """The Region of the hub."""

    def translate_errors(self, doing: str) -> AbstractContextManager[None]:
        """As ``aws.translate_errors``, for something that the stack of the federation's hub creates."""
        stack = names.stack(self.federation, "hub")
        return translate_errors(self.who, doing, f"stack {stack} is deployed in {self.region}")


@contextmanager
def translate_errors(who: str, doing: str, missing: str) -> Iterator[None]:
    """Turn AWS's errors inside the block into ours.

    ``who`` acts, ``doing`` says what is asked of which resource, ``missing`` what to do if the resource is not there.
    Raises ``AccessError`` where AWS denies it or the credentials are not valid, ``HubError`` for everything else.
    """
    try:
        yield
    except NoCredentialsError as error:
        raise AccessError(
            f"{who} found no AWS credentials to {doing}; set AWS_PROFILE, or give the pod its role"
        ) from error
    except (
        CredentialRetrievalError, PartialCredentialsError, ProfileNotFound, SSOError, TokenRetrievalError,
    ) as error:  # fmt: skip
        raise AccessError(f"{who} has no valid AWS credentials to {doing}: {error}; renew them") from error
    except NoRegionError as error:
        raise AccessError(f"{who} has no AWS Region to {doing}; set AWS_REGION") from error
    except (ClientError, S3UploadFailedError) as error:
        # boto3's upload of a file hides AWS's answer one step down.
        answer = error if isinstance(error, ClientError) else error.__context__
        response: Any = answer.response if isinstance(answer, ClientError) else {}
        code = str(response.get("Error", {}).get("Code", "unknown"))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in DENIED:
            raise AccessError(
                f"access denied: {who} may not {doing}; check the role's policy and that {missing}"
            ) from error
        if code in _STALE:
            raise AccessError(f"{who}: AWS does not accept the credentials ({code}) to {doing}; renew them") from error
        if (
            "NoSuchBucket" in code
            or "NonExistentQueue" in code
            or "QueueDoesNotExist" in code
            or status == 404
            or code == "ResourceNotFoundException"
        ):
            raise HubError(f"not found: {doing} by {who}; check that {missing}") from error
        tries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
        raise HubError(f"AWS answered {code} ({status}) to {doing} by {who}, tries: {tries}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise HubError(f"AWS could not be reached for {doing} by {who}: {error}") from error
