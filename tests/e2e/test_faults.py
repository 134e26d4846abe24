"""What goes wrong in a run, shown on real processes over real mail: the run ends with the right model, or says why."""

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from fedsilo import aws, names
from fedsilo.keys import MailAddress, RunKeys
from fedsilo.messaging.mailbox import Mailbox
from fedsilo.messaging.notice import Notice
from fedsilo.states import TrainerExit
from fedsilo.workload.base import Sums
from tests.support import mails
from tests.support.faulty_proxy import FaultyProxy
from tests.support.federations import HOSPITALS, RunningFederation, assert_same_model
from tests.support.played import SOME_STATISTICS

AGGREGATOR = names.AGGREGATOR
FIRST, SECOND = HOSPITALS[:2]

Make = Callable[..., RunningFederation]


@pytest.fixture
def make(endpoint: str, tmp_path: Path) -> Iterator[Make]:
    made: list[RunningFederation] = []

    def start(**choices: Any) -> RunningFederation:
        made.append(RunningFederation(choices.pop("endpoint", endpoint), tmp_path, **choices))
        return made[-1]

    yield start
    for federation in made:
        federation.close()


@pytest.fixture(scope="session")
def undisturbed(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The model of the run that nothing disturbs."""
    federation = RunningFederation(endpoint, tmp_path_factory.mktemp("undisturbed"))
    federation.start_all()
    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    assert federation.record().rounds_completed == 4
    federation.close()
    return federation.model()


def test_a_silo_killed_in_mid_round_and_started_again_costs_nothing(make: Make, undisturbed: Any) -> None:
    federation = make()
    federation.start_holding(SECOND)
    federation.trainers[SECOND].kill()
    federation.start(SECOND)
    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    assert_same_model(federation.model(), undisturbed)


def test_an_aggregator_killed_in_mid_round_and_started_again_loses_no_update(make: Make, undisturbed: Any) -> None:
    federation = make()
    federation.start_holding(SECOND)
    federation.trainers[AGGREGATOR].kill()
    federation.go_on(SECOND)
    federation.start(AGGREGATOR)
    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    assert federation.events("resumed")
    assert_same_model(federation.model(), undisturbed)
    trained = [line.round for line in federation.record().lines[FIRST] if line.name == "train"]
    assert trained == [0, 1, 2, 3], "the update that was in the bucket was used, not made again"


def test_a_silo_dead_for_good_is_named_and_the_quorum_goes_on(make: Make) -> None:
    federation = make(silos=HOSPITALS[:3], quorum=2, deadline_seconds=8.0, rounds=3)
    dead = HOSPITALS[2]
    federation.start(*HOSPITALS[:3])
    federation.until(lambda: federation.status(dead).get("state") == "WAITING", "the silos to wait")
    federation.hold(dead)
    federation.start(AGGREGATOR)
    federation.until_round(0, {FIRST, SECOND})
    federation.trainers[dead].kill()
    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    assert federation.events("deadline") == [f"closed with 2; missing {dead}"], "the deadline was paid once"
    assert federation.record().rounds_completed == 3
    assert federation.model()


def test_without_a_quorum_the_run_says_why_it_ends(make: Make) -> None:
    federation = make(deadline_seconds=8.0)
    federation.start_holding(SECOND)
    federation.trainers[SECOND].kill()
    assert federation.wait(AGGREGATOR, FIRST) == {AGGREGATOR: TrainerExit.FATAL, FIRST: TrainerExit.FATAL}, (
        federation.logs()
    )
    reason = f"round 0: 1 of 2 silos answered within 8 s; the quorum is 2; missing {SECOND}"
    for party in (AGGREGATOR, FIRST):
        assert federation.status(party)["state"] == "FAILED"
        assert federation.status(party)["reason"] == reason
        assert federation.trainers[party].last_lines(1)[0].endswith(reason)


def test_dropped_mail_changes_nothing(make: Make, undisturbed: Any) -> None:
    """Duplicate, stale, malformed and foreign mail among that of silos that take part."""
    federation, other = make(), make()
    mailbox = federation.mailbox(AGGREGATOR)
    queue = names.data_queue(federation.federation.name, AGGREGATOR)
    sqs = aws.sqs("us-east-1")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def notice(body: str) -> None:
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="x", MessageDeduplicationId=str(hash(body)))

    for body in ("", "{", "[]", '{"key": 1}', json.dumps({"key": "runs/x/y", "size": 1, "sha256": ""})):
        if body:
            notice(body)
    foreign = RunKeys(other.run.id).mail(SECOND, AGGREGATOR, 0, "update", 0)
    notice(json.dumps({"key": foreign.key, "size": 10, "sha256": "0" * 64}))
    not_mine = RunKeys(federation.run.id).mail(SECOND, FIRST, 0, "update", 0)
    notice(json.dumps({"key": not_mine.key, "size": 10, "sha256": "0" * 64}))

    federation.start_holding(SECOND)
    for kind in ("status", "update"):
        old = mailbox.last(FIRST, kind)
        assert old is not None
        for _ in range(3):
            mailbox.remind(AGGREGATOR, old)
    federation.go_on(SECOND)
    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    assert_same_model(federation.model(), undisturbed)
    log = (federation.folder / f"{AGGREGATOR}.log").read_text()
    for line in ("a malformed notice", f"mail for {FIRST}", "second notice"):
        assert line in log
    assert f"mail of run {other.run.id}" not in log, "it was left for the trainer of that run"


class Villain:
    """A silo that the test plays: it comes ONLINE as others do, and answers round 0 with something else."""

    def __init__(
        self, federation: RunningFederation, name: str, samples: int = 50, statistics: Sums = SOME_STATISTICS
    ) -> None:
        self.mailbox: Mailbox = federation.mailbox(name)
        self.name = name
        fields = {"client_status": "ONLINE", "num_samples": samples}
        self.mailbox.send(AGGREGATOR, "status", 0, fields, {"statistics": statistics})

    def answer(
        self,
        model: dict[str, torch.Tensor],
        samples: Any = 50,
        kind: str = "update",
        evaluation: dict[str, torch.Tensor] | None = None,
    ) -> None:
        groups = {"model": model, "evaluation": evaluation or {}}
        self.mailbox.send(AGGREGATOR, kind, 0, {"num_samples": samples}, groups)

    def answer_bytes(self, body: bytes, digest: str = "") -> None:
        """Put any bytes where a mail should be, with a notice that fits, and any digest."""
        self.mailbox.remind(AGGREGATOR, mails.put(self.mailbox, body, digest=digest))

    def notify(self, address: MailAddress, size: int, digest: str) -> None:
        self.mailbox.remind(AGGREGATOR, Notice(address, size, digest))


class Exploit:
    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def send_bad_updates(played: dict[str, Villain], update: dict[str, torch.Tensor], weight: str) -> None:
    """Answer round 0 for each villain: with the good update, or with its tensor ``weight`` spoiled."""
    played["nan"].answer(update | {weight: torch.full_like(update[weight], float("nan"))})
    played["shape"].answer(update | {weight: torch.zeros(1, 14)})
    played["dtype"].answer(update | {weight: update[weight].double()})
    played["count"].answer(update, samples=10**9)
    played["pickle"].answer_bytes(pickle.dumps(Exploit()))
    played["cut"].answer_bytes(save(update)[:-8])
    played["digest"].answer_bytes(save(update), digest="0" * 64)
    played["large"].answer_bytes(bytes(9 * 2**20))
    played["kind"].answer(update, kind="sync")
    for seq in (1, 2):  # what another silo has sent, and what it will send next: forged, and not held against it
        forged = played["names"].mailbox.keys.mail(FIRST, AGGREGATOR, seq, "update", 0)
        played["names"].notify(forged, 10, "0" * 64)
    played["odd-evaluation"].answer(update, evaluation={"histogram": torch.ones(3)})
    played["names"].answer({name: tensor for name, tensor in update.items() if name != weight})


def test_each_bad_update_is_refused_and_named_and_the_others_go_on(make: Make) -> None:
    villains = ("nan", "shape", "dtype", "count", "pickle", "cut", "digest", "large", "kind", "names")
    others = ("odd-sums", "negative", "odd-evaluation")  # the last is not refused, and silent from round 1 on
    federation = make(silos=(FIRST, SECOND, *villains, *others), quorum=2, rounds=2, deadline_seconds=10.0)
    played = {name: Villain(federation, name) for name in (*villains, "odd-evaluation")}
    Villain(federation, "negative", samples=-5)
    Villain(federation, "odd-sums", statistics={"count": torch.tensor([50, 50])})
    federation.start(AGGREGATOR, FIRST, SECOND)
    federation.until_round(0, {FIRST, SECOND})
    model = federation.mailbox(FIRST).open(federation.mailbox(FIRST).newest_broadcast()).groups["model"]  # type: ignore[arg-type]
    update = {name: tensor.clone() for name, tensor in model.items()}
    weight = next(name for name, tensor in update.items() if tensor.dim() == 2)

    send_bad_updates(played, update, weight)

    assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
    refused = federation.status(AGGREGATOR)["refused"]
    expected = {
        "nan": f"the update: {weight} has values that are not finite",
        "shape": f"the update: {weight} has shape [1, 14], the model's [1, 13]",
        "dtype": f"the update: {weight} has dtype torch.float64, the model's torch.float32",
        "count": "declares 1000000000 training samples, but had declared 50",
        "pickle": "is not a safetensors file",
        "cut": "is not a safetensors file",
        "digest": "it was changed on the way",
        "large": "is 9,437,184 bytes; a mail of this run has at most",
        "kind": "is of unknown type 'sync'",
        "negative": "declares -5 training samples",
        "odd-sums": "its statistic has no sum",
        "names": f"the tensors are not the model's; {weight} missing or unknown",
    }
    assert refused.keys() == expected.keys()
    assert {name: refused[name] for name, reason in expected.items() if reason not in refused[name]} == {}
    [ignored, *_] = [text for text in federation.events("ignored") if text.startswith("odd-evaluation")]
    assert ignored == "odd-evaluation: its evaluation has no count"
    assert "unpickled" not in (federation.folder / f"{AGGREGATOR}.log").read_text()
    mail = played["nan"].mailbox.open(played["nan"].mailbox.receive(0)[-1])
    assert mail.kind == "finish"
    assert "not finite" in mail.fields["reason"]
    assert federation.record().rounds_completed == 2
    assert federation.record().metric("Test:AUC", FIRST)


def test_a_false_sample_count_from_the_start_is_capped(make: Make) -> None:
    """A silo that declares a thousand million patients weighs as ten median silos at most."""
    federation = make(silos=(*HOSPITALS[:3], "liar"), quorum=3, rounds=1, deadline_seconds=10.0)
    statistics = {name: tensor * (10**9 // 50) for name, tensor in SOME_STATISTICS.items()}
    liar = Villain(federation, "liar", samples=10**9, statistics=statistics)
    federation.start_all_but("liar")
    federation.until_round(0, set(HOSPITALS[:3]))
    model = liar.mailbox.open(liar.mailbox.newest_broadcast()).groups["model"]  # type: ignore[arg-type]
    liar.answer({name: tensor.clone() for name, tensor in model.items()}, samples=10**9)
    assert federation.wait(AGGREGATOR)[AGGREGATOR] == 0, federation.logs()
    capped = "liar has 1000000000 samples; its update weighs as 1720"  # 10 x the lower median
    assert federation.events("capped") == [capped]


def test_an_outage_of_s3_and_sqs_is_ridden_out(make: Make, endpoint: str, undisturbed: Any) -> None:
    with FaultyProxy(endpoint) as proxy:
        federation = make(endpoint=proxy.endpoint)
        federation.start(FIRST, SECOND)
        federation.until(lambda: federation.status(SECOND).get("state") == "WAITING", "the silos to wait")
        proxy.fail_next(s3=5, sqs=5)
        federation.start(AGGREGATOR)
        assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
        assert proxy.failed == {"s3": 5, "sqs": 5}
    assert_same_model(federation.model(), undisturbed)


def test_sagemaker_down_throughout_is_counted_and_stops_nothing(make: Make, endpoint: str, undisturbed: Any) -> None:
    with FaultyProxy(endpoint) as proxy:
        proxy.fail_next(sagemaker=10**6)
        federation = make(endpoint=proxy.endpoint)
        federation.start_all()
        assert set(federation.wait(AGGREGATOR, FIRST, SECOND).values()) == {0}, federation.logs()
        assert proxy.failed["sagemaker"] > 0
    assert_same_model(federation.model(), undisturbed)
    for party in (AGGREGATOR, FIRST, SECOND):
        assert federation.status(party)["tracking_failures"] >= 1
        assert "tracking failed, the run continues" in (federation.folder / f"{party}.log").read_text()
