"""The ``fedsilo`` command as a whole: help, exit codes, errors in words, the doctor, the silos, completion."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedsilo import __version__, names
from fedsilo.admin import doctor
from fedsilo.cli.main import app
from fedsilo.keys import agent_key
from fedsilo.ledger import schema
from tests.support.operator_harness import SILOS, Desk

COMMANDS = [
    [], ["demo"], ["doctor"], ["completion"], ["cost"], ["run"], ["model"], ["silo"], ["spec"],
    *(["run", verb] for verb in ("start", "list", "show", "watch", "logs", "abort", "report")),
    ["model", "download"], ["silo", "list"], ["spec", "check"],
]  # fmt: skip

ASKING = [
    ["run", "start", "heart_disease"], ["run", "list"], ["run", "show"], ["run", "show", "run-1"],
    ["run", "watch", "run-1"], ["run", "logs", "hungary", "run-1"], ["run", "logs", "hungary", "run-1", "-f"],
    ["run", "abort", "run-1"], ["run", "report", "run-1"], ["model", "download", "run-1"], ["silo", "list"],
]  # fmt: skip
"""Every command that asks AWS, but the doctor."""

OF_A_RUN = [command for command in ASKING if command[-1] == "run-1" or "-f" in command]


def named(command: list[str]) -> str:
    return " ".join(command) or "fedsilo"


@pytest.fixture
def desk(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


def error_of(desk: Desk, command: list[str], **environment: str | None) -> str:
    """The one error that the command ends with, on standard error alone."""
    result = desk.run(*command, environment=environment or None)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.output
    assert list(desk.folder.glob("*.safetensors*")) == []
    return result.stderr


# --- help


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="fedsilo")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: fedsilo {' '.join(command)}".rstrip())
    sentences = [line.strip() for line in result.stdout.splitlines()[2:] if line.strip()]
    assert len(sentences[0]) > 15
    if command in COMMANDS[9:]:
        assert "--federation FILE" in result.stdout
        assert "3 the run failed, was" in result.stdout


@pytest.mark.parametrize("command", COMMANDS[:1] + COMMANDS[5:9], ids=named)
def test_a_noun_alone_shows_its_verbs(command: list[str]) -> None:
    result = CliRunner().invoke(app, command, prog_name="fedsilo")
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from fedsilo.cli.main import app\n"
        "from typer.testing import CliRunner; assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('boto3', 'botocore', 'pydantic', 'yaml', 'rich.table', 'torch', 'fedml')"
        " if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["fly"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "list", "--fast"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "list", "--limit", "0"]).exit_code == 2


# --- errors


@pytest.mark.parametrize("command", ASKING, ids=named)
def test_no_credentials(desk: Desk, command: list[str]) -> None:
    error = error_of(desk, command, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert "the operator found no AWS credentials to" in error
    assert "set AWS_PROFILE" in error


def test_credentials_that_are_not_complete_or_not_there(desk: Desk) -> None:
    assert "no valid AWS credentials" in error_of(desk, ["run", "list"], AWS_SECRET_ACCESS_KEY=None)
    assert "could not be found" in error_of(desk, ["run", "list"], AWS_PROFILE="nobody")


@pytest.mark.parametrize("command", ASKING, ids=named)
def test_hub_not_deployed(endpoint: str, tmp_path: Path, command: list[str]) -> None:
    desk = Desk(tmp_path, deployed=False)
    error = error_of(desk, command)
    assert error.startswith("error: not found: ")
    assert f"check that stack {desk.name}-hub is deployed in us-east-1" in error


@pytest.mark.parametrize("command", ASKING, ids=named)
def test_wrong_region(desk: Desk, command: list[str]) -> None:
    desk.begin("run-1")
    desk.file.write_text(desk.file.read_text().replace("region: us-east-1", "region: eu-west-1"))
    assert f"check that stack {desk.name}-hub is deployed in eu-west-1" in error_of(desk, command)


@pytest.mark.parametrize("command", OF_A_RUN, ids=named)
def test_no_such_run(desk: Desk, command: list[str]) -> None:
    error = error_of(desk, command)
    assert f"error: no run run-1 in federation {desk.name}; `fedsilo run list` shows those there are" in error


@pytest.mark.parametrize("command", [["run", "show"], ["run", "watch"], ["run", "abort"]], ids=named)
def test_no_run_at_all(desk: Desk, command: list[str]) -> None:
    assert "has no run yet; start one: fedsilo run start WORKLOAD" in error_of(desk, command)


def test_an_id_that_can_not_be_one_is_a_usage_error(desk: Desk) -> None:
    for run_id in ("../x", "Run", "a" * 41, "\x1b[2J"):
        result = desk.run("run", "show", run_id)
        assert result.exit_code == 2
        assert "is not a run's id" in result.stderr
        assert "\x1b" not in result.stderr


@pytest.mark.parametrize("command", [*ASKING, ["doctor"]], ids=named)
def test_a_file_that_is_not_there_or_not_valid(desk: Desk, command: list[str]) -> None:
    desk.file.unlink()
    result = desk.run(*command)
    assert result.exit_code == 1
    assert "federation.yaml: No such file or directory; name the federation's file" in result.output
    desk.file.write_text("name: [UPPER]\naggregator: {region: moon-1, vpc_cidr: 10.0.0.0/16}\nsilos: []\n")
    result = desk.run(*command)
    assert result.exit_code == 1
    assert "aggregator.region: moon-1 should be a Region" in result.output


def test_an_aws_that_is_not_there_is_said_within_seconds(desk: Desk) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        before = time.monotonic()
        assert "AWS could not be reached" in error_of(desk, ["silo", "list"], AWS_ENDPOINT_URL=url)
        assert time.monotonic() - before < 15


def test_the_file_may_be_named_by_the_environment(desk: Desk) -> None:
    environment = {"FEDSILO_FEDERATION_FILE": str(desk.file)}
    (desk.folder / "elsewhere").mkdir()
    os.chdir(desk.folder / "elsewhere")
    result = CliRunner().invoke(app, ["spec", "check"], env=environment)
    assert result.exit_code == 0
    assert desk.name in result.stdout


def test_a_denied_call_names_the_call_and_the_policy(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers "denied" of an object that is there, and of one that is not to who may not list it."""
    from botocore.exceptions import ClientError

    from fedsilo.ledger.objects import MailBucket

    desk.begin("run-1")
    real = MailBucket.__init__

    def denied(self: MailBucket, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)

        def get_object(**_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {}}, "GetObject")  # type: ignore[typeddict-item]

        self.s3.get_object = get_object  # type: ignore[method-assign,assignment]

    monkeypatch.setattr(MailBucket, "__init__", denied)
    assert f"may not read {desk.bucket}/runs/run-1/run.json" in error_of(desk, ["run", "show", "run-1"])
    assert "no run run-2" in error_of(desk, ["run", "show", "run-2"])


