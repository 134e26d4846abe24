"""Each error of a command is one message on standard error, with an exit code."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from fedsilo.cli.main import app
from fedsilo.ledger.objects import MailBucket
from tests.support.operator_harness import OperatorHarness

ASKING_AWS = [
    ["run", "start", "heart_disease"], ["run", "list"], ["run", "show"], ["run", "show", "run-1"],
    ["run", "watch", "run-1"], ["run", "logs", "hungary", "run-1"], ["run", "logs", "hungary", "run-1", "-f"],
    ["run", "abort", "run-1"], ["run", "report", "run-1"], ["model", "download", "run-1"], ["silo", "list"],
]  # fmt: skip
"""Every command that calls AWS, except the doctor."""

OF_A_RUN = [command for command in ASKING_AWS if command[-1] == "run-1" or "-f" in command]


def named(command: list[str]) -> str:
    return " ".join(command) or "fedsilo"


def error_of(operator: OperatorHarness, command: list[str], **environment: str | None) -> str:
    """The one error that the command ends with, on standard error alone."""
    result = operator.run(*command, environment=environment or None)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.output
    assert list(operator.folder.glob("*.safetensors*")) == []
    return result.stderr


@pytest.mark.parametrize("command", ASKING_AWS, ids=named)
def test_missing_credentials_are_reported(operator: OperatorHarness, command: list[str]) -> None:
    error = error_of(operator, command, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert "the operator found no AWS credentials to" in error
    assert "set AWS_PROFILE" in error


def test_incomplete_credentials_and_unknown_profiles_are_reported(operator: OperatorHarness) -> None:
    assert "no valid AWS credentials" in error_of(operator, ["run", "list"], AWS_SECRET_ACCESS_KEY=None)
    assert "could not be found" in error_of(operator, ["run", "list"], AWS_PROFILE="nobody")


@pytest.mark.parametrize("command", ASKING_AWS, ids=named)
def test_a_hub_that_is_not_deployed_is_reported(endpoint: str, tmp_path: Path, command: list[str]) -> None:
    operator = OperatorHarness(tmp_path, deployed=False)
    error = error_of(operator, command)
    assert error.startswith("error: not found: ")
    assert f"check that stack {operator.name}-hub is deployed in us-east-1" in error


@pytest.mark.parametrize("command", ASKING_AWS, ids=named)
def test_a_wrong_region_is_reported(operator: OperatorHarness, command: list[str]) -> None:
    operator.begin("run-1")
    operator.file.write_text(operator.file.read_text().replace("region: us-east-1", "region: eu-west-1"))
    assert f"check that stack {operator.name}-hub is deployed in eu-west-1" in error_of(operator, command)


@pytest.mark.parametrize("command", OF_A_RUN, ids=named)
def test_an_unknown_run_is_reported(operator: OperatorHarness, command: list[str]) -> None:
    error = error_of(operator, command)
    assert f"error: no run run-1 in federation {operator.name}; `fedsilo run list` lists the runs" in error


@pytest.mark.parametrize("command", [["run", "show"], ["run", "watch"], ["run", "abort"]], ids=named)
def test_a_federation_without_runs_is_reported(operator: OperatorHarness, command: list[str]) -> None:
    assert "has no run yet; start one: fedsilo run start WORKLOAD" in error_of(operator, command)


def test_an_invalid_run_id_is_a_usage_error(operator: OperatorHarness) -> None:
    for run_id in ("../x", "Run", "a" * 41, "\x1b[2J"):
        result = operator.run("run", "show", run_id)
        assert result.exit_code == 2
        assert "is not a run id" in result.stderr
        assert "\x1b" not in result.stderr


@pytest.mark.parametrize("command", [*ASKING_AWS, ["doctor"]], ids=named)
def test_a_missing_or_invalid_federation_file_is_reported(operator: OperatorHarness, command: list[str]) -> None:
    operator.file.unlink()
    result = operator.run(*command)
    assert result.exit_code == 1
    assert "federation.yaml: No such file or directory; name the federation's file" in result.output
    operator.file.write_text("name: [UPPER]\naggregator: {region: moon-1, vpc_cidr: 10.0.0.0/16}\nsilos: []\n")
    result = operator.run(*command)
    assert result.exit_code == 1
    assert "aggregator.region: moon-1 should be a Region" in result.output


def test_an_unreachable_aws_is_reported_within_seconds(operator: OperatorHarness) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        before = time.monotonic()
        assert "AWS could not be reached" in error_of(operator, ["silo", "list"], AWS_ENDPOINT_URL=url)
        assert time.monotonic() - before < 15


def test_the_environment_can_name_the_federation_file(operator: OperatorHarness) -> None:
    environment = {"FEDSILO_FEDERATION_FILE": str(operator.file)}
    (operator.folder / "elsewhere").mkdir()
    os.chdir(operator.folder / "elsewhere")
    result = CliRunner().invoke(app, ["spec", "check"], env=environment)
    assert result.exit_code == 0
    assert operator.name in result.stdout


def test_a_denied_call_names_the_call_and_the_policy(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers "denied" for an object that exists, and for a missing one to a caller who may not list."""

    operator.begin("run-1")
    real = MailBucket.__init__

    def denied(self: MailBucket, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)

        def get_object(**_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {}}, "GetObject")  # type: ignore[typeddict-item]

        self.s3.get_object = get_object  # type: ignore[method-assign,assignment]

    monkeypatch.setattr(MailBucket, "__init__", denied)
    assert f"may not read {operator.bucket}/runs/run-1/run.json" in error_of(operator, ["run", "show", "run-1"])
    assert "no run run-2" in error_of(operator, ["run", "show", "run-2"])
