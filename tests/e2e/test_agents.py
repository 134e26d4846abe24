"""Agents and trainers as real processes over the local AWS emulator, driven by control messages alone.

One federation lives as long as the module; every test leaves its agents idle, and asserts that nothing is left.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime

import pytest

from fedsilo import names
from fedsilo.messaging import control
from fedsilo.states import RequestAction
from tests.support.running_agents import AGGREGATOR, PARTIES, SILOS, Agents, state_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(580)]


@pytest.fixture(scope="module")
def agents(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    folder = tmp_path_factory.mktemp("agents")
    federation = Agents(endpoint, folder)
    yield federation
    federation.close()
    assert not [line for party in PARTIES for line in federation.said(party) if "traceback" in line]


def test_two_runs_are_taken_one_after_the_other(agents: Agents) -> None:
    first, second = agents.run(rounds=15), agents.run(rounds=2)
    agents.ask(RequestAction.START, first)
    agents.hold(first, SILOS[0])
    agents.ask(RequestAction.START, second)
    agents.until(lambda: agents.heartbeat(SILOS[0]).get("queued") == [second.id], "the second to be queued")
    assert agents.heartbeat(SILOS[0])["run"] == first.id
    assert agents.status(second, SILOS[0])["state"] == "QUEUED"
    assert agents.status(second, SILOS[0])["reason"] == f"waits for {first.id}"
    agents.go_on(first, SILOS[0])
    agents.until_states(first, "FINISHED")
    agents.until_states(second, "FINISHED")
    began = agents.status(second, SILOS[0])["started"]
    assert began > agents.status(first, SILOS[0])["finished"]
    heartbeat = agents.heartbeat(AGGREGATOR)
    assert heartbeat.keys() == {
        "party", "version", "state", "run", "queued", "aborting", "seen", "started", "launcher", "min_silos",
        "instance", "host",
    }  # fmt: skip
    assert (heartbeat["launcher"], heartbeat["min_silos"]) == ("local", 2)
    agents.until_idle()
    assert f"takes part in run {second.id}" in agents.log(second, AGGREGATOR)


def test_policy_refuses_with_rule_value_and_bound(agents: Agents) -> None:
    run = agents.run(hyperparameters={"lr": 0.5}, rounds=20_000)
    agents.ask(RequestAction.START, run, SILOS[0])
    agents.until_states(run, {SILOS[0]: "REFUSED"})
    rounds, rate = agents.status(run, SILOS[0])["reason"].split("; ")
    assert rounds == "policy.max_rounds: 20000 rounds are more than 10000"
    assert rate == "policy.hyperparameters.lr: 0.5 is not between -inf and 0.1"
    agents.until_idle()
    assert not (agents.folder / SILOS[0] / "runs" / run.id).exists()


def test_a_run_ends_at_once_where_a_refusal_leaves_no_quorum(agents: Agents) -> None:
    policy = agents.folder / SILOS[1] / "policy.json"
    before = policy.read_text()
    policy.write_text(json.dumps({"max_rounds": 2}))
    run = agents.run()
    agents.ask(RequestAction.START, run)
    agents.until_states(run, {AGGREGATOR: "FAILED", SILOS[0]: "FAILED", SILOS[1]: "REFUSED"})
    policy.write_text(before)
    reason = agents.status(run, AGGREGATOR)["reason"]
    assert reason.startswith(f"lost {SILOS[1]} (REFUSED: policy.max_rounds: 3 rounds are more than 2); the quorum is 2")
    assert agents.status(run, SILOS[0])["reason"] == reason
    took = datetime.fromisoformat(agents.status(run, AGGREGATOR)["finished"]) - run.created
    assert took.total_seconds() < run.join_seconds / 2
    agents.until_idle()


def test_abort_in_mid_round_leaves_nothing(agents: Agents) -> None:
    run, waiting = agents.run(rounds=5000), agents.run()
    agents.ask(RequestAction.START, run)
    agents.ask(RequestAction.START, waiting)
    agents.until_round(run, 2)
    agents.ask(RequestAction.ABORT, waiting)
    agents.until_states(waiting, "ABORTED")
    agents.ask(RequestAction.ABORT, run)
    agents.until_states(run, "ABORTED")
    assert agents.status(run, AGGREGATOR)["reason"] == "by the operator"
    assert agents.status(run, AGGREGATOR)["round"] >= 2, "what the trainer wrote is kept"
    late = {"key": run.keys.broadcast(9).key, "size": 1, "sha256": "0" * 64}
    agents.say(SILOS[0], json.dumps(late), names.data_queue)  # from a party that was still ending
    agents.until_idle()


def test_agent_killed_in_mid_run_finds_its_trainer_again(agents: Agents) -> None:
    run, waiting = agents.run(rounds=15), agents.run(rounds=2)
    agents.ask(RequestAction.START, run)
    agents.ask(RequestAction.START, waiting)
    trainer = agents.hold(run, SILOS[0])
    agents.until(lambda: agents.heartbeat(SILOS[0])["queued"] == [waiting.id], "the second to be queued")
    agents.processes[SILOS[0]].send_signal(signal.SIGKILL)
    agents.processes[SILOS[0]].wait()
    agents.start_agent(SILOS[0])
    agents.until(lambda: agents.said(SILOS[0])[-1]["message"].startswith("continues with"), "the agent to be back")
    assert agents.said(SILOS[0])[-1]["message"] == f"continues with {run.id}; queued: {waiting.id}"
    assert agents.trainer(run, SILOS[0]) == trainer
    agents.go_on(run, SILOS[0])
    agents.until_states(run, "FINISHED")
    agents.until_states(waiting, "FINISHED")
    agents.until_idle()


def test_trainer_that_is_killed_is_started_again_and_the_run_completes(agents: Agents) -> None:
    run = agents.run(rounds=15)
    agents.ask(RequestAction.START, run)
    agents.until_round(run, 2)
    before = agents.trainer(run, SILOS[1])
    os.kill(before, signal.SIGKILL)
    killed = "the trainer was killed by signal 9"
    agents.until(lambda: any(killed in line["message"] for line in agents.said(SILOS[1])), "the agent to notice")
    agents.until_states(run, "FINISHED")
    lines = agents.reader.record(run).lines[AGGREGATOR]
    assert len([line for line in lines if line.name == "opened"]) == 16, "every round was completed"
    agents.until_idle()


def test_trainer_that_keeps_dying_is_given_up_with_the_reason(agents: Agents) -> None:
    run = agents.run(join_seconds=3.0)
    agents.ask(RequestAction.START, run, SILOS[0])
    killed: set[int] = set()

    def kill() -> bool:
        with contextlib.suppress(FileNotFoundError):  # its folder goes before the status tells
            pid = int(fork.read_text())
            if pid not in killed and state_of(pid) != "Z":
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        return agents.states(run)[SILOS[0]] == "FAILED"

    fork = agents.folder / SILOS[0] / "runs" / run.id / "tmp" / "fork"
    agents.until(fork.exists, "the trainer")
    agents.until(kill, "the agent to give up")
    assert len(killed) == 4
    assert agents.status(run, SILOS[0])["reason"] == "the trainer was killed by signal 9 on try 4"
    agents.until_idle()


def test_trainer_that_keeps_failing_says_why_and_has_not_failed_before_it_is_given_up(agents: Agents) -> None:
    run = agents.run()
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "2"}
    agents.sqs.delete_queue(QueueUrl=agents.queue(names.data_queue, SILOS[0]))
    agents.ask(RequestAction.START, run, SILOS[0])
    said: dict[tuple[str, bool], str] = {}

    def over() -> bool:
        status = agents.status(run, SILOS[0])
        said[status.get("state", ""), "finished" in status] = status.get("reason", "")
        return status.get("state") == "FAILED"

    agents.until(over, "the agent to give up")
    agents.sqs.create_queue(QueueName=names.data_queue(agents.federation.name, SILOS[0]), Attributes=attributes)
    role, queue = (name(agents.federation.name, SILOS[0]) for name in (names.trainer_role, names.data_queue))
    why = f"; the trainer reported: not found: {role} could not find queue {queue}"
    assert [state for state, finished in said if finished] == ["FAILED"]
    assert said["FAILED", True].startswith(f"the trainer ended with exit code 1 on try 4{why}")
    assert f"it will be started again{why}" in said["PENDING", False]
    agents.until_idle()


def test_trainer_whose_part_is_over_is_not_started_again(agents: Agents) -> None:
    policy = agents.folder / SILOS[0] / "policy.json"
    before = policy.read_text()
    policy.write_text(json.dumps({"min_samples": 10_000}))
    run = agents.run()
    agents.ask(RequestAction.START, run, SILOS[0])
    agents.until_states(run, {SILOS[0]: "REFUSED"})
    policy.write_text(before)
    assert "fewer than 10000 training samples" in agents.status(run, SILOS[0])["reason"]
    agents.until_idle()
    assert agents.log(run, SILOS[0]).count("takes part in run") == 1


def test_of_two_agents_of_a_party_one_acts_and_the_other_takes_over_when_it_stops(agents: Agents) -> None:
    silo = SILOS[0]
    running, waiting = agents.run(rounds=5000), agents.run(rounds=2)
    agents.ask(RequestAction.START, running)
    agents.until_round(running, 1)
    agents.ask(RequestAction.START, waiting)
    agents.until_states(waiting, "QUEUED")
    first = agents.heartbeat(silo)["instance"]
    agents.start_agent(silo, "second")
    agents.until(lambda: agents.reader.agents([silo])[0].second, "the second agent to report that it waits")
    assert "another agent" in agents.said("second")[-1]["message"]
    agents.ask(RequestAction.ABORT, running)
    agents.until_states(waiting, "FINISHED")
    assert agents.heartbeat(silo)["instance"] == first
    agents.processes[silo].terminate()
    agents.until(lambda: agents.heartbeat(silo)["instance"] != first, "the second to take over")
    taken = agents.run(rounds=2, join_seconds=300)
    agents.ask(RequestAction.START, taken)
    # The first agent's long poll may have taken the request. It comes again after the queue's visibility timeout.
    agents.until_states(taken, "FINISHED", seconds=180)
    agents.processes[silo].wait()
    agents.processes.pop("second").terminate()
    agents.start_agent(silo)
    agents.until(lambda: agents.heartbeat(silo)["instance"] == first, "the first to be back")
    agents.until_idle()


def test_run_json_that_is_exchanged_after_the_policies_have_allowed_it_changes_nothing(agents: Agents) -> None:
    """The operator of this test may overwrite run.json, which the hub's bucket policy forbids."""
    first, exchanged = agents.run(rounds=5000), agents.run(rounds=2)
    agents.ask(RequestAction.START, first)
    agents.until_round(first, 1)
    agents.ask(RequestAction.START, exchanged)
    agents.until_states(exchanged, "QUEUED")
    agents.s3.put_object(
        Bucket=agents.bucket,
        Key=exchanged.keys.run_json,
        Body=exchanged.model_copy(update={"rounds": 100_000}).model_dump_json().encode(),
    )
    agents.ask(RequestAction.ABORT, first)
    agents.until_states(exchanged, "FINISHED")
    assert {party: agents.status(exchanged, party)["rounds"] for party in PARTIES} == dict.fromkeys(PARTIES, 2)
    agents.until_idle()