# --- silos, spec, completion


def test_silo_list_tells_who_is_there(desk: Desk) -> None:
    desk.agent("aggregator", state="BUSY", run="run-1", queued=["run-2"], launcher="kubernetes")
    desk.agent("hungary", version="0.0.9")
    desk.put(agent_key("long-beach"), "not JSON \x1b[2J")
    told = {agent["party"]: agent for agent in desk.json("silo", "list")}
    assert list(told) == ["aggregator", *SILOS]
    assert told["aggregator"]["silent_seconds"] <= 5
    assert (told["aggregator"]["run"], told["aggregator"]["queued"]) == ("run-1", ["run-2"])
    assert (told["cleveland"]["seen"], told["cleveland"]["silent"]) == (None, True)
    rows = {line.split()[0]: line.split() for line in desk.run("silo", "list").stdout.splitlines()}
    assert rows["aggregator"][1:6] == ["BUSY", "run-1", "1", __version__, "kubernetes"]
    assert rows["cleveland"][1:3] == ["away", "-"]
    assert "never" in rows["cleveland"]
    assert rows["hungary"][1:5] == ["IDLE", "-", "-", "0.0.9"]
    assert rows["long-beach"][1] == "UNKNOWN"


def test_an_agent_that_is_silent_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.agent("hungary")
    monkeypatch.setattr(schema, "AGENT_SILENT_SECONDS", -1.0)
    told = desk.json("silo", "list")[2]
    assert (told["party"], told["state"], told["silent"]) == ("hungary", "IDLE", True)


