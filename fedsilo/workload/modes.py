"""In which mode a workload's functions run, whatever those before them have left behind.

fedsilo calls each function of a workload inside one of these context managers. A function may change the modes of
modules, the flags and the defaults of PyTorch; the next one does not notice.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Train in the block: the model is in train mode, and gradients are computed."""
    with unchanged(model):
        model.train()
        torch.set_grad_enabled(True)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluate in the block: the model is in eval mode, and no gradients are computed.

    The global random numbers of Python, NumPy and PyTorch go on afterwards as if nothing had been drawn in the block.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with unchanged(model), torch.random.fork_rng(devices):
        model.eval()
        torch.set_grad_enabled(False)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Restore after the block: modes, which parameters need gradients, whether they are computed, the default dtype."""
    modes = [(module, module.training) for module in model.modules()]
    needed = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    computed, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, need in needed:
            parameter.requires_grad_(need)
        torch.set_grad_enabled(computed)
        torch.set_default_dtype(dtype)
