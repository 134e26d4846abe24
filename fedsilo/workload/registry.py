"""What a workload is, and how one is found: as a folder ``workloads/<name>/``.

A workload is a package with the five functions of ``Workload``, a ``workload.yaml``, in which it declares itself
(``declaration.py``), and a ``config/fedml_config.yaml``, which is FedML's own configuration format. Nothing in
``fedsilo`` names a workload.

Workloads are found by their folders and not by entry points, because the image and FedML's packages hold the code
without the metadata of a distribution, where entry points are declared.
"""

import importlib
import importlib.resources
import importlib.util
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from fedsilo import yaml_files
from fedsilo.errors import SpecError
from fedsilo.text import clip
from fedsilo.workload.declaration import Declaration, Value

if TYPE_CHECKING:
    import torch

    from fedsilo.workload.base import Aggregator, Trainer

NAME_PATTERN = r"[a-z][a-z0-9_]{0,39}"
"""A workload's name: at most 40 of a-z, 0-9 and underscore, starting with a letter."""

DECLARATION = "workload.yaml"
"""The file in a workload's folder in which it declares itself."""

CONFIGURATION = "config/fedml_config.yaml"
"""The file in a workload's folder that configures FedML."""

_TRAIN_ARGS = "train_args"
"""FedML's section of hyperparameters."""

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
            WorkloadError: If there is no data, or it is malformed. Everybody reads its message: it says where a value
                is, and never the value. Of any other exception, only the type and the place leave the silo.
        """

    def load_aggregator(self, args: Namespace) -> Any | None:
        """Load the aggregator's hold-out set in a form that ``Aggregator.test`` takes; None to let the silos test."""

    def model(self, args: Namespace) -> "torch.nn.Module":
        """Make an untrained model. The caller has seeded torch with ``random_seed``."""

    def trainer(self, model: "torch.nn.Module", args: Namespace) -> "Trainer":
        """Make what a silo runs."""

    def aggregator(self, model: "torch.nn.Module", args: Namespace) -> "Aggregator":
        """Make what the aggregator runs."""


class PooledWorkload(Workload, Protocol):
    """A workload whose data the simulator can split among any number of silos.

    It has these functions beside those of ``Workload``.
    """

    def load_pooled(self, args: Namespace) -> SiloData:
        """Load the data of all silos, as one. ``client_num_in_total`` of ``args`` is the number of silos."""

    def labels(self, samples: Any) -> Any:
        """The label of each sample of a training or a test set, as integers [n]."""

    def subset(self, samples: Any, rows: Any) -> Any:
        """A part of a training or a test set: the samples in ``rows``, int64 [n]."""


def available() -> list[str]:
    """The names of the installed workloads, sorted."""
    root = importlib.resources.files(PACKAGE)
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath(DECLARATION).is_file())


def load(name: str) -> Workload:
    """Import a workload. Raises ``SpecError`` with the names of all workloads if there is none of this name."""
    _check_name(name)
    return cast(Workload, importlib.import_module(f"{PACKAGE}.{name}"))


@cache
def declaration(name: str) -> Declaration:
    """What a workload declares about itself. Its code is not imported.

    Raises:
        SpecError: There is no such workload; or its declaration is not valid, with a line for each problem.
    """
    raw = _read(name, DECLARATION)
    return yaml_files.validate(Declaration, raw, f"workload {name}: {DECLARATION}")


def configuration(name: str) -> dict[str, dict[str, Any]]:
    """FedML's configuration of a workload: the sections of its ``fedml_config.yaml``, and ``train_args``.

    ``train_args`` holds the default of each hyperparameter.

    Raises:
        SpecError: There is no such workload, or one of its two files is not valid.
    """
    sections = _read(name, CONFIGURATION)
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise SpecError(f"workload {name}: {CONFIGURATION}: should be a mapping of sections, each a mapping")
    if _TRAIN_ARGS in sections:
        raise SpecError(
            f"workload {name}: {CONFIGURATION}: {_TRAIN_ARGS} should not be there: {DECLARATION} has the defaults"
        )
    return {**sections, _TRAIN_ARGS: hyperparameters(name, {})}


def hyperparameters(name: str, overrides: Mapping[str, Value]) -> dict[str, Value]:
    """All hyperparameters of a workload: its defaults, replaced by ``overrides``.

    Args:
        name: The workload.
        overrides: Values other than the defaults. A text is converted to the type of the default.

    Raises:
        SpecError: If there is no such workload; or with a line for each unknown hyperparameter, and for each value
            that is not of the declared type or not in the declared range.
    """
    declared = declaration(name).hyperparameters
    values, problems = {key: each.default for key, each in declared.items()}, []
    for key, value in overrides.items():
        if key not in declared:
            problems.append(f'unknown hyperparameter "{key}" of {name}; it has {", ".join(sorted(declared))}')
            continue
        try:
            values[key] = declared[key].read(value)
        except ValueError as error:
            problems.append(f"hyperparameters.{key}: {clip(repr(value), 80)} {error}")
    if problems:
        raise SpecError("\n".join(problems))
    return values


def all_hyperparameters(among: Collection[str] | None = None) -> set[str]:
    """The names of the hyperparameters of all installed workloads, or of those of them that are in ``among``."""
    installed = [name for name in available() if among is None or name in among]
    return {key for name in installed for key in declaration(name).hyperparameters}


def _read(name: str, file: str) -> object:
    _check_name(name)
    path = importlib.resources.files(PACKAGE).joinpath(name, *file.split("/"))
    return yaml_files.read(path, "a workload has this file")


def _check_name(name: str) -> None:
    names = available()
    if name not in names:
        raise SpecError(f"workload: {name!r} is not one of {', '.join(names)}")
