"""The way between a simulated process and AWS: how long a call takes, and how it fails."""

from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError, EndpointConnectionError

from fedsilo.simulation.world import Process

_T = TypeVar("_T")


class Network:
    """Calls of AWS that take a moment and always succeed. ``faults.FaultyNetwork`` makes them fail.

    Attributes:
        seconds: How long a call takes.
    """

    seconds = 0.01

    def call(self, process: Process, operation: str, resource: str, effect: Callable[[], _T]) -> _T:
        """Do what a call asks for, after the time that the call takes.

        Args:
            process: Who calls.
            operation: The operation's name, as AWS names it.
            resource: The key of an object, or the name or the URL of a queue.
            effect: What the call does at AWS, and what it answers.
        """
        process.sleep(self.seconds)
        return effect()


def client_error(operation: str, code: str, status: int, message: str = "") -> ClientError:
    """The error that boto3 raises for an answer of AWS that is one."""
    answer = {
        "Error": {"Code": code, "Message": message or code},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
    }
    return ClientError(answer, operation)  # type: ignore[arg-type]


def unreachable() -> EndpointConnectionError:
    """The error that boto3 raises where AWS does not answer."""
    return EndpointConnectionError(endpoint_url="https://simulated")
