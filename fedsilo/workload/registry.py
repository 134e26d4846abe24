"""What a workload is, and how one is found: as a folder ``workloads/<name>/``.

A workload is a package with the five functions of ``Workload`` and a ``config/fedml_config.yaml``, which is FedML's
own configuration format. Its section ``train_args`` holds every hyperparameter with its default. Nothing in
``fedsilo`` names a workload.

Workloads are found by their folders and not by entry points, because the image and FedML's packages hold the code
without the metadata of a distribution, where entry points are declared.
"""

import copy
import importlib
import importlib.resources
import importlib.util
import math
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
    """What a silo learns from. It never leaves the process."""

    train: Any
    """The training set, in a form that the workload's trainer knows."""
    test: Any
    """The test set, in a form that the workload's trainer knows."""
    num_train: int
    """The number of training samples, which is the weight of the silo's updates."""


class Workload(Protocol):
    """The functions of a workload package.

    ``args`` holds the fields of the workload's configuration and these of the run: ``silo`` (the party's name),
    ``rank`` (0 at the aggregator, a silo's place in the run from 1), ``data`` (``packaged`` or
    ``s3://bucket/prefix``), ``random_seed`` and ``comm_round``.
    """

    def load_silo(self, args: Namespace) -> SiloData:
        """Load the silo's own data.

        Raises:
            SpecError: If there is no data, or it is malformed. The message goes into the status, which others read:
                it says where a value is, and never the value.
        """

    def load_aggregator(self, args: Namespace) -> Any | None:
        """Load the aggregator's hold-out set in a form that ``Aggregator.test`` takes; None to let the silos test."""

    def model(self, args: Namespace) -> "torch.nn.Module":
        """Make an untrained model. The caller has seeded torch with ``random_seed``."""

    def trainer(self, model: "torch.nn.Module", args: Namespace) -> "Trainer":
        """Make what a silo runs."""

    def aggregator(self, model: "torch.nn.Module", args: Namespace) -> "Aggregator":
        """Make what the aggregator runs."""


def available() -> list[str]:
    """The names of the installed workloads, sorted."""
    root = importlib.resources.files(PACKAGE)
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath("config", "fedml_config.yaml").is_file())


def load(name: str) -> Workload:
    """Import a workload. Raises ``SpecError`` with the names of all workloads if there is none of this name."""
    _check_name(name)
    return cast(Workload, importlib.import_module(f"{PACKAGE}.{name}"))


def configuration(name: str) -> dict[str, dict[str, Any]]:
    """The sections of the workload's ``fedml_config.yaml``. Raises ``SpecError`` for an unknown workload."""
    return copy.deepcopy(_configuration(name))


@cache
def _configuration(name: str) -> dict[str, dict[str, Any]]:
    _check_name(name)
    path = importlib.resources.files(PACKAGE).joinpath(name, "config", "fedml_config.yaml")
    return cast(dict[str, dict[str, Any]], yaml.safe_load(path.read_text()))


def _check_name(name: str) -> None:
    names = available()
    if name not in names:
        raise SpecError(f"workload: {name!r} is not one of {', '.join(names)}")


def hyperparameters(name: str, overrides: Mapping[str, str | Hyperparameter]) -> dict[str, Hyperparameter]:
    """All hyperparameters of a workload: its defaults, replaced by ``overrides``.

    Args:
        name: The workload.
        overrides: Values other than the defaults. A text is converted to the type of the default.

    Raises:
        SpecError: If there is no such workload; or with a line for each unknown hyperparameter, and for each value
            that is not of the default's type or not finite.
    """
    defaults: dict[str, Hyperparameter] = configuration(name)["train_args"]
    values, problems = dict(defaults), []
    for key, value in overrides.items():
        if key not in defaults:
            problems.append(f'unknown hyperparameter "{key}" of {name}; it has {", ".join(sorted(defaults))}')
            continue
        kind = type(defaults[key])
        try:
            values[key] = convert(value, kind)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"hyperparameters.{key}: {value!r} is not of type {kind.__name__}")
    if problems:
        raise SpecError("\n".join(problems))
    return values


def all_hyperparameters(among: Collection[str] | None = None) -> set[str]:
    """The names of the hyperparameters of all installed workloads, or of those of them that are in ``among``."""
    installed = [name for name in available() if among is None or name in among]
    return {key for name in installed for key in configuration(name)["train_args"]}


def convert(value: str | Hyperparameter, kind: type) -> Hyperparameter:
    """Convert a value to the type of a hyperparameter.

    Args:
        value: A value from run.json, or a text from the command line.
        kind: ``bool``, ``int``, ``float`` or ``str``.

    Raises:
        TypeError, ValueError, OverflowError: If the value is not of the type, or not finite.
    """
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise ValueError(value)
        return str(value).lower() == "true"
    if isinstance(value, bool) and kind is not str:
        raise ValueError(value)
    if kind is int and isinstance(value, float):
        if value != int(value):
            raise ValueError(value)
        return int(value)
    converted = kind(value)
    if kind is float and not math.isfinite(converted):  # JSON has no NaN and no infinity
        raise ValueError(value)
    return cast(Hyperparameter, converted)
