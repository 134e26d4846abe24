"""Updates are added in the order of ranks, whatever their order of arrival; one that is bad ends its silo's part."""

import contextlib
import itertools
from argparse import Namespace
from collections import OrderedDict
from typing import Any, cast

import pytest
import torch

from fedsilo.config.run import Run
from fedsilo.errors import MailError, NoticeError
from fedsilo.messaging.codec import Mail
from fedsilo.messaging.messages import WEIGHT_CAP, MailKind
from fedsilo.messaging.notice import Notice
from fedsilo.names import AGGREGATOR
from fedsilo.states import Event
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.evaluation import Evaluations
from fedsilo.training.rounds import Rounds
from fedsilo.training.sums import Expected
from fedsilo.workload import registry
from fedsilo.workload.base import Aggregator, Sums
from tests.support.strategies import RUN

SILOS = ["aa", "bb", "cc", "dd"]
SAMPLES = {"aa": 199, "bb": 172, "cc": 30, "dd": 84}


class Anything(Aggregator):
    def metrics(self, totals: Sums) -> dict[str, float]:
        return {}


class Bucket:
    """The hub, in memory: it is the communication manager, its mailbox, and the ledger."""

    def __init__(self) -> None:
        self.mailbox = self
        self.wake_at = 0.0
        self.mails: dict[Notice, Mail] = {}
        self.broadcasts: list[tuple[dict[str, Any], dict[str, torch.Tensor]]] = []
        self.told: list[str] = []
        self.events: list[tuple[Event, str]] = []
        self.written: dict[str, Any] = {}

    def verify(self, notice: Notice) -> None:
        if notice not in self.mails:
            raise NoticeError("does not exist")

    def open(self, notice: Notice) -> Mail:
        self.verify(notice)
        return self.mails[notice]

    def broadcast(self, silos: Any, round_idx: int, fields: dict[str, Any], model: dict[str, torch.Tensor]) -> Notice:
        self.broadcasts.append((fields, {name: tensor.clone() for name, tensor in model.items()}))
        return Notice(Run.checked(RUN).keys.broadcast(round_idx), 1, "")

    def remind(self, receiver: str, notice: Notice) -> None:
        pass

    def send_finish(self, silo: str, round_idx: int, reason: str, *, refused: bool) -> None:
        self.told.append(silo)

    def status(self, **fields: Any) -> None:
        self.written |= fields

    def event(self, name: Event, round_idx: int, text: str) -> None:
        self.events.append((name, text))

    def span(self, name: str, round_idx: Any) -> Any:
        return contextlib.nullcontext()


class Round:
    """Round 0 of a run, to which a test hands updates."""

    def __init__(self, samples: dict[str, int] = SAMPLES, quorum: int = 2) -> None:
        self.bucket = Bucket()
        self.run = Run.checked(RUN | {"workload": "mlp", "silos": SILOS, "quorum": quorum})
        torch.manual_seed(1)
        args = Namespace(federated_optimizer="FedAvg", round_idx=0, dataset="")
        workload = Anything(torch.nn.Linear(40, 40), args)
        aggregator = StreamingAggregator(args, torch.device("cpu"), workload, len(SILOS), None)
        hub = cast(Any, self.bucket)
        expected = Expected(registry.declaration("mlp"), 1)
        evaluations = Evaluations(aggregator, expected, hub, cast(Any, None))
        self.rounds = Rounds(self.run, aggregator, hub, hub, evaluations)
        self.rounds.start()
        for name, count in samples.items():
            self.rounds.join(self.rounds.roster[name], count, {})

    def notice(self, name: str, round_idx: int = 0) -> Notice:
        return Notice(self.run.keys.mail(name, AGGREGATOR, 1, MailKind.UPDATE, round_idx), 1, "")

    def store(self, name: str, **changes: Any) -> Notice:
        """Put a silo's update into the bucket; ``changes`` replace tensors of it."""
        torch.manual_seed(self.run.rank(name))
        model = {"weight": torch.randn(40, 40), "bias": torch.randn(40)} | changes
        notice = self.notice(name)
        fields = {"num_samples": SAMPLES[name]}
        self.bucket.mails[notice] = Mail(name, 1, MailKind.UPDATE, 0, fields, {"model": OrderedDict(model)})
        return notice

    def announce(self, name: str, notice: Notice) -> None:
        self.rounds.announce(self.rounds.roster[name], notice)


