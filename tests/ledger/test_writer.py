"""The ledger is written, survives outages and restarts, and is read back as it was written."""

import json
import time
from functools import partial

import boto3
import pytest

import fedsilo
from fedsilo import aws
from fedsilo.errors import FedsiloError
from fedsilo.ledger import writer
from fedsilo.ledger.objects import MailBucket
from fedsilo.ledger.reader import Reader
from fedsilo.ledger.record import Record
from fedsilo.ledger.writer import Ledger
from fedsilo.names import AGGREGATOR
from fedsilo.states import Event, Span
from tests.support.faulty_proxy import FaultyProxy
from tests.support.hub import Hub
from tests.support.scripted_aws import ScriptedAws
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "INTERVAL_SECONDS", 0.05)


def read(hub: Hub) -> Record:
    return Reader(MailBucket(hub.settings(AGGREGATOR).hub_access("the test"))).record(hub.run)


def test_what_is_written_is_read_back(hub: Hub) -> None:
    written = Ledger(hub.settings(AGGREGATOR), hub.run)
    written.event(Event.OPENED, 0, "2 silos — ü\u2028")
    written.event(Event.OPENED, 1, "2 silos")
    written.metric("Test:AUC", 0.75, 1)
    written.metric("Test:AUC", 0.5, 1, silo="hungary")
    written.metric("Test:AUC", 0.8125, 2)
    with written.span(Span.TRAIN, 1):
        pass
    with pytest.raises(ZeroDivisionError), written.span(Span.WAIT, lambda: 2):
        _ = 1 / 0
    written.close(state="FINISHED", reason="none")

    record = read(hub)
    status = record.statuses[AGGREGATOR]
    assert (status.state, status.reason, status.version) == ("FINISHED", "none", fedsilo.__version__)
    assert status.started
    assert status.finished
    assert status.heartbeat
    assert status.started <= status.finished <= status.heartbeat
    lines = record.lines[AGGREGATOR]
    assert [line.kind for line in lines] == ["event", "event", "metric", "metric", "metric", "span", "span"]
    assert lines[0].text == "2 silos — ü�"
    assert [(line.name, line.round) for line in lines[5:]] == [("train", 1), ("wait", 2)]
    assert all(line.start <= line.time for line in lines[5:])
    assert record.metric("Test:AUC") == 0.8125
    assert record.metric("Test:AUC", "hungary") == 0.5
    assert record.metric("Test:AUC", "cleveland") is None
    assert record.rounds_completed == 1
    assert record.round_seconds_median == pytest.approx(lines[1].time - lines[0].time)
    assert record.statuses.keys() == record.lines.keys() == {AGGREGATOR}, "who has written nothing is missing"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_json_does_not_have_never_gets_in(hub: Hub, value: float) -> None:
    written = Ledger(hub.settings(AGGREGATOR), hub.run)
    with pytest.raises(ValueError, match="Out of range"):
        written.metric("Test:AUC", value, 1)
    written.metric("Test:AUC", 0.5, 1)
    written.close()
    assert [line.value for line in read(hub).lines[AGGREGATOR]] == [0.5]


def test_a_party_that_is_started_again_keeps_its_earlier_lines(hub: Hub) -> None:
    for round_idx in range(3):
        written = Ledger(hub.settings(AGGREGATOR), hub.run)
        written.event(Event.OPENED, round_idx, "x")
        written.close()
    assert [line.round for line in read(hub).lines[AGGREGATOR]] == [0, 1, 2]


def test_an_outage_loses_no_line_and_stops_nobody(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyProxy(hub.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setattr(aws, "s3", lambda region, _=1: boto3.client("s3", region_name=region, config=aws.config(1)))
        written = Ledger(hub.settings(AGGREGATOR), hub.run)
        proxy.fail_next(s3=6)

        def failed_again(before: int) -> bool:
            return proxy.failed["s3"] > before

        for round_idx in range(3):
            before = time.monotonic()
            written.event(Event.OPENED, round_idx, "x")
            assert time.monotonic() - before < 1, "nobody waits for S3"
            failed = proxy.failed["s3"]
            written.status(round=round_idx)
            until(partial(failed_again, failed), "S3 to fail again")
        until(lambda: (written.status(round=3), proxy.failed["s3"] == 6)[1], "S3 to answer again")
        written.close(state="FINISHED")
    monkeypatch.setenv("AWS_ENDPOINT_URL", hub.endpoint)
    assert "the ledger could not write" in caplog.text
    record = read(hub)
    assert [line.round for line in record.lines[AGGREGATOR]] == [0, 1, 2]
    assert record.statuses[AGGREGATOR].state == "FINISHED"


def test_an_idle_party_still_shows_a_heartbeat(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HEARTBEAT_SECONDS", 0.05)
    written = Ledger(hub.settings("hungary"), hub.run)
    until(lambda: "hungary" in read(hub).statuses, "the first status")
    first = read(hub).statuses["hungary"].heartbeat
    until(lambda: read(hub).statuses["hungary"].heartbeat != first, "the next heartbeat")
    written.close()


def test_many_lines_are_few_writings(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "INTERVAL_SECONDS", 0.2)
    puts: list[str] = []
    written = Ledger(hub.settings(AGGREGATOR), hub.run)
    events = written._bucket.s3.meta.events
    events.register("before-call.s3.PutObject", lambda params, **_: puts.append(params["url_path"]))
    begin = time.monotonic()
    for step in range(3000):
        written.metric("Training:Loss", 0.5, step % hub.run.rounds)
    written.close()
    assert len(puts) <= 2 * (3 + (time.monotonic() - begin) / 0.2)
    assert len(read(hub).lines[AGGREGATOR]) == 3000
    body = aws.s3("us-east-1").get_object(Bucket=hub.bucket, Key=hub.run.keys.metrics(AGGREGATOR))["Body"].read()
    assert all(json.loads(line)["kind"] == "metric" for line in body.splitlines())


@pytest.mark.parametrize(
    ("code", "status"), [("AccessDenied", 403), ("RequestTimeTooSkewed", 403), ("ExpiredToken", 400)]
)
def test_a_restart_that_can_not_read_the_earlier_lines_writes_nothing_over_them(
    hub: Hub, scripted: ScriptedAws, code: str, status: int
) -> None:
    before = hub.ledger("cleveland")
    before.metric("Training:Loss", 0.5, 1)
    before.close()
    scripted.refuse("GetObject", code, status, key="cleveland/metrics.jsonl", times=1)
    with pytest.raises(FedsiloError, match=r"cleveland/metrics\.jsonl"):
        hub.ledger("cleveland")
    hub.ledger("cleveland").close()
    assert [line.value for line in read(hub).lines["cleveland"]] == [0.5]
