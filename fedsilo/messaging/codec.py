"""The file format of a mail: one safetensors file.

The tensor ``name`` of the group ``group`` is stored as ``group/name``. The file's metadata has one entry, ``fedsilo``:
the header, a JSON object with the mail's kind, round and fields. Reading a file unpickles and executes nothing.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fedsilo.errors import MailError
from fedsilo.files import explained
from fedsilo.messaging.messages import MODEL, MailKind
from fedsilo.messaging.notice import Notice
from fedsilo.text import QUOTE_LIMIT, REASON_LIMIT, plain

Tensors = Mapping[str, torch.Tensor]

_HEADER = "fedsilo"

_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")
"""How Rust, in which safetensors is written, words an error of the operating system."""


@dataclass(frozen=True)
class Mail:
    """A mail that was read."""

    sender: str
    """The party below whose prefix the mail's object is."""
    seq: int
    """The number of the mail among those of its sender; of a broadcast, the round that it opens."""
    kind: str
    """What the address and the header say: a ``MailKind``, or a word that no ``MailKind`` has."""
    round_idx: int
    """The round that the mail belongs to, from 0."""
    fields: dict[str, Any]
    """JSON values by name."""
    groups: dict[str, OrderedDict[str, torch.Tensor]] = field(default_factory=dict)
    """Tensors by group and name. Those of the group ``MODEL`` are views of the file: copy what has to be kept."""


def write(path: Path, kind: str, round_idx: int, fields: Mapping[str, Any], groups: Mapping[str, Tensors]) -> None:
    """Write a mail's file. The arguments are those of ``Mail``."""
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    header = json.dumps({"kind": kind, "round": round_idx, "fields": dict(fields)})
    save(path, tensors, {_HEADER: header})


def save(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file of tensors of any shape and strides, which are kept bit for bit.

    Tensors that share memory, as tied parameters do, are each written whole.

    Raises:
        DiskError: The disk is full.
    """
    whole = _apart(tensors)
    with explained(path, sum(tensor.nbytes for tensor in whole.values())):
        try:
            save_file(whole, path, metadata=metadata)
        except SafetensorError as error:
            if code := _OS_ERROR.search(str(error)):
                raise OSError(int(code[1]), str(error)) from error
            raise


def _apart(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors, contiguous and without common memory, which safetensors refuses to write. No other is copied."""
    apart: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.contiguous()
        if own.untyped_storage().data_ptr() in storages:
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        apart[name] = own
    return apart


def read(path: Path, notice: Notice) -> Mail:
    """Read a mail's file, of which another party may have written anything.

    Args:
        path: The file. It may be removed afterwards: the tensors stay valid.
        notice: The notice of the mail.

    Raises:
        MailError: The file is not a mail, or its header says another kind or another round than its address.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, ""))
            kind, round_idx, fields = str(header["kind"]), int(header["round"]), header["fields"]
            if not isinstance(fields, dict):
                raise TypeError("its fields are not an object")
            groups: dict[str, OrderedDict[str, torch.Tensor]] = {}
            for key in file.keys():  # noqa: SIM118  (not a mapping)
                group, _, name = key.partition("/")
                tensor = file.get_tensor(key)
                # A view keeps the whole file in memory. Only the model is large enough to be worth it.
                groups.setdefault(group, OrderedDict())[name] = tensor if group == MODEL else tensor.clone()
    except SafetensorError as error:
        raise MailError(f"{notice} is not a safetensors file: {plain(error, REASON_LIMIT)}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, RuntimeError) as error:
        raise MailError(f"{notice} has no readable header: {plain(error, REASON_LIMIT)}") from error
    address = notice.address
    if kind != (expected := address.kind or MailKind.SYNC):
        raise MailError(f"{notice} is of kind {expected}, but its header says kind {plain(kind, QUOTE_LIMIT)!r}")
    if round_idx != address.round_idx:
        said = plain(round_idx, QUOTE_LIMIT)
        raise MailError(f"{notice} belongs to round {address.round_idx}, but its header says round {said}")
    return Mail(address.sender, address.seq, kind, round_idx, fields, groups)
