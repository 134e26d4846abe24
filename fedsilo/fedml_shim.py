"""The learning half of FedML 0.9.6, without its cloud client.

``import fedml`` loads FedML's cloud client, agents, command line, model hub, data hub and serving: some 4,700 modules
and over a hundred packages, of which cross-silo learning uses none, and whose calls to FedML's cloud have no time
limit and no switch. Importing this module first puts inert modules in their place, so that FedML's trainers,
aggregators and managers import as they are while a call to its cloud can't happen: the code for it is not there.

Import it before anything of FedML; importing FedML first raises ``RuntimeError``. In ``mlops`` mode, where FedML's
cloud is wanted, nothing imports this module.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

INERT_MODULES = frozenset(
    {
        "fedml.api",  # the cloud's API: launch, log in, storage
        "fedml.computing",  # the cloud's agents
        "fedml.core.distributed.flow",  # a workflow engine over MQTT
        "fedml.core.mlops",  # reports to the cloud
        "fedml.data",  # the data hub
        "fedml.launch_cross_cloud",
        "fedml.launch_cross_device",
        "fedml.launch_cross_silo_hi",
        "fedml.launch_cross_silo_horizontal",
        "fedml.launch_serving",
        "fedml.launch_simulation",
        "fedml.model",  # the model hub
        "fedml.runner",  # picks one of the launchers
        "torchvision",  # only for FedML's simulated attacks on image models
    }
)
"""Replaced, with everything below them."""


class _InertType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Inert(metaclass=_InertType):
    """Stands for any class, function or constant of an inert module: takes any arguments and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass


class _InertModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Inert


class _InertFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        if any(".".join(parts[:end]) in INERT_MODULES for end in range(1, len(parts) + 1)):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _InertModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _install() -> None:
    if "fedml" in sys.modules:
        raise RuntimeError("fedml was imported before fedsilo.fedml_shim; import fedsilo.fedml_shim first")
    sys.meta_path.insert(0, _InertFinder())


_install()
