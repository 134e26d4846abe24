"""Control messages: what the operator asks of a party's agent. Both ends of the wire, and nothing else.

A request is one SQS message in the party's control queue. Its message group is the run, so that an abort never
overtakes the start of the same run, and one run's requests never wait for another's. Its deduplication id is made of
what it asks, so that a request sent twice within five minutes is delivered once.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fedsilo.errors import SpecError
from fedsilo.keys import RUN_PATTERN

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Request(BaseModel):
    """A run request. ``sha256`` is the digest of ``run.json``'s bytes in hexadecimal; ``requested`` is in UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Literal["start", "abort"]
    run: Annotated[str, Field(pattern=f"^{RUN_PATTERN}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    requested: AwareDatetime

    @classmethod
    def parse(cls, text: str) -> "Request":
        """Read a message's body. Raises ``SpecError`` with every problem; it repeats no value of the message."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, each['loc'])) or 'message'}: {each['msg']}" for each in error.errors())
            raise SpecError(f"not a run request: {'; '.join(problems)}") from None

    def to_json(self) -> str:
        """The message's body."""
        return self.model_dump_json()


def send(sqs: "SQSClient", queue_url: str, request: Request) -> None:
    """Put the request into a party's control queue. Raises botocore's errors."""
    sqs.send_message(
        QueueUrl=queue_url,
        MessageBody=request.to_json(),
        MessageGroupId=request.run,
        MessageDeduplicationId=f"{request.run}.{request.action}.{request.sha256[:16]}",
    )
