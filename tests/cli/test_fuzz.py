"""No command fails, and no terminal acts on the output, whatever a party writes below its own prefix."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedsilo import names
from fedsilo.admin.progress import ProgressLines, RunProgress
from fedsilo.cli import run as run_commands
from fedsilo.cli import run_views
from fedsilo.config.run import Run, plan
from fedsilo.keys import RunKeys, agent_key
from fedsilo.ledger.reader import _lines
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import Status
from fedsilo.report.result import RunResult
from fedsilo.text import plain
from tests.support.hostile import ACTS, BODIES, HOSTILE, LEDGERS, STATUSES, assert_harmless, dumped
from tests.support.operator_harness import SILOS, OperatorHarness


@settings(max_examples=100)
@given(st.text())
@example(HOSTILE)
def test_plain_text_is_harmless_and_one_line(text: str) -> None:
    shown = plain(text, 20)
    assert not ACTS.search(shown)
    assert "\n" not in shown
    assert len(shown) <= 20
    assert plain("Grüße, 世界 [ok]") == "Grüße, 世界 [ok]"


@pytest.fixture(scope="module")
def operator(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> OperatorHarness:
    operator = OperatorHarness(tmp_path_factory.mktemp("operator"))
    operator.begin("run-1", rounds=2)
    return operator


def planned_run(name: str) -> Run:
    return plan(name, "heart_disease", SILOS, overrides={}, run_id="run-1", rounds=2)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(aggregator=BODIES, silo=BODIES, agent=BODIES, lines=LEDGERS)
def test_no_ledger_breaks_a_view(aggregator: bytes, silo: bytes, agent: bytes, lines: bytes) -> None:
    run, screen = planned_run("fuzz"), StringIO()
    statuses = {party: Status() for party in run.parties}
    progress = RunProgress(
        run, statuses | {names.AGGREGATOR: Status.of(aggregator, 1.0), "hungary": Status.of(silo, 1e9)}
    )
    read = {party: _lines(run, party, lines, 9) for party in (names.AGGREGATOR, "hungary")}
    record = Record(
        run,
        {names.AGGREGATOR: Status.of(aggregator), "hungary": Status.of(silo)},
        {party: found for party, (found, _) in read.items()},
    )
    result = RunResult.of(record)
    for console in (Console(file=screen, width=200), Console(file=screen, width=30)):
        console.print(progress.table())
        console.print(result.table())
    printed = [progress.line(), *ProgressLines().news(progress), screen.getvalue()]
    printed += [
        json.dumps(value, allow_nan=False) for value in (run_views.progress_to_json(progress), result.to_json())
    ]
    assert_harmless("\n".join(printed))


WORST = {"state": HOSTILE, "reason": HOSTILE, "version": HOSTILE, "launcher": HOSTILE, "run": HOSTILE}


@pytest.mark.parametrize(
    ("aggregator", "other", "lines", "log"),
    [
        (
            WORST | {"metrics": {HOSTILE: 1}, "refused": {"hungary": HOSTILE}},
            WORST | {"state": "FAILED", "queued": [HOSTILE]},
            {"kind": "metric", "name": "Test:AUC", "value": 10**400},
            HOSTILE.encode("utf-8", "surrogatepass"),
        ),
        ({"state": "FAILED", "reason": HOSTILE, "round": 1e300, "answered": [[HOSTILE]]}, [], HOSTILE, b"\xff"),
    ],
    ids=["hostile", "odd"],
)
def test_no_ledger_breaks_a_command(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch, aggregator: Any, other: Any, lines: Any, log: bytes
) -> None:
    monkeypatch.setattr(run_commands, "ABORT_SECONDS", 0.0)
    monkeypatch.setattr(run_commands, "POLL_SECONDS", 0.0)
    keys = RunKeys("run-1")
    operator.put(keys.status(names.AGGREGATOR), dumped(aggregator))
    operator.put(keys.status("hungary"), dumped(other))
    operator.put(keys.metrics(names.AGGREGATOR), dumped(lines))
    operator.put(keys.log("hungary"), log)
    operator.put(agent_key("hungary"), dumped(other))
    for command in (
        ["run", "list"], ["run", "show"], ["run", "show", "--json"], ["run", "logs", "hungary"], ["silo", "list"],
        ["doctor"], ["run", "abort"], ["run", "report", "--out", str(operator.folder / "report")],
        *([["run", "watch"]] if aggregator["state"] == "FAILED" else []),
    ):  # fmt: skip
        result = operator.run(*command)
        assert result.exit_code in (0, 1, 3)
        assert result.stdout
        assert_harmless(result.stdout)
        assert_harmless(result.stderr)
    json.loads((operator.folder / "report" / "result.json").read_text(), parse_constant=lambda name: 1 / 0)


ENDED = st.builds(lambda status: dumped({**status, "state": "FAILED"}), STATUSES)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(aggregator=ENDED, silo=BODIES, lines=LEDGERS, others=LEDGERS)
@example(dumped(WORST | {"state": "FAILED"}), dumped(WORST), b"[" * 100_000, dumped(HOSTILE))
def test_no_ledger_breaks_show_watch_and_report(
    operator: OperatorHarness, aggregator: bytes, silo: bytes, lines: bytes, others: bytes
) -> None:
    """The same, read from S3. The silos can not keep a watch from ending."""
    keys, out = RunKeys("run-1"), operator.folder / "fuzzed"
    for key, body in (
        (keys.status(names.AGGREGATOR), aggregator), (keys.metrics(names.AGGREGATOR), lines),
        (keys.status("hungary"), silo), (keys.metrics("hungary"), others),
    ):  # fmt: skip
        operator.put(key, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsilo.admin.watch.GRACE_SECONDS", 0.0)
        patch.setattr(run_commands, "POLL_SECONDS", 0.0)
        for command, code in ((["show"], 0), (["watch"], 3), (["report", "--out", str(out)], 0)):
            result = operator.run("run", *command)
            assert result.exit_code == code
            assert_harmless(result.stdout + result.stderr)
    printed = json.loads((out / "result.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert printed["test_auc"] is None or 0 <= printed["test_auc"] <= 1
    assert_harmless((out / "report.html").read_text())


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 100_000, b"\xff\xfe", dumped([]), dumped({"run": "bad-1", "workload": HOSTILE, HOSTILE: 1})],
    ids=["empty", "deep", "binary", "list", "hostile"],
)
def test_an_invalid_run_json_is_named_and_hides_no_other_run(endpoint: str, tmp_path: Path, body: bytes) -> None:
    operator = OperatorHarness(tmp_path)
    operator.begin("run-1")
    operator.begin("bad-1")
    operator.put("runs/bad-1/run.json", body)
    assert {"run-1", "bad-1"} <= {run["run"] for run in operator.json("run", "list")}
    shown = operator.run("run", "show", "bad-1")
    assert shown.exit_code == 1
    assert f"error: {operator.bucket}/runs/bad-1/run.json: " in shown.stderr
    assert_harmless(shown.stderr)


def test_the_fuzz_notices_what_a_terminal_acts_on() -> None:
    with pytest.raises(AssertionError):
        assert_harmless("a\x1b[2Jb")
    with pytest.raises(AssertionError):
        assert_harmless("a\u202eb")