def test_four_updates_give_the_same_bits_in_each_of_their_24_orders() -> None:
    models = []
    for order in itertools.permutations(SILOS):
        round_ = Round()
        for name in order:
            round_.announce(name, round_.store(name))
        assert len(round_.bucket.broadcasts) == 2
        models.append(round_.bucket.broadcasts[1][1])
    assert all(model[name].equal(tensor) for model in models for name, tensor in models[0].items())
    weights = torch.tensor([SAMPLES[name] for name in SILOS]).double()
    sent = torch.stack([round_.bucket.mails[round_.notice(name)].groups["model"]["bias"] for name in SILOS]).double()
    torch.testing.assert_close(models[0]["bias"].double(), weights @ sent / weights.sum(), rtol=1e-6, atol=1e-6)


def test_an_update_that_waits_for_its_turn_counts_as_an_answer_and_takes_no_memory() -> None:
    round_ = Round()
    for name in ("dd", "cc"):
        round_.announce(name, round_.store(name))
    assert round_.bucket.written["answered"] == ["cc", "dd"]
    assert round_.rounds.roster["dd"].update is not None
    assert not round_.rounds.roster["dd"].answered
    round_.announce("dd", round_.notice("dd"))
    assert round_.bucket.events[-1] == (Event.LATE, "dd answered round 0; dropped"), "only the first counts"
    round_.rounds.close_without_missing()
    assert len(round_.bucket.broadcasts) == 2, "at the deadline, those that wait are added"


@pytest.mark.parametrize("bad", [{"bias": torch.full((40,), torch.nan)}, {"bias": torch.zeros(3)}])
def test_a_waiting_update_that_is_bad_ends_its_silos_part_and_the_round_goes_on(bad: dict[str, torch.Tensor]) -> None:
    spoiled, honest = Round(), Round()
    for name in ("cc", "dd", "bb", "aa"):
        spoiled.announce(name, spoiled.store(name, **(bad if name == "cc" else {})))
        if name != "cc":
            honest.announce(name, honest.store(name))
    honest.rounds.close_without_missing()
    assert spoiled.bucket.told == ["cc"]
    assert spoiled.bucket.written["refused"].keys() == {"cc"}
    [found, expected] = [each.bucket.broadcasts[1][1] for each in (spoiled, honest)]
    assert all(found[name].equal(tensor) for name, tensor in expected.items())


def test_a_notice_without_an_update_counts_as_no_answer() -> None:
    round_ = Round()
    for name in ("cc", "aa"):  # c is not the next, a is
        with contextlib.suppress(NoticeError):
            round_.announce(name, round_.notice(name))
    assert round_.bucket.written["answered"] == []
    for name in ("cc", "aa", "dd", "bb"):
        round_.announce(name, round_.store(name))
    assert len(round_.bucket.broadcasts) == 2


def test_an_update_of_another_round_is_dropped_without_being_opened() -> None:
    round_ = Round()
    round_.announce("aa", round_.notice("aa", 7))
    assert (Event.LATE, "aa answered round 7; dropped") in round_.bucket.events
    assert round_.bucket.written["answered"] == []


def test_an_update_of_a_silo_that_the_round_does_not_ask_ends_its_part() -> None:
    round_ = Round()
    round_.rounds.roster["bb"].asked = False
    assert round_.rounds.roster.next_update is None, "aa may still answer"
    for name in ("aa", "cc"):
        round_.announce(name, round_.store(name))
    assert round_.bucket.written["answered"] == ["aa", "cc"], "nobody waits for bb"
    with pytest.raises(MailError, match="round 0 did not ask bb"):
        round_.announce("bb", round_.store("bb"))


def test_the_weight_cap_is_part_of_the_checkpoint_and_recorded_with_whom_it_touches() -> None:
    round_ = Round({"aa": 2, "bb": 3, "cc": 30})
    round_.rounds.open_first_round()
    assert round_.bucket.broadcasts[0][0][WEIGHT_CAP] == 30
    round_.rounds.join(round_.rounds.roster["dd"], SAMPLES["dd"], {})  # late
    assert (round_.bucket.written["weight_cap"], round_.bucket.written["capped"]) == (30, ["dd"])
    round_.announce("dd", round_.store("dd"))
    for name in ("aa", "bb", "cc"):
        with contextlib.suppress(MailError):
            round_.announce(name, round_.store(name))
    capped = [text for name, text in round_.bucket.events if name == Event.CAPPED]
    assert capped == ["dd has 84 samples; its update weighs as 30"]
