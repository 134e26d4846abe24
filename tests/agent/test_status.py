"""The agent's part in a party's status of a run."""

import pytest

from fedsilo.agent.launcher import Job
from fedsilo.agent.lease import Lease
from fedsilo.agent.status import HEARTBEAT_SECONDS, StatusWriter
from fedsilo.config.run import RunIdentity
from fedsilo.ledger.schema import Status
from fedsilo.states import JobState, PartyState
from fedsilo.text import TEXT_LIMIT
from tests.support.agent_harness import Clock, MemoryHub

RUN = "heart-1"


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def statuses(hub: MemoryHub, clock: Clock) -> StatusWriter:
    return StatusWriter(hub, "cleveland", Lease(hub, "cleveland", "local", "first"))  # type: ignore[arg-type]


def test_first_status_names_run_and_party(hub: MemoryHub, statuses: StatusWriter) -> None:
    statuses.write(RUN, PartyState.QUEUED, "waits for heart-0", rounds=4, sha256="0" * 64)
    written = hub.statuses[RUN]
    assert (written.run, written.party, written.round, written.rounds) == (RUN, "cleveland", 0, 4)
    assert (written.state, written.reason) == (PartyState.QUEUED, "waits for heart-0")
    assert written.started is not None
    assert written.finished is None
    assert statuses.state(RUN) == PartyState.QUEUED


def test_what_the_trainer_wrote_is_kept(hub: MemoryHub, statuses: StatusWriter) -> None:
    hub.statuses[RUN] = Status(
        run=RUN, party="cleveland", state=PartyState.TRAINING, round=3, metrics={"Test:AUC": 0.8}
    )
    statuses.write(RUN, PartyState.ABORTED, "by the operator")
    assert (hub.statuses[RUN].round, hub.statuses[RUN].metrics) == (3, {"Test:AUC": 0.8})
    assert hub.statuses[RUN].finished is not None


def test_reason_of_a_failed_trainer_stays_until_the_next_one_writes(hub: MemoryHub, statuses: StatusWriter) -> None:
    hub.statuses[RUN] = Status(run=RUN, state=PartyState.RESTARTING, reason="S3 does not answer")
    statuses.write(RUN, PartyState.PENDING, "the trainer ended with exit code 1; it will be started again")
    told = "the trainer ended with exit code 1; it will be started again; the trainer reported: S3 does not answer"
    assert hub.statuses[RUN].reason == told
    statuses.write(RUN, PartyState.FAILED, "the trainer ended with exit code 1 on try 4")
    assert hub.statuses[RUN].reason.endswith("on try 4; the trainer reported: S3 does not answer")
    statuses.write(RUN, PartyState.ABORTED, "by the operator")
    assert hub.statuses[RUN].reason == "by the operator"


def test_a_long_reason_is_cut(hub: MemoryHub, statuses: StatusWriter) -> None:
    statuses.write(RUN, PartyState.REFUSED, "x" * 5000)
    assert len(hub.statuses[RUN].reason) == TEXT_LIMIT


def test_a_status_is_written_again_only_if_it_is_news_or_too_old(
    hub: MemoryHub, statuses: StatusWriter, clock: Clock
) -> None:
    for _ in range(3):
        statuses.write_if_changed(RUN, PartyState.PENDING, "its trainer is starting")
    assert hub.written == [RUN]
    statuses.write_if_changed(RUN, PartyState.PENDING, "the trainer's pod is starting")
    assert hub.written == [RUN] * 2
    clock.pass_time(HEARTBEAT_SECONDS - 0.1)
    statuses.write_if_changed(RUN, PartyState.PENDING, "the trainer's pod is starting")
    assert hub.written == [RUN] * 2
    clock.pass_time(0.1)
    statuses.write_if_changed(RUN, PartyState.PENDING, "the trainer's pod is starting")
    assert hub.written == [RUN] * 3


@pytest.mark.parametrize("written", [PartyState.FINISHED, PartyState.REFUSED])
def test_a_final_status_that_the_trainer_wrote_stays(
    hub: MemoryHub, statuses: StatusWriter, written: PartyState
) -> None:
    hub.statuses[RUN] = Status(run=RUN, state=written, reason="its own")
    statuses.write_final(RUN, PartyState.FAILED, "the trainer ended with exit code 3")
    assert (hub.statuses[RUN].state, hub.statuses[RUN].reason) == (written, "its own")


def test_a_trainer_that_runs_writes_its_status_itself(hub: MemoryHub, statuses: StatusWriter) -> None:
    statuses.publish(Job(RUN, JobState.PENDING, "the trainer's pod is starting"))
    statuses.publish(Job(RUN, JobState.RUNNING))
    assert hub.written == [RUN]
    statuses.publish(Job(RUN, JobState.PENDING, "the trainer's pod is starting", failed_tries=1))
    assert hub.written == [RUN] * 2, "the trainer may have written another one in between"
    assert hub.statuses[RUN].failed_tries == 1


def test_a_queued_run_is_resumed_with_its_digest(hub: MemoryHub, statuses: StatusWriter) -> None:
    assert statuses.resume_queued(RUN) is None
    hub.statuses[RUN] = Status(
        run=RUN, state=PartyState.QUEUED, reason="waits for heart-0", sha256="1" * 64, object_version="v1"
    )
    assert statuses.resume_queued(RUN) == RunIdentity(RUN, "1" * 64, "v1")
    statuses.write_if_changed(RUN, PartyState.QUEUED, "waits for heart-0")
    assert hub.written == []
    hub.statuses[RUN] = Status(run=RUN, state=PartyState.ABORTED)
    assert statuses.resume_queued(RUN) is None
