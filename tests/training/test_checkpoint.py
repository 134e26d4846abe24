"""A trainer that is killed in mid-round goes on from its last epoch, and its update is the same, bit for bit."""

import itertools
import random
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedsilo.errors import StoreError
from fedsilo.names import AGGREGATOR
from fedsilo.silo_store import FolderStore
from fedsilo.training import checkpoint, state_file
from fedsilo.training.checkpoint import RunCheckpoint
from fedsilo.workload import registry
from fedsilo.workload.checkpoint import Checkpoint
from tests.support.federations import RunningFederation
from tests.support.fork_server import ForkedTrainer
from tests.support.played import SOME_MODEL, Inbox
from tests.support.waiting import until

KEY = "runs/heart-1/checkpoint"
pytestmark = pytest.mark.usefixtures("one_thread")

SAVES_EACH_EPOCH = {"fedsilo.training.checkpoint": {"SAVE_SECONDS": 0.0}}


class Killed(Exception):  # noqa: N818  (stands for a signal)
    pass


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def _saves_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)


def begun(store: FolderStore, round_idx: int = 3, broadcast: str = "a" * 64) -> RunCheckpoint:
    """The checkpoint of a trainer that has just been started, in a round."""
    made = RunCheckpoint(store, "heart-1")
    made.begin(round_idx, broadcast)
    return made


def train(epochs: Callable[..., Iterator[int]], die_in: int | None = None) -> dict[str, torch.Tensor]:
    """Train with everything that has a state: a scheduled Adam, dropout, and random numbers of five kinds."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100)
    order, noise = np.random.default_rng(1), torch.Generator().manual_seed(1)
    for epoch in epochs(5, model=model, optimizer=optimizer, scheduler=scheduler, order=order, noise=noise):
        for index in order.permutation(3):
            inputs = torch.randn(6, 4, generator=noise) + torch.randn(6, 4) + index
            loss = model(inputs).square().mean() * random.random() * np.random.random()  # noqa: S311
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        if epoch == die_in:
            raise Killed
    return model.state_dict()


@pytest.mark.usefixtures("_saves_each_epoch")
def test_everything_that_changes_in_an_epoch_goes_on_as_it_was(store: FolderStore) -> None:
    undisturbed = train(Checkpoint().epochs)
    for die_in in (1, 3, 4):  # killed again and again
        with pytest.raises(Killed):
            train(begun(store).epochs, die_in)
    again = train(begun(store).epochs)
    assert all(torch.equal(again[name], tensor) for name, tensor in undisturbed.items())


@pytest.mark.usefixtures("_saves_each_epoch")
@pytest.mark.parametrize("name", ["heart_disease", "mlp"])
def test_the_workloads_go_on_from_their_last_epoch(
    store: FolderStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def result(kept: Checkpoint, die_in: int | None = None) -> dict[str, torch.Tensor]:
        steps.clear()
        trainer, data, args = trainer_of(name, epochs=4, **({"samples": 50, "parameters": 99} if name == "mlp" else {}))
        args.checkpoint, args.tracker = kept, Namespace(log_metric=lambda _, value, step: logged(step, die_in))
        trainer.update_dataset(data.train, data.test, data.num_train)
        trainer.train(data.train, torch.device("cpu"), args)
        return dict(trainer.get_model_params())

    def logged(step: int, die_in: int | None) -> None:
        steps.append(step)
        if step == die_in:
            raise Killed

    undisturbed = result(Checkpoint())
    assert set(steps) == {0, 1, 2, 3}
    with pytest.raises(Killed):
        result(begun(store), die_in=2)
    again = result(begun(store))
    assert set(steps) == {2, 3}
    assert all(torch.equal(again[each], tensor) for each, tensor in undisturbed.items())


def trainer_of(name: str, **overrides: Any) -> tuple[Any, Any, Namespace]:
    """A workload's trainer with its data and its arguments, as a silo that has just been started makes them."""
    chosen = registry.hyperparameters(name, overrides)
    args = Namespace(**chosen, silo="cleveland", data="packaged", random_seed=1, rank=1, comm_round=1, round_idx=0)
    workload = registry.load(name)
    torch.manual_seed(1)
    return workload.trainer(workload.model(args), args), workload.load_silo(args), args


