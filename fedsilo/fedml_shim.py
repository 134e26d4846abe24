"""The learning half of FedML 0.9.6, without its cloud client.

``import fedml`` loads FedML's cloud client, agents, command line, model hub, data hub and serving: about 4,700 modules
of more than a hundred packages. Cross-silo learning uses none of them, and their calls to FedML's cloud have no time
limit and can't be switched off. This module replaces them with modules that do nothing. FedML's trainers, aggregators
and managers are imported unchanged, and no call to FedML's cloud can happen, because its code is not loaded.

Import this module before FedML; otherwise it raises ``RuntimeError``. In ``mlops`` mode, which uses FedML's cloud,
nothing imports this module.
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
        "fedml.runner",  # selects one of the launchers
        "torchvision",  # only for FedML's simulated attacks on image models
    }
)
"""These modules are replaced, with everything below them."""


class _InertType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Inert(metaclass=_InertType):
    """Replaces every class, function and constant of an inert module. It takes any arguments and does nothing."""

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
