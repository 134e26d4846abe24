"""Whatever a party writes below its own prefix, no command breaks, and no terminal acts on it."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedsilo import names
from fedsilo.admin.logs import LogFollower
from fedsilo.admin.progress import ProgressLines, RunProgress
from fedsilo.cli import run as run_commands
from fedsilo.cli import run_views
from fedsilo.config.run import Run, plan
from fedsilo.keys import RunKeys, agent_key
from fedsilo.ledger import reader
from fedsilo.ledger.reader import _lines
from fedsilo.ledger.record import Record
from fedsilo.ledger.schema import AgentStatus, Status
from fedsilo.report.result import RunResult
from fedsilo.states import TERMINAL
from fedsilo.text import plain
from tests.support.operator_harness import SILOS, OperatorHarness

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\x\x9b31m\r\b\x7f\u202egnp\u2066\u200b\ud800\x00\n"
    "[bold red]b[/] [/] [link=x]y :boom: \\"
)
ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may act on, but the end of a line."""

TEXT = st.text(max_size=8) | st.just(HOSTILE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([*TERMINAL, "TRAINING", "WAITING", HOSTILE]) | JSON,
        **dict.fromkeys(("round", "rounds", "reason", "version", "experiment", "parameters", "started"), JSON),
        "finished": st.sampled_from(["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]) | JSON,
        "answered": st.lists(st.sampled_from(SILOS)) | JSON,
        "present": st.lists(st.sampled_from(SILOS)) | JSON,
        "refused": st.dictionaries(st.sampled_from(SILOS), TEXT) | JSON,
        "metrics": st.dictionaries(st.sampled_from(["Test:AUC", HOSTILE]), JSON) | JSON,
        "parameters": st.dictionaries(st.just("train data size"), JSON) | JSON,
    },
)
LINES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["event", "metric", "span"]),
            "name": st.sampled_from(["opened", "Test:AUC"]) | JSON,
            **dict.fromkeys(("round", "time", "value", "silo", "text"), JSON),
        },
    )
    | JSON,
    max_size=5,
)
BROKEN = st.sampled_from(
    [b"", b"\xff\xfe", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"9" * 5000, b'{"round": ' + b"9" * 5000 + b"}"]
)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


BODIES = st.builds(dumped, STATUSES) | st.builds(dumped, JSON) | BROKEN
LEDGERS = st.builds(lambda lines: b"\n".join(map(dumped, lines)), LINES) | BROKEN


def assert_harmless(output: str) -> None:
    assert not ACTS.search(output), repr(output)
    assert "Traceback" not in output


@settings(max_examples=100, deadline=None)
@given(st.text())
@example(HOSTILE)
def test_plain_text_is_harmless_and_one_line(text: str) -> None:
    shown = plain(text, 20)
    assert not ACTS.search(shown)
    assert "\n" not in shown
    assert len(shown) <= 20
    assert plain("Grüße, 世界 [ok]") == "Grüße, 世界 [ok]"


@settings(max_examples=100, deadline=None)
@given(BODIES)
def test_no_status_breaks_its_reader(body: bytes) -> None:
    from datetime import UTC, datetime

    told = json.dumps([Status.of(body, 1.0).to_json(), AgentStatus.of("x", body, datetime.now(UTC), 1.0).to_json()])
    assert_harmless(told)
    json.loads(told, parse_constant=lambda name: 1 / 0)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 120), st.lists(st.integers(1, 60), max_size=6))
def test_a_log_that_grows_is_shown_once_and_whole(log: bytes, kept: int, steps: list[int]) -> None:
    """As long as less than what is kept comes at a time."""
    follower, end, shown = LogFollower(), 0, list[str]()
    for step in steps:
        end = min(end + step, len(log))
        shown += follower.new_lines(log[:end], last=False)
    shown += follower.new_lines(log, last=True)
    expected = list(LogFollower().new_lines(log, last=True))
    # A character that a step cuts in two, or \r\n, is shown as two.
    assert "".join(shown).replace("�", "")[: len(expected)] == "".join(expected).replace("�", "")[: len(expected)]


def test_a_log_whose_beginning_is_cut_off_is_shown_once() -> None:
    lines = [f"{number} {'x' * (number % 37)}\n" for number in range(2000)]
    follower, shown = LogFollower(), list[str]()
    for end in range(0, 2001, 40):
        shown += follower.new_lines("".join(lines[max(0, end - 100) : end]).encode()[3:], last=False)
    assert [line.split()[0] for line in shown] == [str(number) for number in range(1, 2000)]


