"""A trainer computes on the GPUs that its owner pays for, or not at all."""

import pytest
import torch

from fedsilo.config.environment import Settings
from fedsilo.errors import DeviceError
from fedsilo.training import device

SETTINGS = Settings(federation="heart", party="cleveland", rank=1, hub_account="1" * 12, hub_region="us-east-1")


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(("paid", "found"), [(1, 0), (2, 1)])
def test_a_trainer_without_the_gpus_of_its_spec_says_so_and_does_not_train(
    monkeypatch: pytest.MonkeyPatch, paid: int, found: int
) -> None:
    with_gpus(monkeypatch, found)
    with pytest.raises(DeviceError, match=rf"^compute\.gpu: the trainer has {paid} .* finds {found}; use an image"):
        device.pick(SETTINGS.model_copy(update={"gpus": paid}), trains=True)


@pytest.mark.parametrize(
    ("paid", "found", "trains", "expected"),
    [(0, 0, True, "cpu"), (0, 1, True, "cuda"), (2, 2, True, "cuda"), (1, 0, False, "cpu"), (1, 1, False, "cpu")],
)
def test_silos_compute_on_gpus_where_there_are_some_and_the_aggregator_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, paid: int, found: int, trains: bool, expected: str
) -> None:
    with_gpus(monkeypatch, found)
    assert device.pick(SETTINGS.model_copy(update={"gpus": paid}), trains).type == expected
