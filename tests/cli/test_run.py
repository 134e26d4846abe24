"""``fedsilo run``: what start and abort ask of the agents, and what list, show and report print."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from fedsilo import names
from fedsilo.cli import run as run_commands
from fedsilo.config.run import Run
from fedsilo.keys import RunKeys
from fedsilo.ledger.index import RunIndexEntry
from fedsilo.ledger.objects import MailBucket
from tests.support.operator_harness import SILOS, OperatorHarness, between_polls

PARTIES = (names.AGGREGATOR, *SILOS)


def test_start_writes_the_run_and_asks_every_party(operator: OperatorHarness) -> None:
    operator.agents()
    result = operator.run(
        "run", "start", "heart_disease", "--rounds", "7", "--set", "lr=0.5", "--silos", "cleveland,hungary",
        "--require-silos", "all",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    run_id = result.stdout.splitlines()[0]
    body = operator.s3.get_object(Bucket=operator.bucket, Key=f"runs/{run_id}/run.json")["Body"].read()
    run = Run.parse(body)
    assert (run.rounds, run.silos, run.quorum, run.require_silos) == (7, ["cleveland", "hungary"], 2, 2)
    assert run.hyperparameters["lr"] == 0.5
    assert len(run.hyperparameters) > 3  # all of them, not the chosen alone
    for party in ("aggregator", "cleveland", "hungary"):
        (request,) = operator.requests(party)
        digest = hashlib.sha256(body).hexdigest()
        assert request == {"action": "start", "run": run_id, "sha256": digest, "version": ""}
    assert operator.requests("long-beach") == []
    assert "no heartbeat" not in result.stdout
    assert f"fedsilo run watch {run_id}" in result.stdout


def test_start_names_agents_that_are_away(operator: OperatorHarness) -> None:
    operator.agent("aggregator")
    operator.agent("hungary")
    assert operator.json("run", "start", "heart_disease")["away"] == ["cleveland", "long-beach"]
    printed = operator.run("run", "start", "heart_disease").stdout
    assert "no heartbeat lately from the agent of cleveland, long-beach" in printed


def test_quorum_is_what_the_policies_ask_for_as_their_agents_say(operator: OperatorHarness) -> None:
    operator.agents()
    operator.agent("hungary", min_silos=3)
    printed = operator.run("run", "start", "heart_disease").stdout
    assert "quorum: 3 silos, as the policy of hungary asks" in printed
    assert operator.json("run", "show")["run"]["quorum"] == 3
    assert operator.json("run", "start", "heart_disease", "--quorum", "2")["quorum"] == 2
    printed = operator.run("run", "start", "heart_disease", "--silos", "cleveland,hungary").stdout
    assert "the policy of hungary asks for 3 silos, and the run has 2: hungary will refuse the run" in printed
    assert "quorum:" not in operator.run("run", "start", "heart_disease", "--silos", "cleveland,long-beach").stdout


def test_start_with_an_id_can_be_repeated_and_never_overwrites_a_run(operator: OperatorHarness) -> None:
    operator.start("--rounds", "5", run_id="mine-1")
    before = operator.s3.get_object(Bucket=operator.bucket, Key="runs/mine-1/run.json")["Body"].read()
    for party in PARTIES:
        assert len(operator.requests(party)) == 1
        # What a start that was interrupted leaves out; SQS drops a repetition within five minutes.
        url = operator.sqs.get_queue_url(QueueName=names.control_queue(operator.name, party))["QueueUrl"]
        operator.sqs.delete_queue(QueueUrl=url)
        operator.sqs.create_queue(QueueName=names.control_queue(operator.name, party), Attributes={"FifoQueue": "true"})
    again = operator.run("run", "start", "heart_disease", "--rounds", "5", "--run-id", "mine-1")
    assert again.exit_code == 0, again.output
    assert "the run exists already; asked again" in again.stdout
    for party in PARTIES:
        (request,) = operator.requests(party)
        assert request["sha256"] == hashlib.sha256(before).hexdigest()

    other = operator.run("run", "start", "heart_disease", "--rounds", "6", "--set", "lr=0.7", "--run-id", "mine-1")
    assert other.exit_code == 1
    assert "run mine-1 exists already, with other settings" in other.stderr
    assert "rounds: 5 in the ledger, 6 requested" in other.stderr
    assert "hyperparameters.lr: 0.001 in the ledger, 0.7 requested" in other.stderr
    assert operator.requests("cleveland") == []
    assert operator.s3.get_object(Bucket=operator.bucket, Key="runs/mine-1/run.json")["Body"].read() == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["heart_disease", "--silos", "cleveland,nobody"], "--silos: 'nobody' not in the federation"),
        (["heart_disease", "--silos", "9"], "--silos: 9 is not between 1 and 3, the federation's number of silos"),
        (["heart_disease", "--set", "lr"], "--set: 'lr' is not KEY=VALUE"),
        (["heart_disease", "--set", "lr=1", "--set", "lr=2"], "--set: lr is given twice"),
        (["heart_disease", "--set", "lr=fast"], "hyperparameters.lr: 'fast' is not of type float"),
        (
            [
                "heart_disease",
                "--rounds",
                "1",
                "--set",
                "client_optimizer=sgd",
                "--set",
                "batch_size=1",
                "--set",
                "lr=0.0009765625",
                "--set",
                "weight_decay=1024",
            ],
            "hyperparameters.weight_decay: '1024' is not at least 0 and at most 0.1",
        ),
        (["heart_disease", "--set", "speed=1"], 'unknown hyperparameter "speed" of heart_disease; it has '),
        (["heart_disease", "--quorum", "4"], "quorum: 4 is more than the 3 silos"),
        (["heart_disease", "--require-silos", "4"], "require_silos: 4 is more than the 3 silos"),
        (["heart_disease", "--require-silos", "some"], "--require-silos: 'some' is neither a number nor `all`"),
        (["heart_disease", "--fraction", "1.5"], "fraction: Input should be less than or equal to 1"),
        (["heart_disease", "--fraction", "0.5", "--require-silos", "2"], "require_silos: no silo takes part in all"),
        (["heart_disease", "--rounds", "0"], "rounds"),
        (["heart_disease", "--deadline", "0"], "deadline_seconds"),
        (["heart_disease", "--run-id", "No"], "run: String should match pattern"),
        (["cats"], "workload: 'cats' is not one of"),
        (["heart_disease", "--watch", "--json"], "--json: can't be combined with --watch"),
        ([], "Missing argument"),
    ],
)
def test_start_with_wrong_arguments_is_a_usage_error_and_starts_nothing(
    operator: OperatorHarness, arguments: list[str], problem: str
) -> None:
    result = operator.run("run", "start", *arguments)
    assert result.exit_code == 2, result.output
    assert problem in result.stderr
    assert "KeyCount" in (found := operator.s3.list_objects_v2(Bucket=operator.bucket))
    assert found["KeyCount"] == 0


def test_start_creates_no_run_if_a_queue_is_missing(operator: OperatorHarness) -> None:
    url = operator.sqs.get_queue_url(QueueName=names.control_queue(operator.name, "hungary"))["QueueUrl"]
    operator.sqs.delete_queue(QueueUrl=url)
    result = operator.run("run", "start", "heart_disease")
    assert result.exit_code == 1
    assert f"find queue {operator.name}-hungary-control.fifo" in result.stderr
    assert operator.json("run", "list") == []


def test_list_shows_the_newest_run_first_whatever_the_ids(operator: OperatorHarness) -> None:
    for run_id, created in (
        ("heart-20260101-100000-aa", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("zebra", datetime(2025, 1, 1, tzinfo=UTC)),
        ("apple", datetime(2026, 6, 1, tzinfo=UTC)),
        ("heart-20260301-100000-aa", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    ):
        operator.begin(run_id, created)
    operator.say("apple", "aggregator", state="FAILED", round=3, reason="no quorum", metrics={"Test:AUC": 0.5})
    found = operator.json("run", "list")
    assert [run["run"] for run in found] == ["apple", "heart-20260301-100000-aa", "heart-20260101-100000-aa", "zebra"]
    printed = [found[0][key] for key in ("silos", "state", "round", "rounds", "reason")]
    assert printed == [3, "FAILED", 3, 50, "no quorum"]
    assert found[0]["created"] == "2026-06-01T00:00:00.000Z"
    assert found[1]["state"] == "REQUESTED"
    assert [run["run"] for run in operator.json("run", "list", "--limit", "1")] == ["apple"]
    plain = operator.run("run", "list", "--limit", "3", environment={"TZ": "UTC"}).stdout
    assert plain.splitlines()[0].split() == [
        "run", "created", "workload", "silos", "state", "round", "AUC", "reason",
    ]  # fmt: skip
    assert plain.splitlines()[1].split() == [
        "apple", *datetime(2026, 6, 1, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z").split(),
        "heart_disease", "3", "FAILED", "3/50", "0.500", "no", "quorum",
    ]  # fmt: skip
    assert "older runs are not shown" in plain
    assert "older runs are not shown" not in operator.run("run", "list", "--all").stdout
    assert json.loads(operator.run("run", "show", "--json").stdout)["run"]["run"] == "apple"  # the newest, by default


def test_list_without_runs_says_how_to_start_one(operator: OperatorHarness) -> None:
    assert operator.json("run", "list") == []
    assert "no run yet; start one: fedsilo run start WORKLOAD" in operator.run("run", "list").stdout


def test_a_party_can_not_add_a_run_to_the_list(operator: OperatorHarness) -> None:
    operator.begin("real-20260101-100000-aa", datetime(2026, 1, 1, 10, tzinfo=UTC))
    for made_up in ("fake-29990101-100000-aa", "fake", "\x1b[2J", "UPPER"):
        operator.put(f"runs/{made_up}/cleveland/status.json", '{"state": "FINISHED"}')
    for odd in ("index/x", "index/0000000000000/\x1b[2J/heart_disease/3/50", "index/0/fake/heart_disease/3/50"):
        operator.put(odd, b"")  # of an operator of another version
    assert [run["run"] for run in operator.json("run", "list", "--limit", "1")] == ["real-20260101-100000-aa"]
    assert operator.json("run", "show")["run"]["run"] == "real-20260101-100000-aa"


def test_list_reads_one_object_for_each_run_it_shows(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 8):
        operator.begin(f"own-{day}", datetime(2026, 1, day, tzinfo=UTC))
    read, get = list[str](), MailBucket.get
    monkeypatch.setattr(MailBucket, "get", lambda self, key, limit: read.append(key) or get(self, key, limit))
    assert [run["run"] for run in operator.json("run", "list", "--limit", "2")] == ["own-7", "own-6"]
    assert sorted(read) == [RunKeys(run).status(names.AGGREGATOR) for run in ("own-6", "own-7")]


def test_a_run_whose_start_was_interrupted_is_listed_by_starting_it_again(operator: OperatorHarness) -> None:
    run = operator.begin("mine", datetime(2026, 1, 1, tzinfo=UTC), rounds=2)
    operator.s3.delete_object(Bucket=operator.bucket, Key=RunIndexEntry.of(run).key)
    assert operator.json("run", "list") == []
    assert "exists already" in operator.run("run", "start", "heart_disease", "--rounds", "2", "--run-id", "mine").stdout
    assert [(run["run"], run["created"]) for run in operator.json("run", "list")] == [
        ("mine", "2026-01-01T00:00:00.000Z")
    ]


def test_times_are_shown_in_local_time(operator: OperatorHarness) -> None:
    operator.begin("noon", datetime(2026, 7, 1, 12, tzinfo=UTC))
    command = [sys.executable, "-m", "fedsilo", "run", "list", "--federation", str(operator.file)]
    shown = subprocess.run(command, env=os.environ | {"TZ": "Asia/Tokyo"}, capture_output=True, text=True, check=True)
    assert "2026-07-01 21:00:00 JST" in shown.stdout


def test_show_tells_which_silos_answered_are_late_or_were_refused(operator: OperatorHarness) -> None:
    operator.begin("run-1", quorum=1)
    operator.say(
        "run-1", "aggregator", state="TRAINING", round=4, answered=["cleveland"], present=["cleveland"],
        refused={"long-beach": "declares 0 training samples"}, metrics={"Test:AUC": 0.81, "Test:Loss": 0.44},
        bounds={"Test:AUC": 0.002},
    )  # fmt: skip
    operator.say("run-1", "cleveland", state="WAITING", round=4, parameters={"train data size": 199})
    operator.say("run-1", "long-beach", state="REFUSED", reason="policy.max_rounds: 50 is more than 10")
    printed = operator.json("run", "show", "run-1")
    assert (printed["state"], printed["over"], printed["round"], printed["rounds"]) == ("TRAINING", False, 4, 50)
    assert printed["answered"] == ["cleveland"]
    assert printed["refused"] == {"long-beach": "declares 0 training samples"}
    assert printed["metrics"] == {"Test:AUC": 0.81, "Test:Loss": 0.44}
    assert printed["bounds"] == {"Test:AUC": 0.002}
    assert printed["parties"]["cleveland"]["samples"] == 199
    assert printed["parties"]["long-beach"]["note"] == "policy.max_rounds: 50 is more than 10"
    rows = {line.split()[0]: line for line in operator.run("run", "show", "run-1").stdout.splitlines() if line.strip()}
    assert "TRAINING  round 4/50  AUC 0.810 ± 0.002  Loss 0.440  1 of 3 answered" in rows["state"]
    assert "1 of 3 silos, after 120 s" in rows["quorum"]
    assert rows["cleveland"].split()[1:5] == ["WAITING", "4", "yes", "199"]
    assert "late" in rows["hungary"]
    assert "its agent has not answered" in rows["hungary"]
    assert rows["long-beach"].split()[1:4] == ["REFUSED", "-", "refused"]


def test_show_warns_of_a_run_that_can_not_reach_its_quorum(operator: OperatorHarness) -> None:
    operator.begin("run-1", quorum=2)
    operator.say("run-1", "aggregator", state="WAITING")
    operator.say("run-1", "hungary", state="REFUSED", reason="policy.max_rounds")
    assert "the quorum of" not in operator.run("run", "show").stdout
    operator.say("run-1", "cleveland", state="REFUSED", reason="policy.max_rounds")
    assert "silos left: 1, fewer than the quorum of 2: fedsilo run abort run-1" in operator.run("run", "show").stdout
    operator.say("run-1", "cleveland", state="FINISHED")
    assert "the quorum of" not in operator.run("run", "show").stdout


def test_abort_asks_every_party_and_waits_until_all_have_ended(operator: OperatorHarness) -> None:
    run_id = operator.start()
    for party in PARTIES:
        operator.requests(party)
    operator.say(run_id, "aggregator", state="TRAINING")

    def play() -> None:
        for party in PARTIES:
            asked[party] = operator.requests(party)
            operator.say(run_id, party, state="ABORTED", reason="by the operator")

    asked: dict[str, list[dict[str, str]]] = {}
    with between_polls(play):  # nothing is read before the requests are sent
        result = operator.run("run", "abort")
    assert result.exit_code == 0, result.output
    body = operator.s3.get_object(Bucket=operator.bucket, Key=f"runs/{run_id}/run.json")["Body"].read()
    for party in PARTIES:
        (request,) = asked[party]
        assert (request["action"], request["run"]) == ("abort", run_id)
        assert request["sha256"] == hashlib.sha256(body).hexdigest()
        assert f"{party}: ABORTED" in result.stdout
    again = operator.run("run", "abort")
    assert again.exit_code == 0, "an agent ignores a request about a run that has ended"


@pytest.mark.parametrize("hidden", SILOS[:1] + PARTIES[:1])
def test_an_object_in_a_foreign_storage_class_is_a_problem_of_its_party_alone(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    """Its S3 answers InvalidObjectState. It ended every command that reads a run, and abort before it had asked."""
    monkeypatch.setattr(run_commands, "ABORT_SECONDS", 0.2)
    run_id = operator.start("--rounds", "2")
    operator.finish(run_id)
    for party in PARTIES:
        operator.requests(party)
    keys = RunKeys(run_id)
    for key in (keys.status(hidden), keys.metrics(hidden), keys.log(hidden)):
        operator.s3.put_object(Bucket=operator.bucket, Key=key, Body=b"{}", StorageClass="GLACIER")
    problem = f"{keys.status(hidden)} can't be read as its writer stored it (InvalidObjectState)"
    for command in ("show", "list", "report"):
        shown = operator.run("run", command)
        assert shown.exit_code == 0, shown.output
        assert "FINISHED" in shown.stdout or hidden == names.AGGREGATOR
    assert problem in operator.run("run", "show").stdout
    assert problem in operator.json("run", "show")["parties"][hidden]["note"]
    page = (operator.folder / "out" / run_id / "report.html").read_text()
    assert f"{keys.metrics(hidden)} can&#39;t be read" in page
    other = next(party for party in PARTIES if party != hidden)
    assert f"{other} is done" in operator.run("run", "logs", other).stdout
    aborted = operator.run("run", "abort")
    assert f"{hidden} did not end within 0.2 s" in aborted.stderr
    assert problem in aborted.stdout
    assert [request["action"] for request in operator.requests(hidden)] == ["abort"]


def test_what_a_run_can_not_have_is_not_shown(operator: OperatorHarness) -> None:
    """Silos and rounds that are not the run's, an impossible score, and a reason of a megabyte with a forged line."""
    run = operator.begin("run-1", rounds=2, quorum=1)
    reason = "x" * 500 + "\n2026-11-22 10:08:31,123 INFO fedsilo.training: forged" + "x" * 500_000
    operator.say(
        "run-1", "aggregator", state="TRAINING", round=10**14, reason=reason, metrics={"Test:AUC": 5.0},
        answered=["hungary", *(f"made-up-{i}" for i in range(99))], present=[], refused={"nobody": reason},
    )  # fmt: skip
    lines = [{"kind": "event", "name": "opened", "round": k, "time": 1.8e9 + k, "text": ""} for k in (0, 1, 10**14)]
    foreign = {"kind": "metric", "name": "Test:AUC", "value": 0.9, "step": 1, "time": 1.8e9, "silo": "nobody"}
    operator.put(run.keys.metrics("aggregator"), "".join(json.dumps(line) + "\n" for line in [*lines, foreign]))
    shown = operator.run("run", "show").stdout
    assert "round 2/2" in shown
    assert "1 of 3 answered" in shown
    assert "AUC" not in shown
    assert len(shown) < 10_000
    assert [line for line in shown.splitlines() if line.startswith("2026-11-22 10:08")] == []
    printed = operator.json("run", "show")
    assert (printed["refused"], printed["metrics"], printed["round"]) == ({}, {}, 2)
    record = operator.reader.record(run)
    assert (record.rounds_completed, record.left_out) == (1, {"aggregator": 2})


