"""The state of a round's training as one safetensors file: its tensors, and in the metadata all else, as JSON.

Reading such a file executes nothing, as opposed to ``torch.load``.
"""

import json
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

_TREE = "tree"


def dumps(state: Any) -> bytes:
    """Write a state.

    Args:
        state: Tensors, arrays, numbers, texts and None, and lists, tuples and dictionaries of these. Tensors are
            copied, so those that share storage are written apart.

    Raises:
        TypeError: Something in the state is of another type.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_pack(state, tensors))
    body: bytes = save(tensors, metadata={_TREE: tree})
    return body


def loads(body: bytes) -> Any:
    """Read what ``dumps`` has written. Tensors are on the CPU, and every kind of dictionary is a ``dict``."""
    size = int.from_bytes(body[:8], "little")  # https://huggingface.co/docs/safetensors, "Format"
    tree = json.loads(body[8 : 8 + size])["__metadata__"][_TREE]
    return _unpack(json.loads(tree), load(body))


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The value as JSON. A number, a text or None stands for itself, and anything else is an object of one entry."""
    match value:
        case torch.Tensor():
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": name}
        case np.ndarray() | np.generic():
            return {"array": [str(value.dtype), value.tolist()]}
        case dict():
            return {"dict": [[_pack(key, tensors), _pack(inner, tensors)] for key, inner in value.items()]}
        case list() | tuple():
            return {type(value).__name__: [_pack(inner, tensors) for inner in value]}
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"a checkpoint can't hold a {type(value).__name__}; see fedsilo.workload.checkpoint.Part")


def _unpack(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    match tree:
        case {"tensor": name}:
            return tensors[name]
        case {"array": [dtype, values]}:
            return np.array(values, dtype)[()]  # an array of no dimension is a number again
        case {"dict": entries}:
            return {_unpack(key, tensors): _unpack(inner, tensors) for key, inner in entries}
        case {"list": values}:
            return [_unpack(inner, tensors) for inner in values]
        case {"tuple": values}:
            return tuple(_unpack(inner, tensors) for inner in values)
        case _:
            return tree
