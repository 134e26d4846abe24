"""``fedsilo doctor``: its checks, their order, and what it says to do."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fedsilo import names
from fedsilo.admin import doctor
from fedsilo.admin.client import HubClient
from fedsilo.keys import waiting_agent_key
from tests.support.operator_harness import SILOS, OperatorHarness


def verdicts(operator: OperatorHarness, *arguments: str) -> dict[str, tuple[str, str]]:
    result = operator.run("doctor", "--json", *arguments)
    found = json.loads(result.stdout)
    assert all(set(check) == {"name", "verdict", "found", "todo"} for check in found)
    assert result.exit_code == (1 if any(check["verdict"] == "fail" for check in found) else 0)
    return {check["name"]: (check["verdict"], f"{check['found']}; {check['todo']}") for check in found}


def test_doctor_finds_a_healthy_federation_ok(operator: OperatorHarness) -> None:
    operator.agents()
    operator.begin("run-1")
    before = operator.s3.head_object(Bucket=operator.bucket, Key="runs/run-1/run.json")
    told = verdicts(operator)
    assert {verdict for verdict, _ in told.values()} == {"ok"}
    assert list(told) == [
        "file", "credentials", "clock", "account", "mail bucket", "write runs", "queues",
        *(f"agent {party}" for party in ("aggregator", *SILOS)),
    ]  # fmt: skip
    after = operator.s3.head_object(Bucket=operator.bucket, Key="runs/run-1/run.json")
    assert (before["ETag"], before["LastModified"]) == (after["ETag"], after["LastModified"])
    assert all(line.split("  ")[0] for line in operator.run("doctor").stdout.splitlines())


def test_doctor_warns_of_a_second_agent(operator: OperatorHarness) -> None:
    operator.agents()
    operator.agent("hungary", instance="first", host="ward-1")
    operator.put(waiting_agent_key("hungary"), json.dumps({"instance": "second", "host": "ward-2", "state": "WAITING"}))
    verdict, told = verdicts(operator)["agent hungary"]
    assert verdict == "warn"
    assert told.startswith("at work on ward-1, and a second one waits on ward-2; stop one of them")


def test_doctor_says_what_to_do(operator: OperatorHarness) -> None:
    operator.agent("aggregator")
    operator.agent("hungary", version="0.0.9")
    operator.start()
    url = operator.sqs.get_queue_url(QueueName=names.dead_letter_queue(operator.name, "hungary"))["QueueUrl"]
    operator.sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="x", MessageDeduplicationId="x")
    told = verdicts(operator)
    assert told["requests"][0] == "warn"
    assert "1 for hungary; read them in" in told["dead letters"][1]
    assert told["agent hungary"][0] == "warn"
    assert "version 0.0.9, and this command is" in told["agent hungary"][1]
    assert told["agent cleveland"][0] == "fail"
    stack = f"{operator.name}-cleveland-workload"
    assert f"last heartbeat never; look at its pod; stack {stack}" in told["agent cleveland"][1]
    plain = operator.run("doctor")
    assert plain.exit_code == 1
    rows = [" ".join(line.split()) for line in plain.stdout.splitlines()]
    assert f"agent cleveland fail last heartbeat never; look at its pod; stack {stack}" in rows


def test_doctor_skips_checks_that_need_a_failed_one(endpoint: str, tmp_path: Path) -> None:
    operator = OperatorHarness(tmp_path, deployed=False)
    told = verdicts(operator)
    assert told["mail bucket"][0] == told["queues"][0] == "fail"
    assert f"check that stack {operator.name}-hub is deployed" in told["mail bucket"][1]
    result = operator.run("doctor", environment={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["check", "file", "credentials"]
    text = operator.file.read_text().replace("aggregator:", "aggregator:\n  account: '111111111111'")
    for silo in SILOS:
        text = text.replace(f"name: {silo}", f"name: {silo}\n  account: '111111111111'")
    operator.file.write_text(text)
    told = verdicts(operator)
    assert told["account"][0] == "fail"
    assert "of account 123456789012, and the hub is in 111111111111" in told["account"][1]
    assert "mail bucket" not in told


def test_doctor_reports_that_the_operator_may_not_write_runs(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.begin("run-1")
    monkeypatch.setattr(HubClient, "may_write_runs", lambda self, run: False)
    told = verdicts(operator)
    assert told["write runs"] == (
        "fail",
        f"denied; attach the policy {operator.name}-operator to the operator's role",
    )


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (-29, "ok"), (120, "warn"), (-120, "warn"), (600, "fail"), (-600, "fail")]
)
def test_doctor_compares_the_clock_with_aws(seconds: int, verdict: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    check = doctor._clock(format_datetime(now + timedelta(seconds=seconds), usegmt=True), now)
    assert check.verdict == verdict
    if seconds:
        assert ("behind" if seconds > 0 else "ahead of") in check.found
    assert doctor._clock("soon", now).verdict == "warn"