def test_requests_that_make_no_sense_are_answered_or_dropped(agents: Agents) -> None:
    silo = SILOS[0]
    missing, wrong, twice = agents.run(), agents.run(), agents.run()
    agents.s3.delete_object(Bucket=agents.bucket, Key=missing.keys.run_json)
    agents.ask(RequestAction.START, missing, silo)
    agents.ask(RequestAction.ABORT, missing, silo)
    agents.ask(RequestAction.START, wrong, silo, sha256="0" * 64)
    for text in ("{", "[]", "null", '{"action": "start"}', json.dumps({"action": "x", "run": "../../x"}), "\u0000" * 9):
        agents.say(silo, text)
    agents.until_states(wrong, {silo: "REFUSED"})
    assert "and the request says 0000000000000000" in agents.status(wrong, silo)["reason"]
    agents.until_states(missing, {silo: "REFUSED"})
    assert agents.status(missing, silo)["reason"].startswith(f"there is no run {missing.id} in this federation")
    agents.ask(RequestAction.START, twice)
    agents.until_states(twice, "FINISHED")
    agents.until_idle()
    body = agents.status(twice, silo)
    agents.say(silo, control.Request.about(RequestAction.START, agents.identities[twice.id]).to_json())
    agents.until(lambda: "was requested before" in agents.said(silo)[-1]["message"], "the agent to have read it")
    agents.until_idle()
    assert agents.status(twice, silo) == body
    assert sum("not a run request" in line["message"] for line in agents.said(silo)) == 6
