"""Where a party computes: on the GPUs that its owner gave it, or on the CPU."""

import torch

from fedsilo.config.environment import Settings
from fedsilo.errors import DeviceError


def pick(settings: Settings, trains: bool) -> torch.device:
    """The device of the party's model.

    Args:
        settings: The party.
        trains: Whether the party trains. Aggregating is bound by memory, and a GPU does not make it faster.

    Raises:
        DeviceError: The owner pays for GPUs, and PyTorch finds fewer.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if trains and found < settings.gpus:
        raise DeviceError(
            f"compute.gpu: the trainer has {settings.gpus} by the federation's file, and PyTorch {torch.__version__} "
            f"finds {found}; use an image with a build of PyTorch for this node's GPUs, or set compute.gpu to {found}"
        )
    return torch.device("cuda" if trains and found else "cpu")
