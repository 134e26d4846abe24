"""One attacker of each kind among four silos: the model is that of the honest three, and the record names the attacker.

Agents, trainers and the operator are fedsilo's own, in the simulator. That a single run.json can't be exchanged, and
that of two agents one waits, is shown on real processes, too (``test_agents.py``).
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fedsilo import runtime
from fedsilo.messaging import codec
from fedsilo.messaging.messages import EVALUATION, MODEL, MailKind
from fedsilo.names import AGGREGATOR
from fedsilo.report.page import render
from fedsilo.simulation.federation import SimulatedParty
from fedsilo.states import Event, PartyState
from fedsilo.workload.base import Sums
from tests.support import mails
from tests.support.attacked import ATTACKER, HONEST, ROUNDS, Attack, AttackedFederation, Attacker, Model, events
from tests.support.federations import assert_same_model
from tests.support.played import SOME_EVALUATION, SOME_STATISTICS

pytestmark = pytest.mark.e2e

WEIGHT = "linear.weight"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Agents and trainers log what the attackers do, some with megabytes."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def without_attacker(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model of the honest three, among themselves."""
    federation = AttackedFederation(tmp_path_factory.mktemp("three"), silos=tuple(HONEST))
    federation.as_operator(lambda client: client.start(federation.run))
    federation.finish()
    return federation.model()


def attacked(folder: Path, attack: Attack, unreadable: str = "") -> AttackedFederation:
    """The run with the attack, after its end. Its model is the mean of the honest silos' updates."""
    federation = AttackedFederation(folder, attack)
    if unreadable:
        federation.network.unreadable[federation.run.keys.status(ATTACKER)] = unreadable
    federation.as_operator(lambda client: client.start(federation.run))
    federation.finish()
    record = federation.record()
    assert {party: record.statuses[party].state for party in (AGGREGATOR, *HONEST)} == dict.fromkeys(
        (AGGREGATOR, *HONEST), PartyState.FINISHED
    )
    contributions = record.statuses[AGGREGATOR].contributions
    assert {silo: contributions[silo] for silo in HONEST} == dict.fromkeys(HONEST, ROUNDS)
    return federation


# --- false sums


def scaled(factor: float, *names: str) -> Sums:
    """The statistics of 50 patients with some of the sums multiplied."""
    return {name: (each * factor).to(each.dtype) if name in names else each for name, each in SOME_STATISTICS.items()}


@pytest.mark.parametrize(
    ("statistics", "samples", "reason"),
    [
        (scaled(10, "sum"), 50, "its statistic has a sum of age, sex, trestbps, chol, fbs, and 7 more outside"),
        (scaled(1e4, "sum", "sum_of_squares"), 50, "its statistic has a sum of age"),
        (scaled(-1, "count"), 50, "its statistic has an impossible count"),
        (SOME_STATISTICS, -50, "declares -50 training samples"),
    ],
    ids=["out of range", "times ten thousand", "negative count", "negative samples"],
)
def test_false_statistics(statistics: Sums, samples: int, reason: str, tmp_path: Path, without_attacker: Model) -> None:
    def attack(silo: Attacker) -> None:
        silo.online(statistics, samples)

    federation = attacked(tmp_path, attack)
    assert_same_model(federation.model(), without_attacker)
    record = federation.record()
    [refused] = events(record)[Event.REFUSED]
    assert refused.startswith(f"{ATTACKER}: {reason}")
    assert record.statuses[AGGREGATOR].refused[ATTACKER] in refused


