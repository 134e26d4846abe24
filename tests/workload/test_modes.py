"""What one function of a workload leaves behind does not change what the next one does."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from fedsilo.workload import modes

ROUNDS = 3


def forget_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def draw_and_seed(_: nn.Module) -> None:
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    torch.rand(3)


LEFT_BEHIND: dict[str, Callable[[nn.Module], object]] = {
    "eval mode": lambda model: model.eval(),
    "train mode of a part": lambda model: next(model.children()).train(),
    "no gradients": lambda _: torch.set_grad_enabled(False),
    "no gradients of parameters": forget_gradients,
    "default dtype": lambda _: torch.set_default_dtype(torch.float64),
}
IN_AN_EVALUATION = LEFT_BEHIND | {"random numbers": draw_and_seed}


def train(model: nn.Module) -> None:
    for _ in range(3):
        loss = model(torch.ones(4, 3)).square().sum() * np.random.random()
        loss.backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.data -= 0.01 * parameter.grad
            parameter.grad = None


def learned(after_training: Callable[[nn.Module], object], after_test: Callable[[nn.Module], object]) -> torch.Tensor:
    """All parameters after some rounds with dropout, where each function leaves something behind."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    for _ in range(ROUNDS):
        with modes.evaluating(model):
            assert model(torch.ones(1, 3)).equal(model(torch.ones(1, 3))), "no dropout"
            assert not model(torch.ones(1, 3)).requires_grad
            after_test(model)
        with modes.training(model):
            train(model)
            after_training(model)
    left = torch.tensor([random.getrandbits(20)])
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()] + [torch.rand(1), left])


@pytest.mark.parametrize("what", IN_AN_EVALUATION)
def test_what_an_evaluation_leaves_behind_changes_no_training(what: str) -> None:
    expected = learned(lambda _: None, lambda _: None)
    assert learned(lambda _: None, IN_AN_EVALUATION[what]).equal(expected)


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_what_a_training_leaves_behind_changes_no_later_one(what: str) -> None:
    expected = learned(lambda _: None, lambda _: None)
    assert learned(LEFT_BEHIND[what], lambda _: None).equal(expected)


def test_a_function_has_its_mode_whatever_was_before() -> None:
    model = nn.Dropout().eval()
    with torch.no_grad():
        with modes.training(model):
            assert (model.training, torch.is_grad_enabled()) == (True, True)
        assert (model.training, torch.is_grad_enabled()) == (False, False)
    model.train()
    with modes.evaluating(model):
        assert (model.training, torch.is_grad_enabled()) == (False, False)
    assert (model.training, torch.is_grad_enabled()) == (True, True)


def test_all_is_restored_after_an_error_too() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    model[1].eval()

    def fail() -> None:
        with modes.training(model):
            torch.set_default_dtype(torch.float64)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_default_dtype() == torch.float32
    assert [module.training for module in model] == [True, False]