def test_abort_names_parties_that_do_not_end(operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_commands, "ABORT_SECONDS", 0.2)
    operator.begin("run-1")
    for party in PARTIES[:3]:
        operator.say("run-1", party, state="ABORTED")
    result = operator.run("run", "abort", "run-1")
    assert result.exit_code == 1
    assert "long-beach did not end within 0.2 s" in result.stderr
    assert operator.run("run", "abort", "run-1", "--no-wait").exit_code == 0


def test_report_writes_the_report_the_result_and_the_model(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.begin("run-1", rounds=2)
    operator.finish("run-1")
    result = operator.run("run", "report")
    assert result.exit_code == 0, result.output
    folder = operator.folder / "out" / "run-1"
    shown = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert shown == ["model.safetensors", "report.html", "result.json"]
    printed = json.loads((folder / "result.json").read_text())
    assert (printed["state"], printed["rounds_completed"], printed["test_auc"]) == ("FINISHED", 2, 0.875)
    assert printed["experiments"][0] == f"{operator.name}-aggregator"
    assert "Finished" in (folder / "report.html").read_text()
    assert (folder / "model.safetensors").read_bytes() == b"the model"
    assert "all, by the aggregator  FINISHED      199  0.875     0.812  0.432" in result.stdout

    result = operator.run("model", "download", "run-1")
    assert (operator.folder / "run-1-aggregator.safetensors").read_bytes() == b"the model"
    assert "run-1-aggregator.safetensors: 9 bytes" in result.stdout
    operator.put("runs/run-1/hungary/model.safetensors", b"local")
    operator.run("model", "download", "run-1", "--party", "hungary", "--out", "here")
    assert (operator.folder / "here").read_bytes() == b"local"


def test_whose_local_model_is_not_published_is_said_wherever_one_looks_for_it(operator: OperatorHarness) -> None:
    operator.begin("run-1")
    for silo, publishes in (("cleveland", True), ("hungary", False)):
        operator.say("run-1", silo, state="FINISHED", publishes_model=publishes)
    told = "published by cleveland; not published by hungary, as the policy says"
    assert f"local models    {told}" in operator.run("run", "show", "run-1").stdout
    parties = operator.json("run", "show", "run-1")["parties"]
    assert [parties[silo]["publishes_model"] for silo in SILOS] == [True, False, None]
    operator.run("run", "report", "run-1", "--out", "r")
    assert told in (operator.folder / "r" / "report.html").read_text()
    missing = operator.run("model", "download", "run-1", "--party", "hungary")
    assert missing.exit_code == 1
    assert "hungary publishes no model of its own: its policy does not have `publish: [local_model]`" in missing.stderr
    not_yet = operator.run("model", "download", "run-1", "--party", "cleveland")
    assert "cleveland has published no model of run run-1" in not_yet.stderr


def test_report_of_a_run_without_a_model_says_so(operator: OperatorHarness) -> None:
    operator.begin("run-1")
    result = operator.run("run", "report", "run-1", "--out", str(operator.folder / "r"))
    assert result.exit_code == 0, result.output
    assert "no model: the aggregator has published none" in result.stdout
    missing = operator.run("model", "download", "run-1", "--out", str(operator.folder / "m"))
    assert missing.exit_code == 1
    assert "aggregator has published no model of run run-1" in missing.stderr
    assert not (operator.folder / "m").exists()