def test_spec_check_needs_no_aws(desk: Desk) -> None:
    told = desk.json("spec", "check")
    assert (told["ok"], told["federation"], told["silos"]) == (True, desk.name, list(SILOS))
    assert "ok: federation" in desk.run("spec", "check", environment={"AWS_ACCESS_KEY_ID": None}).stdout
    desk.file.write_text(desk.file.read_text().replace("10.1.0.0/16", "10.0.0.0/16") + "colour: red\n")
    result = desk.run("spec", "check")
    assert result.exit_code == 1
    assert "overlaps aggregator.vpc_cidr" in result.stderr
    assert "colour: unknown key" in result.stderr
    result = desk.run("spec", "check", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["ok"], len(told["problems"])) == (False, 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell], prog_name="fedsilo")
    assert result.exit_code == 0
    assert f"_FEDSILO_COMPLETE=complete_{shell}" in result.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fedsilo run ", {"start", "list", "show", "watch", "logs", "abort", "report"}),
        ("fedsilo run logs h", {"hungary"}),
        ("fedsilo run start heart", {"heart_disease"}),
    ],
)
def test_bash_completes(desk: Desk, line: str, expected: set[str]) -> None:
    environment = os.environ | {
        "_FEDSILO_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "FEDSILO_FEDERATION_FILE": str(desk.file),
    }
    done = subprocess.run([sys.executable, "-m", "fedsilo"], env=environment, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected, done.stderr


# --- the doctor


def verdicts(desk: Desk, *arguments: str) -> dict[str, tuple[str, str]]:
    result = desk.run("doctor", "--json", *arguments)
    found = json.loads(result.stdout)
    assert all(set(check) == {"name", "verdict", "found", "todo"} for check in found)
    assert result.exit_code == (1 if any(check["verdict"] == "not ok" for check in found) else 0)
    return {check["name"]: (check["verdict"], f"{check['found']}; {check['todo']}") for check in found}


def test_doctor_of_a_healthy_federation(desk: Desk) -> None:
    desk.agents()
    desk.begin("run-1")
    before = desk.s3.head_object(Bucket=desk.bucket, Key="runs/run-1/run.json")
    told = verdicts(desk)
    assert {verdict for verdict, _ in told.values()} == {"ok"}
    assert list(told) == [
        "file", "credentials", "clock", "account", "mail bucket", "write runs", "queues",
        *(f"agent {party}" for party in ("aggregator", *SILOS)),
    ]  # fmt: skip
    after = desk.s3.head_object(Bucket=desk.bucket, Key="runs/run-1/run.json")
    assert (before["ETag"], before["LastModified"]) == (after["ETag"], after["LastModified"])
    assert all(line.split("  ")[0] for line in desk.run("doctor").stdout.splitlines())


def test_doctor_says_what_to_do(desk: Desk) -> None:
    desk.agent("aggregator")
    desk.agent("hungary", version="0.0.9")
    desk.start()
    url = desk.sqs.get_queue_url(QueueName=names.dead_letter_queue(desk.name, "hungary"))["QueueUrl"]
    desk.sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="x", MessageDeduplicationId="x")
    told = verdicts(desk)
    assert told["requests"][0] == "look"
    assert "1 for hungary; read them in" in told["dead letters"][1]
    assert told["agent hungary"][0] == "look"
    assert "version 0.0.9, and this command is" in told["agent hungary"][1]
    assert told["agent cleveland"][0] == "not ok"
    assert f"heard of never; look at its pod; stack {desk.name}-cleveland-workload" in told["agent cleveland"][1]
    plain = desk.run("doctor")
    assert plain.exit_code == 1
    rows = [" ".join(line.split()) for line in plain.stdout.splitlines()]
    stack = f"{desk.name}-cleveland-workload"
    assert f"agent cleveland not ok heard of never; look at its pod; stack {stack}" in rows


def test_doctor_stops_where_one_thing_needs_another(endpoint: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path, deployed=False)
    told = verdicts(desk)
    assert told["mail bucket"][0] == told["queues"][0] == "not ok"
    assert f"check that stack {desk.name}-hub is deployed" in told["mail bucket"][1]
    result = desk.run("doctor", environment={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["check", "file", "credentials"]
    text = desk.file.read_text().replace("aggregator:", "aggregator:\n  account: '111111111111'")
    for silo in SILOS:
        text = text.replace(f"name: {silo}", f"name: {silo}\n  account: '111111111111'")
    desk.file.write_text(text)
    told = verdicts(desk)
    assert told["account"][0] == "not ok"
    assert "of account 123456789012, and the hub is in 111111111111" in told["account"][1]
    assert "mail bucket" not in told


def test_doctor_notices_that_runs_can_not_be_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedsilo.admin.client import HubClient

    desk.begin("run-1")
    monkeypatch.setattr(HubClient, "may_write_runs", lambda self, run: False)
    told = verdicts(desk)
    assert told["write runs"] == ("not ok", f"denied; attach the policy {desk.name}-operator to the operator's role")


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (-29, "ok"), (120, "look"), (-120, "look"), (600, "not ok"), (-600, "not ok")]
)
def test_doctor_compares_the_clock_with_aws(seconds: int, verdict: str) -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    check = doctor._clock(format_datetime(now + timedelta(seconds=seconds), usegmt=True), now)
    assert check.verdict == verdict
    if seconds:
        assert ("behind" if seconds > 0 else "ahead of") in check.found
    assert doctor._clock("soon", now).verdict == "look"
