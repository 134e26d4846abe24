"""The calls of AWS that a simulated federation makes, and the same calls made again elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fedsilo import aws
from fedsilo.config.federation import Federation
from fedsilo.simulation.hub import SimulatedHub
from fedsilo.simulation.network import Network
from fedsilo.simulation.world import Process, World


@dataclass
class Call:
    """One call, and what came of it."""

    service: str
    method: str
    arguments: dict[str, Any]
    outcome: Any = None


class RecordingHub(SimulatedHub):
    """A simulated hub that records each call.

    Attributes:
        calls: The calls in the order in which they were answered.
    """

    def __init__(self, world: World, federation: Federation, network: Network) -> None:
        super().__init__(world, federation, network)
        self.calls: list[Call] = []

    def clients(self, process: Process) -> aws.Clients:
        make = super().clients(process)
        return lambda service, region, attempts: _Recorded(make(service, region, attempts), service, self.calls)


class _Recorded:
    """A client that records. Transfers of files are recorded as the calls that they consist of."""

    def __init__(self, client: Any, service: str, calls: list[Call]) -> None:
        self._client, self._service, self._calls = client, service, calls

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method == "upload_file":
            return self._upload
        if method == "get_paginator":
            return getattr(self._client, method)  # type: ignore[no-any-return]
        return partial(self._call, method)

    def _upload(self, path: str, bucket: str, key: str, **options: Any) -> None:
        body = Path(path).read_bytes()
        self._call("put_object", Bucket=bucket, Key=key, Body=body, **options.get("ExtraArgs", {}))

    def _call(self, method: str, **arguments: Any) -> Any:
        if hasattr(arguments.get("Body"), "read"):
            arguments["Body"] = arguments["Body"].read()
        made = Call(self._service, method, dict(arguments))
        answer, made.outcome = _made(getattr(self._client, method), arguments)
        self._calls.append(made)
        if isinstance(answer, ClientError):
            raise answer
        return answer


def repeat(calls: list[Call], region: str) -> list[tuple[Call, Any]]:
    """Make the calls again with boto3's clients. Returns each call with what came of it now."""
    clients = {"s3": aws.s3(region), "sqs": aws.sqs(region), "sts": aws.sts(region)}
    names: dict[str, str] = {}  # URLs, receipts, versions and entity tags of the recorded calls, and what they are now
    repeated = []
    for call in calls:
        arguments = _translated(call.arguments, names)
        answer, outcome = _made(getattr(clients[call.service], call.method), arguments)
        if isinstance(answer, dict):
            names |= _renamed(call.outcome["raw"], answer)
        repeated.append((call, outcome))
    return repeated


def _renamed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """The names that AWS chose in an answer, and those that it chose for the same things now."""
    renamed = {before[name]: now[name] for name in ("QueueUrl", "ETag", "VersionId") if name in before and name in now}
    receipts = {message["Body"]: message["ReceiptHandle"] for message in now.get("Messages", [])}
    return renamed | {each["ReceiptHandle"]: receipts.get(each["Body"], "") for each in before.get("Messages", [])}


def _translated(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        translated = {name: _translated(each, names) for name, each in value.items()}
        return translated | ({"WaitTimeSeconds": 0} if "WaitTimeSeconds" in translated else {})
    if isinstance(value, list):
        return [_translated(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _made(method: Callable[..., Any], arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Make a call. Returns its answer or its error, and what of it has to be the same everywhere."""
    try:
        answer = method(**arguments)
    except ClientError as error:
        return error, {"error": error.response["Error"]["Code"], "raw": {}}
    same: dict[str, Any] = {"raw": answer}
    if isinstance(answer, dict):
        if "Body" in answer:
            same["body"] = answer["Body"].read()
            answer["Body"] = BytesIO(same["body"])
        same |= {name: answer[name] for name in ("ContentLength", "ContentRange", "Metadata") if name in answer}
        same["messages"] = sorted(message["Body"] for message in answer.get("Messages", []))
        same["failed"] = len(answer.get("Failed", []))
        same["keys"] = [found["Key"] for found in answer.get("Contents", [])]
    return answer, same
