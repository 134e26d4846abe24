"""FedML's own ``fedml build``, without the dependencies of the rest of FedML's command line.

    python -m fedsilo.mlops.build SOURCE ENTRY CONFIG DESTINATION

This builds the client package and the server package from the folder SOURCE into DESTINATION/dist-packages. FedML's
platform starts the file ENTRY of a package with the configuration in the folder CONFIG. FedML builds in
``~/.fedml``, so run this with a HOME of its own.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from fedsilo import fedml_shim  # noqa: F401  (before FedML, whose build.py imports the cloud client and does not use it)

IGNORED = "__pycache__,*.pyc"
"""The files that FedML leaves out, in FedML's notation."""


def main() -> None:
    """Build both packages, as ``fedml build -t client`` and ``-t server`` do."""
    source, entry, config, destination = sys.argv[1:]
    _load("utils")
    build = _load("build").build
    for kind in ("client", "server"):
        build("octopus", kind, source, entry, config, destination, IGNORED)


def _load(name: str) -> ModuleType:
    """Import the module ``fedml.api.modules.<name>`` without the packages that contain it."""
    installed = importlib.util.find_spec("fedml")
    assert installed is not None  # noqa: S101  (fedsilo.mlops.package has checked)
    assert installed.origin is not None  # noqa: S101
    full = f"fedml.api.modules.{name}"
    path = Path(installed.origin).with_name("api") / "modules" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None  # noqa: S101  (a .py file)
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