def test_a_false_evaluation(tmp_path: Path) -> None:
    """The attacker's update is the global model as it came, which is honest, so it counts; its evaluation does not."""
    false = {name: each * 1000 for name, each in SOME_EVALUATION.items()}

    def attack(silo: Attacker) -> None:
        silo.online()
        for sync in silo.rounds():
            silo.answer(sync, dict(sync.groups[MODEL]), false)

    federation = AttackedFederation(tmp_path, attack, counts=True)
    federation.as_operator(lambda client: client.start(federation.run))
    federation.finish()
    record = federation.record()
    ignored = events(record)[Event.IGNORED]
    assert len(ignored) == ROUNDS
    assert {text.partition(" is of ")[0] for text in ignored} == {f"{ATTACKER}: its evaluation"}
    honest = federation.mails(MailKind.UPDATE, 1, EVALUATION).values()
    loss = sum(float(sums["loss_sum"]) for sums in honest) / sum(int(sums["count"]) for sums in honest)
    [recorded] = [
        line.value for line in record.lines[AGGREGATOR] if (line.name, line.round, line.silo) == ("Test:Loss", 1, None)
    ]
    assert recorded == pytest.approx(loss, rel=1e-9)


# --- bad updates and mails


def with_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Model], Model]:
    return lambda model: model | {WEIGHT: change(model[WEIGHT])}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (with_weight(lambda weight: weight * float("nan")), f"the update: {WEIGHT} has values that are not finite"),
        (with_weight(lambda weight: torch.zeros(2, 13)), f"the update: {WEIGHT} has shape [2, 13]"),
        (lambda model: {"x\n" * 2**19: torch.ones(1)}, "the update: the tensors are not the model's; "),
    ],
    ids=["nan", "shape", "a name of a megabyte"],
)
def test_a_bad_update(spoil: Callable[[Model], Model], reason: str, tmp_path: Path) -> None:
    def attack(silo: Attacker) -> None:
        silo.online()
        for sync in silo.rounds():
            silo.answer(sync, spoil(dict(sync.groups[MODEL])))

    federation = attacked(tmp_path, attack)
    assert_same_model(federation.model(), federation.mean_of_the_honest())
    record = federation.record()
    [refused] = events(record)[Event.REFUSED]
    assert refused.startswith(f"{ATTACKER}: {reason}")
    assert len(refused) < 400
    assert refused.isprintable()


def test_a_finite_update_of_any_size_is_averaged_and_no_honest_silo_is_blamed(tmp_path: Path) -> None:
    """fedsilo does not judge updates that are merely false: the mean is right, and the model is of no use."""

    def attack(silo: Attacker) -> None:
        silo.online()
        for sync in silo.rounds():
            huge = {name: torch.full_like(each, 3e38) for name, each in sync.groups[MODEL].items() if "linear" in name}
            silo.answer(sync, {**sync.groups[MODEL], **huge})

    federation = AttackedFederation(tmp_path, attack, counts=True)
    federation.as_operator(lambda client: client.start(federation.run))
    federation.finish()
    assert all(each.isfinite().all() for each in federation.model().values())
    assert federation.model()[WEIGHT].min() > 1e36


def test_a_mail_whose_header_says_another_kind_than_its_key(tmp_path: Path) -> None:
    def attack(silo: Attacker) -> None:
        silo.online()
        for _ in silo.rounds():
            path = silo.mailbox.spool / "lie"
            codec.write(path, MailKind.SYNC, 0, {}, {})
            silo.mailbox.remind(AGGREGATOR, mails.put(silo.mailbox, path.read_bytes(), kind=MailKind.UPDATE))

    federation = attacked(tmp_path, attack)
    assert_same_model(federation.model(), federation.mean_of_the_honest())
    [refused] = events(federation.record())[Event.REFUSED]
    assert refused.startswith(f"{ATTACKER}: ")
    assert refused.endswith("is of kind update, but its header says kind 'sync'")


# --- a silo that is there and does not answer, and what it writes meanwhile


def silent(*, status: bytes = b"", metrics: bytes = b"") -> Attack:
    """Say every 30 s that the silo is there, never answer, and write files."""

    def attack(silo: Attacker) -> None:
        while True:
            silo.online()
            if status:
                silo.put(silo.keys.status(ATTACKER), status)
            if metrics:
                silo.put(silo.keys.metrics(ATTACKER), metrics)
            runtime.sleep(30)

    return attack


