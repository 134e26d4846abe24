"""What a workload is, and how one is found: a folder ``workloads/<name>/`` that says what is learnt, and from what.

A workload is a package with the five functions of ``Workload`` and a ``config/fedml_config.yaml``, FedML's own
configuration format, whose section ``train_args`` holds every hyperparameter with its default. Nothing in ``fedsilo``
knows a workload by name.
"""

import copy
import importlib
import importlib.resources
import importlib.util
import math
import re
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import yaml

from fedsilo.errors import SpecError

if TYPE_CHECKING:
    import torch

    from fedsilo.workload.base import Aggregator, Trainer

NAME_PATTERN = r"[a-z][a-z0-9_]{0,39}"
"""A workload's name: at most 40 of a-z, 0-9 and underscore, starting with a letter."""

Hyperparameter = bool | int | float | str

PACKAGE = "fedsilo_workloads" if importlib.util.find_spec("fedsilo_workloads") else "workloads"
"""The package that holds the workloads: in a checkout the folder ``workloads/``, in the wheel a name of its own."""


@dataclass(frozen=True)
class SiloData:
    """What a silo learns from; it never leaves the process. The trainer alone knows the types of ``train``, ``test``.

    ``num_train`` is the number of training samples: the weight of the silo's updates.
    """

    train: Any
    test: Any
    num_train: int


class Workload(Protocol):
    """The functions of a workload package. ``args`` holds the fields of its configuration and of the run.

    Of the run: ``silo`` (the party's name), ``rank`` (0 at the aggregator, a silo's place in the run from 1),
    ``data`` (``packaged`` or ``s3://bucket/prefix``), ``random_seed``, ``comm_round``.
    """

    def load_silo(self, args: Namespace) -> SiloData:
        """The silo's own data. Raises ``SpecError`` where there is none, or it is malformed.

        Its message goes into the status, which others read: it says where a value is, and never the value.
        """

    def load_aggregator(self, args: Namespace) -> Any | None:
        """A hold-out set of the aggregator's own, as ``Aggregator.test`` takes it, or None: the silos evaluate."""

    def model(self, args: Namespace) -> "torch.nn.Module":
        """The model, freshly initialised; the caller has seeded torch with ``random_seed``."""

    def trainer(self, model: "torch.nn.Module", args: Namespace) -> "Trainer":
        """What a silo runs."""

    def aggregator(self, model: "torch.nn.Module", args: Namespace) -> "Aggregator":
        """What the aggregator runs."""


def load(name: str) -> Workload:
    """The workload ``name``. Raises ``SpecError`` where there is no such workload, naming those there are."""
    if not re.fullmatch(NAME_PATTERN, name) or name not in available():
        raise SpecError(f"workload: {name!r} is not one of {', '.join(available())}")
    return cast(Workload, importlib.import_module(f"{PACKAGE}.{name}"))


def available() -> list[str]:
    """The names of the workloads that are installed, sorted."""
    root = importlib.resources.files(PACKAGE)
    return sorted(
        entry.name for entry in root.iterdir() if entry.joinpath("config").joinpath("fedml_config.yaml").is_file()
    )


def configuration(name: str) -> dict[str, dict[str, Any]]:
    """The sections of the workload's ``fedml_config.yaml``. Raises ``SpecError`` for an unknown workload."""
    return copy.deepcopy(_configuration(name))


@cache
def _configuration(name: str) -> dict[str, dict[str, Any]]:
    if name not in available():
        raise SpecError(f"workload: {name!r} is not one of {', '.join(available())}")
    path = importlib.resources.files(PACKAGE).joinpath(name).joinpath("config").joinpath("fedml_config.yaml")
    return cast(dict[str, dict[str, Any]], yaml.safe_load(path.read_text()))


def hyperparameters(name: str, overrides: Mapping[str, str | Hyperparameter]) -> dict[str, Hyperparameter]:
    """Every hyperparameter of the workload: its defaults, with those of ``overrides`` in their place.

    A text is converted to the type of the default. Raises ``SpecError`` naming every key the workload does not have
    and every value that is not of its type, or not finite.
    """
    defaults: dict[str, Hyperparameter] = configuration(name)["train_args"]
    values, problems = dict(defaults), []
    for key, value in overrides.items():
        if key not in defaults:
            problems.append(f'unknown hyperparameter "{key}" of {name}; it has {", ".join(sorted(defaults))}')
            continue
        kind = type(defaults[key])
        try:
            values[key] = _convert(value, kind)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"hyperparameters.{key}: {value!r} is not of type {kind.__name__}")
    if problems:
        raise SpecError("\n".join(problems))
    return values


def all_hyperparameters(among: Collection[str] | None = None) -> set[str]:
    """The names of all hyperparameters of the workloads that are installed, or of those of them in ``among``."""
    installed = [name for name in available() if among is None or name in among]
    return {key for name in installed for key in configuration(name)["train_args"]}


def _convert(value: str | Hyperparameter, kind: type) -> Hyperparameter:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise ValueError(value)
    if isinstance(value, bool) and kind is not str:
        raise ValueError(value)
    if kind is int and isinstance(value, float):
        if value != int(value):
            raise ValueError(value)
        return int(value)
    converted = kind(value)
    if kind is float and not math.isfinite(converted):  # run.json, which is JSON, has no word for it
        raise ValueError(value)
    return cast(Hyperparameter, converted)