@pytest.mark.usefixtures("_saves_each_epoch")
def test_another_rounds_checkpoint_is_not_used(store: FolderStore) -> None:
    for round_idx, broadcast in ((4, "a" * 64), (3, "b" * 64)):
        list(itertools.islice(begun(store).epochs(5), 3))
        assert list(begun(store, round_idx, broadcast).epochs(5)) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("_saves_each_epoch")
def test_a_round_may_have_several_loops(store: FolderStore) -> None:
    killed = begun(store)
    list(killed.epochs(3))
    list(itertools.islice(killed.epochs(3), 2))
    again = begun(store)
    assert [list(again.epochs(3)) for _ in range(3)] == [[], [1, 2], [0, 1, 2]]


@pytest.mark.usefixtures("_saves_each_epoch")
def test_nothing_is_kept_of_a_round_that_is_over_nor_of_a_run_that_has_ended(store: FolderStore) -> None:
    store.put("runs/heart-0/checkpoint", b"x")
    store.put("privacy/ledger", b"x")
    kept = begun(store)
    list(kept.epochs(2))
    assert store.keys("") == ["privacy/ledger", KEY]
    kept.finish()
    assert store.keys("") == ["privacy/ledger"]


def test_a_short_round_keeps_nothing(store: FolderStore) -> None:
    assert list(begun(store).epochs(3)) == [0, 1, 2]
    assert store.keys("") == []


@pytest.mark.usefixtures("_saves_each_epoch")
def test_a_checkpoint_that_does_not_fit_is_an_error_once(store: FolderStore) -> None:
    list(itertools.islice(begun(store).epochs(3, model=nn.Linear(2, 1)), 2))
    with pytest.raises(RuntimeError, match="size mismatch"):
        list(begun(store).epochs(3, model=nn.Linear(3, 1)))
    assert list(begun(store).epochs(3, model=nn.Linear(3, 1))) == [0, 1, 2]


@pytest.mark.usefixtures("_saves_each_epoch")
def test_a_round_goes_on_when_the_store_fails(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("no space left")

    kept = begun(store)
    monkeypatch.setattr(store, "put", fail)
    monkeypatch.setattr(store, "delete", fail)
    assert list(kept.epochs(2)) == [0, 1]
    kept.finish()
    assert "epoch 1 was not kept, and would be trained again after a restart: no space left" in caplog.text
    assert "was not removed: no space left" in caplog.text


def test_a_trainer_killed_by_sigkill_goes_on_from_its_last_epoch(endpoint: str, tmp_path: Path) -> None:
    """A real process, between a played aggregator's broadcast and its own update."""
    epochs = 16
    federation = RunningFederation(endpoint, tmp_path, rounds=1, hyperparameters={"epochs": epochs})
    store = FolderStore(tmp_path / "store")
    settings = federation.settings("cleveland").model_copy(update={"store": str(tmp_path / "store")})
    policy = federation.federation.party("cleveland").policy
    aggregator = Inbox(federation.mailbox(AGGREGATOR))
    aggregator.mailbox.broadcast(["cleveland"], "sync", 0, {}, {"model": SOME_MODEL})

    def start() -> ForkedTrainer:
        log = tmp_path / "log.txt"
        return ForkedTrainer(settings, policy, federation.identity, endpoint, log, tmp_path, SAVES_EACH_EPOCH)

    def epoch() -> int:
        kept = store.get(f"runs/{federation.run.id}/checkpoint")
        return 0 if kept is None else int(state_file.loads(kept.body)["epoch"])

    trainer = start()
    until(lambda: epoch() > 1, lambda: "\n".join(["some epochs", *trainer.last_lines(30)]))
    trainer.kill()
    killed_at = epoch()
    assert 1 < killed_at < epochs
    trainer = start()
    update = aggregator.wait("update")
    trainer.kill()
    assert f"round 0: goes on with epoch {killed_at} of {epochs}" in (tmp_path / "log.txt").read_text()

    reference, data, args = trainer_of("heart_disease", epochs=epochs)
    args.checkpoint, args.tracker = Checkpoint(), Namespace(log_metric=lambda *_: None)
    reference.set_model_params(SOME_MODEL)
    reference.update_dataset(data.train, data.test, data.num_train)
    reference.train(data.train, torch.device("cpu"), args)
    for name, tensor in reference.get_model_params().items():
        assert torch.equal(update.groups["model"][name], tensor)
    federation.close()
