"""AWS's answers to clients in this process, where a test chooses them; the emulator gives all others."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

FOR_EVER = 10**6


class _Raw(io.BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


@dataclass
class _Rule:
    operation: str
    key: str
    left: int
    act: Callable[[str], AWSResponse | None]


@dataclass
class ScriptedAws:
    """Answers that a test chooses, for the clients that boto3's default session makes."""

    answered: list[str] = field(default_factory=list)
    """The operations that were answered, or acted upon, by a rule."""
    _rules: list[_Rule] = field(default_factory=list)

    def refuse(
        self, operation: str, code: str, status: int = 403, *, key: str = "", times: int = FOR_EVER, clock: float = 0
    ) -> None:
        """Answer the next calls with an error.

        Args:
            operation: The operation, such as ``GetObject``.
            code: AWS's error code.
            status: The HTTP status.
            key: What the URL has to contain.
            times: How many calls are refused.
            clock: By how many seconds AWS's clock is ahead of this machine's.
        """
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=clock), usegmt=True)
        xml = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}) if "Message" in operation else xml

        def answer(url: str) -> AWSResponse:
            return AWSResponse(url, status, {"date": date}, _Raw(body.encode()))

        self._rules.append(_Rule(operation, key, times, answer))

    def before(self, operation: str, act: Callable[[], Any], *, key: str = "", skip: int = 0) -> None:
        """Do something once, before a call reaches the emulator.

        Args:
            operation: The operation.
            act: What to do.
            key: What the URL has to contain.
            skip: How many such calls go by before.
        """
        calls = iter(range(skip + 1))

        def once(_: str) -> None:
            if next(calls, None) == skip:
                act()

        self._rules.append(_Rule(operation, key, FOR_EVER, once))

    def answer(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        """The answer to a call; None if the emulator gives it."""
        for rule in self._rules:
            if event_name.endswith(f".{rule.operation}") and rule.key in str(request.url) and rule.left > 0:
                rule.left -= 1
                self.answered.append(rule.operation)
                return rule.act(str(request.url))
        return None


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedAws:
    aws = ScriptedAws()
    session = boto3.session.Session()
    session.events.register("before-send", aws.answer)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    return aws