@pytest.fixture(scope="module")
def operator(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> OperatorHarness:
    operator = OperatorHarness(tmp_path_factory.mktemp("operator"))
    operator.begin("run-1", rounds=2)
    return operator


def run_of(name: str) -> Run:
    return plan(name, "heart_disease", SILOS, overrides={}, run_id="run-1", rounds=2)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(aggregator=BODIES, silo=BODIES, agent=BODIES, lines=LEDGERS)
def test_no_ledger_breaks_a_view(aggregator: bytes, silo: bytes, agent: bytes, lines: bytes) -> None:
    run, screen = run_of("fuzz"), StringIO()
    words = {party: Status() for party in run.parties}
    story = RunProgress(run, words | {names.AGGREGATOR: Status.of(aggregator, 1.0), "hungary": Status.of(silo, 1e9)})
    read = {party: _lines(party, lines, 9) for party in (names.AGGREGATOR, "hungary")}
    told_of = Record(
        run,
        {names.AGGREGATOR: Status.of(aggregator), "hungary": Status.of(silo)},
        {party: found for party, (found, _) in read.items()},
    )
    result = RunResult.of(told_of)
    for console in (Console(file=screen, width=200), Console(file=screen, width=30)):
        console.print(story.table())
        console.print(result.table())
    told = [story.line(), *ProgressLines().news(story), screen.getvalue()]
    told += [json.dumps(value, allow_nan=False) for value in (run_views.progress_to_json(story), result.to_json())]
    assert_harmless("\n".join(told))


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


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(aggregator=ENDED, silo=BODIES, lines=LEDGERS, others=LEDGERS)
@example(dumped(WORST | {"state": "FAILED"}), dumped(WORST), b"[" * 100_000, dumped(HOSTILE))
def test_no_ledger_breaks_show_watch_and_report(
    operator: OperatorHarness, aggregator: bytes, silo: bytes, lines: bytes, others: bytes
) -> None:
    """With what the parties wrote read from S3; the silos can't keep a watch from ending."""
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
    told = json.loads((out / "result.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert told["test_auc"] is None or 0 <= told["test_auc"] <= 1
    assert_harmless((out / "report.html").read_text())


def test_a_ledger_of_any_size_is_read_up_to_a_limit(operator: OperatorHarness) -> None:
    """A million lines, one line of megabytes, a nested one, and between them one that tells something."""
    metric = {"kind": "metric", "name": "Test:AUC", "value": 0.75, "step": 1, "time": 1.8e9}
    good = dumped(metric)
    keys = RunKeys("run-1")
    odd = [dumped(metric | {"text": "x" * 10**6}), b"[" * 60_000, b'{"a":' * 10_000, dumped(metric | {"value": 5.0})]
    operator.put(keys.metrics(names.AGGREGATOR), b"\n".join([*odd, good]))
    operator.put(keys.metrics("hungary"), good + b"\n{}" * 10**6)
    operator.put(keys.metrics("cleveland"), good + b"\n" + b" " * (reader.SILO_METRICS_BYTES + 2**20))
    found = operator.reader.record(run_of(operator.name))
    assert found.metric("Test:AUC") == 0.75
    assert {party: len(lines) for party, lines in found.lines.items()} == {
        "aggregator": 1,
        "cleveland": 1,
        "hungary": 1,
    }
    most = reader.SILO_METRICS_BYTES // reader.SHORT_LINE
    assert found.left_out == len(odd) + most - 1 + 1 + 1  # of hungary's, those beyond it as one; of cleveland's, one


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 100_000, b"\xff\xfe", dumped([]), dumped({"run": "bad-1", "workload": HOSTILE, HOSTILE: 1})],
    ids=["empty", "deep", "binary", "list", "hostile"],
)
def test_a_run_json_that_makes_no_sense_is_named_and_hides_no_other(endpoint: str, tmp_path: Path, body: bytes) -> None:
    operator = OperatorHarness(tmp_path)
    operator.begin("run-1")
    operator.begin("bad-1")
    operator.put("runs/bad-1/run.json", body)
    assert {"run-1", "bad-1"} <= {run["run"] for run in operator.json("run", "list")}
    shown = operator.run("run", "show", "bad-1")
    assert shown.exit_code == 1
    assert f"error: {operator.bucket}/runs/bad-1/run.json: " in shown.stderr
    assert_harmless(shown.stderr)


def test_objects_of_any_size_are_read_up_to_a_limit(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "STATUS_BYTES", 100)
    monkeypatch.setattr(reader, "LOG_BYTES", 10)
    operator.put("runs/run-1/hungary/status.json", dumped({"state": "TRAINING", "reason": "x" * 100}))
    operator.put("runs/run-1/hungary/log.txt", b"0123456789abcdef\n")
    assert operator.json("run", "show")["parties"]["hungary"]["state"] == "UNKNOWN"
    assert operator.run("run", "logs", "hungary").stdout == "789abcdef\n"


def test_the_fuzz_would_notice(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        assert_harmless("a\x1b[2Jb")
    with pytest.raises(AssertionError):
        assert_harmless("a\u202eb")
