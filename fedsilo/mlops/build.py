"""FedML's own ``fedml build``, without what the rest of its command line needs: a process of its own.

    python -m fedsilo.mlops.build SOURCE ENTRY CONFIG DESTINATION

builds the client and the server package from the folder SOURCE, whose file ENTRY is started with the configuration in
the folder CONFIG, into DESTINATION/dist-packages. FedML builds in ``~/.fedml``: give it a HOME of its own.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from fedsilo import fedml_shim  # noqa: F401  (before FedML; build.py imports the cloud client, and calls none of it)

IGNORED = "__pycache__,*.pyc"
"""What FedML leaves out of the source, in its own notation."""


def main() -> None:
    """Build both packages, as ``fedml build -t client`` and ``-t server`` do."""
    source, entry, config, destination = sys.argv[1:]
    _load("utils")
    build = _load("build").build
    for kind in ("client", "server"):
        build("octopus", kind, source, entry, config, destination, IGNORED)


def _load(name: str) -> ModuleType:
    """The module ``fedml.api.modules.<name>`` as FedML installs it, without the packages around it."""
    installed = importlib.util.find_spec("fedml")
    assert installed is not None  # noqa: S101  (fedsilo.mlops.package has looked)
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
