"""Run requests: what the operator asks of a party's agent. Both sides use this module.

A request is one SQS message in the party's control queue. Its message group is the run: SQS keeps the order of a
run's requests, and the requests of one run never wait for those of another. Its deduplication id is made of the
request's content, so a request that is sent twice within five minutes is delivered once.
"""

import hashlib
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsilo.config.run import RunIdentity
from fedsilo.errors import SpecError
from fedsilo.keys import RUN_PATTERN
from fedsilo.states import RequestAction
from fedsilo.text import plain

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Request(BaseModel):
    """A run request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: RequestAction
    run: Annotated[str, Field(pattern=f"^{RUN_PATTERN}$")]
    """The run's id."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """The SHA-256 of the bytes of the run's ``run.json``, in hexadecimal."""
    version: Annotated[str, Field(pattern="^[!-~]{0,1024}$")]
    """S3's id of the version of ``run.json``; empty in a bucket that keeps no versions."""

    @classmethod
    def about(cls, action: RequestAction, identity: RunIdentity) -> Self:
        """A request about a run."""
        return cls(action=action, run=identity.run, sha256=identity.sha256, version=identity.version)

    @property
    def identity(self) -> RunIdentity:
        """Which ``run.json`` the operator means."""
        return RunIdentity(self.run, self.sha256, self.version)

    @classmethod
    def parse(cls, text: str) -> "Request":
        """Read a message's body.

        Raises:
            SpecError: The body is not a request. The message names every problem and repeats no value of the body.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, each['loc'])) or 'message'}: {each['msg']}" for each in error.errors())
            raise SpecError(plain(f"not a run request: {'; '.join(problems)}")) from None

    def to_json(self) -> str:
        """The message's body."""
        return self.model_dump_json()


def send(sqs: "SQSClient", queue_url: str, request: Request) -> None:
    """Put the request into a party's control queue. Raises botocore's errors."""
    body = request.to_json()
    sqs.send_message(
        QueueUrl=queue_url,
        MessageBody=body,
        MessageGroupId=request.run,
        MessageDeduplicationId=hashlib.sha256(body.encode()).hexdigest(),
    )
