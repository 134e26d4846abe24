"""The operator's client of the hub: how runs begin, and what is asked of the agents."""

import pytest

from fedsilo import names
from fedsilo.config.run import RunIdentity
from fedsilo.errors import AccessError, HubError, SpecError
from fedsilo.ledger.objects import MailBucket
from fedsilo.states import RequestAction
from tests.support.operator_harness import OperatorHarness


def test_a_run_begins_once_and_is_listed(operator: OperatorHarness) -> None:
    begun = operator.begin("run-1")
    again, identity = operator.client.put_run(begun.model_copy(update={"created": begun.created.replace(year=2030)}))
    assert again == begun
    assert identity == RunIdentity.of("run-1", begun.model_dump_json().encode(), "")
    assert [entry.run for entry in operator.reader.newest_runs()] == ["run-1"]


def test_another_run_of_the_same_id_is_refused_with_every_difference(operator: OperatorHarness) -> None:
    begun = operator.begin("run-1", rounds=5)
    other = begun.model_copy(update={"rounds": 6, "hyperparameters": begun.hyperparameters | {"lr": 0.7}})
    with pytest.raises(SpecError) as caught:
        operator.client.put_run(other)
    assert str(caught.value).splitlines() == [
        "run run-1 exists already, with other settings:",
        "  rounds: 5 in the ledger, 6 requested",
        f"  hyperparameters.lr: {begun.hyperparameters['lr']} in the ledger, 0.7 requested",
    ]


def test_whether_runs_may_be_written_is_found_out_without_writing(
    operator: OperatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.begin("run-1")
    before = operator.reader.run("run-1")
    assert operator.client.may_write_runs("run-1")
    assert operator.reader.run("run-1") == before

    def deny(self: MailBucket, key: str, body: bytes) -> bool:
        raise AccessError(f"access denied: may not write {key}")

    monkeypatch.setattr(MailBucket, "create", deny)
    assert not operator.client.may_write_runs("run-1")


def test_requests_reach_the_control_queues_and_are_counted(operator: OperatorHarness) -> None:
    run = operator.begin("run-1")
    client = operator.client
    queues = client.control_queues(run.parties)
    client.request(RequestAction.START, client.put_run(run)[1], queues)
    assert client.waiting(queues) == dict.fromkeys(run.parties, 1)
    assert client.undeliverable() == dict.fromkeys(client.parties, 0)
    [request] = operator.requests("hungary")
    assert (request["action"], request["run"]) == ("start", "run-1")


def test_a_missing_queue_is_named_before_anything_begins(operator: OperatorHarness) -> None:
    queue = names.control_queue(operator.name, "hungary")
    operator.sqs.delete_queue(QueueUrl=operator.sqs.get_queue_url(QueueName=queue)["QueueUrl"])
    with pytest.raises(HubError, match=queue):
        operator.client.control_queues(operator.client.parties)
