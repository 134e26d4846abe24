"""``fedsilo run``: what it asks of the agents, what it shows, and how it ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fedsilo import names
from fedsilo.admin import watch
from fedsilo.cli import run as commands
from fedsilo.config.run import Run
from fedsilo.keys import RunKeys
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.objects import MailBucket
from tests.support.operator_harness import SILOS, Desk

PARTIES = (names.AGGREGATOR, *SILOS)


@pytest.fixture
def desk(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(commands, "POLL_SECONDS", 0.05)
    return Desk(tmp_path)


@contextmanager
def meanwhile(*steps: Callable[[], None], every: float = 0.15) -> Iterator[None]:
    """Play other parties while the block runs."""

    def play() -> None:
        for step in steps:
            time.sleep(every)
            step()

    player = threading.Thread(target=play)
    player.start()
    yield
    player.join()


# --- start


def test_start_writes_the_run_and_asks_every_party(desk: Desk) -> None:
    desk.agents()
    result = desk.run(
        "run", "start", "heart_disease", "--rounds", "7", "--set", "lr=0.5", "--silos", "cleveland,hungary"
    )
    assert result.exit_code == 0, result.output
    run_id = result.stdout.splitlines()[0]
    body = desk.s3.get_object(Bucket=desk.bucket, Key=f"runs/{run_id}/run.json")["Body"].read()
    run = Run.parse(body)
    assert (run.rounds, run.silos, run.quorum) == (7, ["cleveland", "hungary"], 2)
    assert run.hyperparameters["lr"] == 0.5
    assert len(run.hyperparameters) > 3  # all of them, not the chosen alone
    for party in ("aggregator", "cleveland", "hungary"):
        (request,) = desk.requests(party)
        assert request == {"action": "start", "run": run_id, "sha256": hashlib.sha256(body).hexdigest()}
    assert desk.requests("long-beach") == []
    assert "no agent" not in result.stdout
    assert f"fedsilo run watch {run_id}" in result.stdout


def test_start_says_whose_agent_is_away(desk: Desk) -> None:
    desk.agent("aggregator")
    desk.agent("hungary")
    assert desk.json("run", "start", "heart_disease")["away"] == ["cleveland", "long-beach"]
    told = desk.run("run", "start", "heart_disease").stdout
    assert "no agent heard of lately: cleveland, long-beach" in told


def test_start_with_an_id_can_be_repeated_and_never_overwrites(desk: Desk) -> None:
    desk.start("--rounds", "5", run_id="mine-1")
    before = desk.s3.get_object(Bucket=desk.bucket, Key="runs/mine-1/run.json")["Body"].read()
    for party in PARTIES:
        assert len(desk.requests(party)) == 1
        # What a start that was interrupted leaves out; SQS drops a repetition within five minutes.
        url = desk.sqs.get_queue_url(QueueName=names.control_queue(desk.name, party))["QueueUrl"]
        desk.sqs.delete_queue(QueueUrl=url)
        desk.sqs.create_queue(QueueName=names.control_queue(desk.name, party), Attributes={"FifoQueue": "true"})
    again = desk.run("run", "start", "heart_disease", "--rounds", "5", "--run-id", "mine-1")
    assert again.exit_code == 0, again.output
    assert "is there already; asked again" in again.stdout
    for party in PARTIES:
        (request,) = desk.requests(party)
        assert request["sha256"] == hashlib.sha256(before).hexdigest()

    other = desk.run("run", "start", "heart_disease", "--rounds", "6", "--set", "lr=0.7", "--run-id", "mine-1")
    assert other.exit_code == 1
    assert "run mine-1 exists already, with other settings" in other.stderr
    assert "rounds: 5 in the ledger, 6 requested" in other.stderr
    assert "hyperparameters.lr: 0.001 in the ledger, 0.7 requested" in other.stderr
    assert desk.requests("cleveland") == []
    assert desk.s3.get_object(Bucket=desk.bucket, Key="runs/mine-1/run.json")["Body"].read() == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["heart_disease", "--silos", "cleveland,nobody"], "--silos: 'nobody' not in the federation"),
        (["heart_disease", "--silos", "9"], "--silos: 9 is not between 1 and the federation's 3"),
        (["heart_disease", "--set", "lr"], "--set: 'lr' is not KEY=VALUE"),
        (["heart_disease", "--set", "lr=1", "--set", "lr=2"], "--set: lr is given twice"),
        (["heart_disease", "--set", "lr=fast"], "hyperparameters.lr: 'fast' is not of type float"),
        (["heart_disease", "--set", "speed=1"], 'unknown hyperparameter "speed" of heart_disease; it has '),
        (["heart_disease", "--quorum", "4"], "quorum: 4 is more than the 3 silos"),
        (["heart_disease", "--rounds", "0"], "rounds"),
        (["heart_disease", "--deadline", "0"], "deadline_seconds"),
        (["heart_disease", "--run-id", "No"], "run: String should match pattern"),
        (["cats"], "workload: 'cats' is not one of"),
        (["heart_disease", "--watch", "--json"], "--json: does not go with --watch"),
        ([], "Missing argument"),
    ],
)
def test_start_with_wrong_arguments_is_a_usage_error_and_starts_nothing(
    desk: Desk, arguments: list[str], problem: str
) -> None:
    result = desk.run("run", "start", *arguments)
    assert result.exit_code == 2, result.output
    assert problem in result.stderr
    assert "KeyCount" in (found := desk.s3.list_objects_v2(Bucket=desk.bucket))
    assert found["KeyCount"] == 0


def test_start_leaves_no_run_where_a_queue_is_missing(desk: Desk) -> None:
    url = desk.sqs.get_queue_url(QueueName=names.control_queue(desk.name, "hungary"))["QueueUrl"]
    desk.sqs.delete_queue(QueueUrl=url)
    result = desk.run("run", "start", "heart_disease")
    assert result.exit_code == 1
    assert f"find queue {desk.name}-hungary-control.fifo" in result.stderr
    assert desk.json("run", "list") == []


# --- list and show


def test_list_shows_the_newest_first_whatever_their_ids(desk: Desk) -> None:
    for run_id, created in (
        ("heart-20260101-100000-aa", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("zebra", datetime(2025, 1, 1, tzinfo=UTC)),
        ("apple", datetime(2026, 6, 1, tzinfo=UTC)),
        ("heart-20260301-100000-aa", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    ):
        desk.begin(run_id, created)
    desk.say("apple", "aggregator", state="FAILED", round=3, reason="no quorum", metrics={"Test:AUC": 0.5})
    found = desk.json("run", "list")
    assert [run["run"] for run in found] == ["apple", "heart-20260301-100000-aa", "heart-20260101-100000-aa", "zebra"]
    told = [found[0][key] for key in ("silos", "state", "round", "rounds", "reason")]
    assert told == [3, "FAILED", 3, 50, "no quorum"]
    assert found[0]["created"] == "2026-06-01T00:00:00.000Z"
    assert found[1]["state"] == "REQUESTED"
    assert [run["run"] for run in desk.json("run", "list", "--limit", "1")] == ["apple"]
    plain = desk.run("run", "list", "--limit", "3", environment={"TZ": "UTC"}).stdout
    assert plain.splitlines()[0].split() == [
        "run", "created", "workload", "silos", "state", "round", "AUC", "reason",
    ]  # fmt: skip
    assert plain.splitlines()[1].split() == [
        "apple", *datetime(2026, 6, 1, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z").split(),
        "heart_disease", "3", "FAILED", "3/50", "0.500", "no", "quorum",
    ]  # fmt: skip
    assert "there are older ones" in plain
    assert "there are older ones" not in desk.run("run", "list", "--all").stdout
    assert json.loads(desk.run("run", "show", "--json").stdout)["run"]["run"] == "apple"  # the newest, by default


def test_list_of_nothing_says_how_to_start(desk: Desk) -> None:
    assert desk.json("run", "list") == []
    assert "no run yet; start one: fedsilo run start WORKLOAD" in desk.run("run", "list").stdout


def test_a_party_can_not_make_up_a_run(desk: Desk) -> None:
    desk.begin("real-20260101-100000-aa", datetime(2026, 1, 1, 10, tzinfo=UTC))
    for made_up in ("fake-29990101-100000-aa", "fake", "\x1b[2J", "UPPER"):
        desk.put(f"runs/{made_up}/cleveland/status.json", '{"state": "FINISHED"}')
    for odd in ("index/x", "index/0000000000000/\x1b[2J/heart_disease/3/50", "index/0/fake/heart_disease/3/50"):
        desk.put(odd, b"")  # of an operator of another version
    assert [run["run"] for run in desk.json("run", "list", "--limit", "1")] == ["real-20260101-100000-aa"]
    assert desk.json("run", "show")["run"]["run"] == "real-20260101-100000-aa"


def test_a_list_reads_one_object_of_each_run_that_it_shows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 8):
        desk.begin(f"own-{day}", datetime(2026, 1, day, tzinfo=UTC))
    read, get = list[str](), MailBucket.get
    monkeypatch.setattr(MailBucket, "get", lambda self, key, limit: read.append(key) or get(self, key, limit))
    assert [run["run"] for run in desk.json("run", "list", "--limit", "2")] == ["own-7", "own-6"]
    assert sorted(read) == [RunKeys(run).status(names.AGGREGATOR) for run in ("own-6", "own-7")]


def test_a_run_whose_start_was_interrupted_is_listed_by_starting_it_again(desk: Desk) -> None:
    run = desk.begin("mine", datetime(2026, 1, 1, tzinfo=UTC), rounds=2)
    desk.s3.delete_object(Bucket=desk.bucket, Key=RunIndexEntry.of(run).key)
    assert desk.json("run", "list") == []
    assert "is there already" in desk.run("run", "start", "heart_disease", "--rounds", "2", "--run-id", "mine").stdout
    assert [(run["run"], run["created"]) for run in desk.json("run", "list")] == [("mine", "2026-01-01T00:00:00.000Z")]


def test_times_are_shown_where_the_operator_is(desk: Desk) -> None:
    desk.begin("noon", datetime(2026, 7, 1, 12, tzinfo=UTC))
    command = [sys.executable, "-m", "fedsilo", "run", "list", "--federation", str(desk.file)]
    shown = subprocess.run(command, env=os.environ | {"TZ": "Asia/Tokyo"}, capture_output=True, text=True, check=True)
    assert "2026-07-01 21:00:00 JST" in shown.stdout


def test_show_tells_who_has_answered_who_is_late_and_who_was_refused(desk: Desk) -> None:
    desk.begin("run-1", quorum=1)
    desk.say(
        "run-1", "aggregator", state="TRAINING", round=4, answered=["cleveland"], present=["cleveland"],
        refused={"long-beach": "declares 0 training samples"}, metrics={"Test:AUC": 0.81, "Test:Loss": 0.44},
    )  # fmt: skip
    desk.say("run-1", "cleveland", state="WAITING", round=4, parameters={"train data size": 199})
    desk.say("run-1", "long-beach", state="REFUSED", reason="policy.max_rounds: 50 is more than 10")
    told = desk.json("run", "show", "run-1")
    assert (told["state"], told["over"], told["round"], told["rounds"]) == ("TRAINING", False, 4, 50)
    assert told["answered"] == ["cleveland"]
    assert told["refused"] == {"long-beach": "declares 0 training samples"}
    assert told["metrics"] == {"Test:AUC": 0.81, "Test:Loss": 0.44}
    assert told["parties"]["cleveland"]["samples"] == 199
    assert told["parties"]["long-beach"]["note"] == "policy.max_rounds: 50 is more than 10"
    rows = {line.split()[0]: line for line in desk.run("run", "show", "run-1").stdout.splitlines() if line.strip()}
    assert "TRAINING  round 4/50  AUC 0.810  Loss 0.440  1 of 3 answered" in rows["state"]
    assert "1 of 3 silos, after 120 s" in rows["quorum"]
    assert rows["cleveland"].split()[1:5] == ["WAITING", "4", "yes", "199"]
    assert "late" in rows["hungary"]
    assert "its agent has not answered" in rows["hungary"]
    assert rows["long-beach"].split()[1:4] == ["REFUSED", "-", "refused"]


# --- watch


def test_a_run_that_can_not_reach_its_quorum_says_so(desk: Desk) -> None:
    desk.begin("run-1", quorum=2)
    desk.say("run-1", "aggregator", state="WAITING")
    desk.say("run-1", "hungary", state="REFUSED", reason="policy.max_rounds")
    assert "quorum is" not in desk.run("run", "show").stdout
    desk.say("run-1", "cleveland", state="REFUSED", reason="policy.max_rounds")
    assert "only 1 silos left, the quorum is 2: fedsilo run abort run-1" in desk.run("run", "show").stdout
    desk.say("run-1", "cleveland", state="FINISHED")
    assert "quorum is" not in desk.run("run", "show").stdout


def test_watch_follows_a_run_to_its_good_end(desk: Desk) -> None:
    desk.begin("run-1", rounds=2)
    everyone = list(SILOS)
    with meanwhile(
        lambda: time.sleep(0.8),
        lambda: desk.say("run-1", "aggregator", state="WAITING"),
        lambda: desk.say("run-1", "aggregator", state="TRAINING", round=1, answered=["hungary"], present=everyone),
        lambda: desk.say("run-1", "hungary", state="REFUSED", reason="policy.hours: [red]it is 3, not 8 to 17"),
        lambda: desk.finish("run-1"),
    ):
        result = desk.run("run", "watch")
    assert result.exit_code == 0, result.output
    assert "REQUESTED  round 0/2  waiting for the aggregator's agent to answer" in result.stdout
    assert "WAITING  round 0/2  waiting for silos to come up" in result.stdout
    assert "TRAINING  round 1/2  1 of 3 answered  waiting for cleveland, long-beach" in result.stdout
    assert "hungary: REFUSED: policy.hours: [red]it is 3, not 8 to 17" in result.stdout
    assert "run-1: FINISHED  round 2/2  AUC 0.875" in result.stdout


@pytest.mark.parametrize("state", ["FAILED", "REFUSED", "ABORTED"])
def test_watch_of_a_run_that_ends_badly_says_why_and_exits_with_3(desk: Desk, state: str) -> None:
    desk.begin("run-1")
    desk.say("run-1", "aggregator", state=state, reason="because of [this]")
    result = desk.run("run", "watch", "run-1")
    assert result.exit_code == 3
    assert f"error: run run-1: {state}: because of [this]" in result.stderr


def test_watch_waits_for_silos_that_still_work_but_not_for_silent_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = desk.begin("run-1")
    desk.say("run-1", "aggregator", state="FINISHED")
    desk.say("run-1", "cleveland", state="FINISHING")
    reader = desk.reader
    with meanwhile(lambda: desk.say("run-1", "cleveland", state="FINISHED"), every=0.5):
        story = watch.follow(reader, run, Console(file=StringIO()), poll=0.05)
    assert story.statuses["cleveland"].state == "FINISHED"
    desk.say("run-1", "cleveland", state="FINISHING")
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.1)
    time.sleep(2)  # S3's times have whole seconds
    before = time.monotonic()
    watch.follow(reader, run, Console(file=StringIO()), poll=0.05)
    assert time.monotonic() - before < 5
    assert (
        "no word for" in watch.RunProgress(run, reader.statuses(run)).note("hungary") + desk.run("run", "show").stdout
    )


def test_watch_on_a_terminal_redraws_one_table(desk: Desk) -> None:
    run = desk.begin("run-1", rounds=2)
    desk.say("run-1", "aggregator", state="TRAINING", answered=["hungary"], present=list(SILOS))
    screen = StringIO()
    reader = desk.reader
    with meanwhile(lambda: desk.finish("run-1"), every=0.3):
        watch.follow(reader, run, Console(file=screen, force_terminal=True, width=150), poll=0.05)
    drawn = screen.getvalue()
    assert "not yet" in drawn
    assert "yes" in drawn
    assert "FINISHED" in drawn
    assert "\x1b[2K" in drawn  # lines are erased and drawn again


def test_watch_survives_an_aws_that_does_not_answer_for_a_moment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedsilo.errors import HubError

    run = desk.begin("run-1")
    desk.finish("run-1")
    reader = desk.reader
    answers = iter([HubError("AWS could not be reached"), None])
    real = reader.statuses

    def words(run: Run):  # type: ignore[no-untyped-def]
        if error := next(answers, None):
            raise error
        return real(run)

    monkeypatch.setattr(reader, "statuses", words)
    screen = StringIO()
    assert watch.follow(reader, run, Console(file=screen), poll=0.01).good
    assert "AWS could not be reached; trying on" in screen.getvalue()
    answers = iter([HubError("AWS could not be reached")] * 100)
    with pytest.raises(HubError):
        watch.follow(reader, run, Console(file=screen), poll=0.0)


def test_ctrl_c_ends_the_watching_and_not_the_run(desk: Desk) -> None:
    run_id = desk.start()
    command = [sys.executable, "-m", "fedsilo", "run", "watch", run_id, "--federation", str(desk.file)]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert "REQUESTED" in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    out, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert f"the run goes on: fedsilo run watch {run_id}" in out
    assert "Traceback" not in err
    assert all(request["action"] == "start" for request in desk.requests("aggregator"))


def test_start_and_watch_in_one(desk: Desk) -> None:
    with meanwhile(lambda: time.sleep(0.5), lambda: desk.say("both", "aggregator", state="FAILED", reason="no quorum")):
        result = desk.run("run", "start", "heart_disease", "--run-id", "both", "--watch")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == "both"
    assert "FAILED: no quorum" in result.stderr


# --- logs


def test_logs_are_printed_as_they_are_but_for_what_a_terminal_acts_on(desk: Desk) -> None:
    desk.begin("run-1")
    desk.put("runs/run-1/hungary/log.txt", b"one\n[bold]two[/]\x1b]0;owned\x07\n\xff\tthree\n\r\x9b2Jfour :smile:")
    shown = desk.run("run", "logs", "hungary").stdout
    assert shown.splitlines() == ["one", "[bold]two[/]�]0;owned�", "�   three", "", "�2Jfour :smile:"]


def test_logs_follow_until_the_party_has_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SETTLE_SECONDS", 2.0)
    desk.begin("run-1")

    def say(text: str) -> Callable[[], None]:
        return lambda: desk.put("runs/run-1/hungary/log.txt", text)

    nothing: Callable[[], None] = lambda: None  # noqa: E731
    with meanwhile(
        *(nothing, nothing, nothing),
        say("line one\nline tw"),
        say("line one\nline two\nline three\n"),
        say("line two\nline three\nline four\n"),  # the beginning was cut off
        lambda: desk.say("run-1", "hungary", state="FINISHED"),
        say("line three\nline four\nlast words\n"),  # sent when the agent has seen the end
        every=0.3,
    ):
        result = desk.run("run", "logs", "hungary", "run-1", "-f")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["line one", "line two", "line three", "line four", "last words"]
    assert result.stderr.count("waiting for hungary's log") == 1


def test_logs_that_are_not_there_and_parties_that_are_not(desk: Desk) -> None:
    desk.begin("run-1")
    desk.put("runs/run-1/cleveland/log.txt", b"")
    assert desk.run("run", "logs", "cleveland").exit_code == 0
    missing = desk.run("run", "logs", "hungary")
    assert missing.exit_code == 1
    assert "hungary has sent no log of run run-1 yet" in missing.stderr
    unknown = desk.run("run", "logs", "nobody")
    assert unknown.exit_code == 2
    assert "PARTY: 'nobody' is not in run run-1, which has aggregator, cleveland" in unknown.stderr


# --- abort


def test_abort_asks_every_party_and_waits_until_all_have_ended(desk: Desk) -> None:
    run_id = desk.start()
    for party in PARTIES:
        desk.requests(party)
    desk.say(run_id, "aggregator", state="TRAINING")

    def play() -> None:
        for party in PARTIES:
            asked[party] = desk.requests(party)
            desk.say(run_id, party, state="ABORTED", reason="by the operator")

    asked: dict[str, list[dict[str, str]]] = {}
    with meanwhile(play, every=1.0):
        result = desk.run("run", "abort")
    assert result.exit_code == 0, result.output
    body = desk.s3.get_object(Bucket=desk.bucket, Key=f"runs/{run_id}/run.json")["Body"].read()
    for party in PARTIES:
        (request,) = asked[party]
        assert (request["action"], request["run"]) == ("abort", run_id)
        assert request["sha256"] == hashlib.sha256(body).hexdigest()
        assert f"{party}: ABORTED" in result.stdout
    again = desk.run("run", "abort")
    assert again.exit_code == 0
    assert "is over: ABORTED; nothing to abort" in again.stdout
    assert desk.requests("aggregator") == []


def test_abort_names_who_has_not_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ABORT_SECONDS", 0.2)
    desk.begin("run-1")
    for party in PARTIES[:3]:
        desk.say("run-1", party, state="ABORTED")
    result = desk.run("run", "abort", "run-1")
    assert result.exit_code == 1
    assert "no word from long-beach in 0.2 s" in result.stderr
    assert desk.run("run", "abort", "run-1", "--no-wait").exit_code == 0


# --- report and model


def test_report_and_model_are_fetched(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.begin("run-1", rounds=2)
    desk.finish("run-1")
    result = desk.run("run", "report")
    assert result.exit_code == 0, result.output
    folder = desk.folder / "out" / "run-1"
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "report.html", "result.json"]
    told = json.loads((folder / "result.json").read_text())
    assert (told["state"], told["rounds_completed"], told["test_auc"]) == ("FINISHED", 2, 0.875)
    assert told["experiments"][0] == f"{desk.name}-aggregator"
    assert "Finished" in (folder / "report.html").read_text()
    assert (folder / "model.safetensors").read_bytes() == b"the model"
    assert "all, by the aggregator  FINISHED      199  0.875     0.812  0.432" in result.stdout

    result = desk.run("model", "download", "run-1")
    assert (desk.folder / "run-1-aggregator.safetensors").read_bytes() == b"the model"
    assert "run-1-aggregator.safetensors: 9 bytes" in result.stdout
    desk.put("runs/run-1/hungary/model.safetensors", b"local")
    desk.run("model", "download", "run-1", "--party", "hungary", "--out", "here")
    assert (desk.folder / "here").read_bytes() == b"local"


def test_a_run_without_a_model_has_a_report_that_says_so(desk: Desk) -> None:
    desk.begin("run-1")
    result = desk.run("run", "report", "run-1", "--out", str(desk.folder / "r"))
    assert result.exit_code == 0, result.output
    assert "no model: the aggregator has published none" in result.stdout
    missing = desk.run("model", "download", "run-1", "--out", str(desk.folder / "m"))
    assert missing.exit_code == 1
    assert "aggregator has published no model of run run-1" in missing.stderr
    assert not (desk.folder / "m").exists()