LIES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"kind": "metric", "time": 1767225660.0, "name": "Test:AUC", "value": 0.999, "step": 2},
        {"kind": "metric", "time": 1767225660.0, "name": "Test:AUC", "value": 0.001, "step": 2, "silo": HONEST[0]},
        {"kind": "event", "time": 1767225660.0, "name": "refused", "round": 1, "text": f"{HONEST[0]}: it lies"},
        {"kind": "event", "time": 1767225660.0, "name": "opened", "round": 10**9, "text": ""},
    )
)


@pytest.mark.parametrize(
    ("attack", "unreadable"),
    [
        (silent(), ""),
        (silent(status=b"{}"), "InvalidObjectState"),
        (silent(status=b"{}"), "KMS.DisabledException"),
        (silent(status=b"[" * 10**5), ""),
        (silent(status=b" " * (50 * 2**20)), ""),
    ],
    ids=["silent", "status in an archive", "status under a foreign key", "nested", "50 MB"],
)
def test_a_silo_that_is_there_and_never_answers(attack: Attack, unreadable: str, tmp_path: Path) -> None:
    federation = attacked(tmp_path, attack, unreadable)
    assert_same_model(federation.model(), federation.mean_of_the_honest())
    record = federation.record()
    assert events(record)[Event.DEADLINE] == [f"closed with 3; missing {ATTACKER}"], "the deadline was paid once"
    assert unreadable in record.statuses[ATTACKER].unreadable


def test_false_metrics(tmp_path: Path) -> None:
    federation = attacked(tmp_path, silent(metrics=LIES))
    assert_same_model(federation.model(), federation.mean_of_the_honest())
    record = federation.record()
    assert record.left_out == {ATTACKER: 3}
    assert record.metric("Test:AUC") not in (None, 0.999)
    page = render(record)
    assert f"<b>{ATTACKER}</b>This page leaves out 3 lines of its ledger that make no sense." in page
    assert "it lies" not in page


# --- the operator


def test_a_run_json_that_is_exchanged_after_the_request(tmp_path: Path) -> None:
    federation = AttackedFederation(tmp_path)
    exchanged = federation.run.model_copy(update={"rounds": 1000})
    body = exchanged.model_dump_json().encode()
    federation.as_operator(lambda client: client.start(federation.run))
    federation.as_operator(lambda client: client.bucket.put(federation.run.keys.run_json, body))
    federation.finish()
    statuses = federation.record().statuses
    assert {party: statuses[party].rounds for party in statuses} == dict.fromkeys(federation.run.parties, ROUNDS)


def test_hyperparameters_with_which_an_update_is_one_patient(tmp_path: Path) -> None:
    federation = AttackedFederation(tmp_path, hyperparameters={"batch_size": 1, "epochs": 1})
    federation.as_operator(lambda client: client.start(federation.run))
    federation.world.run(lambda: federation.federation.ended(federation.run), 600)
    statuses = federation.record().statuses
    assert {statuses[party].state for party in federation.run.parties} == {PartyState.REFUSED}
    for party in federation.run.parties:
        assert statuses[party].reason.startswith("policy.hyperparameters.batch_size: 1 is not the default, 4")
    assert not federation.hub.buckets.versions(federation.hub.bucket, federation.run.keys.model(AGGREGATOR))


def test_a_second_agent_of_a_party(tmp_path: Path) -> None:
    federation = AttackedFederation(tmp_path)
    first = federation.federation.parties[ATTACKER]
    folder = tmp_path / "second"
    folder.mkdir()
    second = SimulatedParty(federation.world, federation.hub, first.settings.model_copy(update={"folder": folder}))
    federation.world.run(lambda: federation.world.time > 10, 600)
    second.start_agent()
    federation.as_operator(lambda client: client.start(federation.run))
    federation.finish()
    assert second.trainer is None
    [agent] = federation.as_operator(lambda client: client.reader.agents([ATTACKER]))
    assert agent.instance == ATTACKER
    assert agent.second is not None
    assert agent.second.instance == "second"
