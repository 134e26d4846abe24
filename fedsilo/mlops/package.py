"""The client and the server package of a workload for FedML's hosted platform. FedML builds them; we check them.

FedML's build ignores errors when it copies files (``fedml/api/modules/utils.py``). So this module compares every file
in the zip with its source before it hands out the package.
"""

import hashlib
import importlib.resources
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fedsilo.config.run import ROUNDS
from fedsilo.errors import PackageError
from fedsilo.files import replacing
from fedsilo.workload import registry

ENTRY = "mlops_entry.py"
KINDS = ("client", "server")

BUILD_SECONDS = 300.0
"""The time limit of the build, which takes about 2 s."""

SAMPLE = "sample.sha256"
"""A file in a workload's folder: the SHA-256 and path of each file of its packaged sample, as ``sha256sum`` prints."""

_CODE = {".py", ".yaml", ".md", ".sha256"}
_SECRET = re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_RANK = {"client": "${FEDSYS.CLIENT_INDEX}", "server": 0}

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Package:
    """A package that was built: its path, its size in bytes and its SHA-256 in hexadecimal."""

    path: Path
    size: int
    sha256: str


def build(name: str, out: Path) -> list[Package]:
    """Build both packages of a workload.

    Args:
        name: The workload.
        out: The folder for the packages; packages in it are replaced.

    Raises:
        SpecError: The workload is unknown.
        PackageError: A file does not belong in a package, FedML is not installed, FedML's build went wrong, or ``out``
            can't be written.
    """
    config = configuration(name)
    source = files(name)
    if importlib.util.find_spec("fedml") is None:
        raise PackageError("FedML is not installed; run `make setup` in a checkout, or pip install 'fedsilo[train]'")
    with tempfile.TemporaryDirectory(prefix="fedsilo-package-") as scratch:
        built = _run_build(source, config, Path(scratch))
        for kind, path in built.items():
            check(path, kind, source, config)
        return [_put(path, out) for path in built.values()]


def configuration(name: str) -> bytes:
    """FedML's configuration of the workload on its platform, as YAML: over MQTT and S3, with the number of rounds."""
    sections: dict[str, dict[str, Any]] = registry.configuration(name)
    sections["common_args"]["config_version"] = "release"
    sections["train_args"]["comm_round"] = ROUNDS
    sections["comm_args"] = {"backend": "MQTT_S3"}
    sections["tracking_args"] = {"using_mlops": True, "enable_wandb": False}
    return yaml.safe_dump(sections, sort_keys=False).encode()


def files(name: str) -> Files:
    """The files of a package by path: the entry point, all of fedsilo, and the workload.

    Raises:
        PackageError: A file is neither code nor part of the workload's sample, or holds a secret. The message names
            every such file.
    """
    package = Path(__file__).parents[1]
    workloads = Path(str(importlib.resources.files(registry.PACKAGE)))
    found = {ENTRY: Path(__file__).with_name("entry.py").read_bytes()}
    found["workloads/__init__.py"] = (workloads / "__init__.py").read_bytes()
    found |= {f"fedsilo/{path.relative_to(package)}": path.read_bytes() for path in sorted(package.rglob("*.py"))}
    of_workload = {
        str(path.relative_to(workloads / name)): path.read_bytes()
        for path in sorted((workloads / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    found |= {f"workloads/{name}/{path}": content for path, content in of_workload.items()}
    problems = [f"workloads/{name}/{problem}" for problem in _foreign_data(of_workload)]
    problems += [f"{path}: holds what looks like a secret" for path, text in found.items() if _SECRET.search(text)]
    if problems:
        raise PackageError("\n".join(problems))
    return found


def check(path: Path, kind: str, source: Files, config: bytes) -> None:
    """Check a package.

    Args:
        path: The zip.
        kind: ``client`` or ``server``.
        source: The files that the package should hold.
        config: FedML's configuration that it should hold.

    Raises:
        PackageError: The zip does not hold exactly these files and those that FedML adds, byte for byte.
    """
    top = f"{kind}-package"
    expected = {f"{top}/fedml/{name}": content for name, content in source.items()}
    expected[f"{top}/fedml/config/fedml_config.yaml"] = config
    expected |= {f"{top}/__init__.py": b"", f"{top}/conf/__init__.py": b""}
    wrong = []
    with zipfile.ZipFile(path) as package:
        held = {entry.filename: package.read(entry) for entry in package.infolist() if not entry.is_dir()}
    description = held.pop(f"{top}/conf/fedml.yaml", b"")
    wrong += [f"{name} is missing" for name in expected.keys() - held.keys()]
    wrong += [f"{name} does not belong there" for name in held.keys() - expected.keys()]
    wrong += [
        f"{name} differs from its source" for name in held.keys() & expected.keys() if held[name] != expected[name]
    ]
    conf = yaml.safe_load(description) or {}
    started = {"entry_file": f"fedml/{ENTRY}", "conf_file": "config/fedml_config.yaml", "package_type": "default"}
    if conf.get("entry_config") != started or conf.get("dynamic_args", {}).get("rank") != _RANK[kind]:
        wrong.append(f"{top}/conf/fedml.yaml does not start fedml/{ENTRY} as {kind}")
    if wrong:
        raise PackageError("\n".join(f"{path.name}: {problem}" for problem in sorted(wrong)))


def _foreign_data(of_workload: Files) -> list[str]:
    """A problem for each file that is neither code nor part of the sample: nobody's data may leave in a package."""
    listed = dict(line.split("  ", 1)[::-1] for line in of_workload.get(SAMPLE, b"").decode().splitlines())
    data = {path: content for path, content in of_workload.items() if Path(path).suffix not in _CODE}
    return [
        f"{path}: is not part of the sample that {SAMPLE} lists; keep data outside of the workload (`data: s3`)"
        for path, content in data.items()
        if listed.get(path) != hashlib.sha256(content).hexdigest()
    ]


def _run_build(source: Files, config: bytes, scratch: Path) -> dict[str, Path]:
    """Build the packages with FedML, by kind. FedML's home is in ``scratch``, because it leaves files there."""
    folders = {name: scratch / name for name in ("source", "config", "out", "home")}
    for folder in folders.values():
        folder.mkdir()
    for name, content in source.items():
        path = folders["source"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folders["config"] / "fedml_config.yaml").write_bytes(config)
    arguments = [str(folders["source"]), ENTRY, str(folders["config"]), str(folders["out"])]
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "fedsilo.mlops.build", *arguments],
            env={**os.environ, "HOME": str(folders["home"])},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"FedML's build did not end within {BUILD_SECONDS:g} s") from None
    built = {kind: folders["out"] / "dist-packages" / f"{kind}-package.zip" for kind in KINDS}
    missing = [path.name for path in built.values() if not path.is_file()]
    if done.returncode or missing:
        printed = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise PackageError(f"FedML's build made no {', '.join(missing) or 'packages'}; its last output was:\n{printed}")
    return built


def _put(built: Path, out: Path) -> Package:
    """Copy the package to ``out``, replacing an old one in one step."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / built.name) as part:
            shutil.copyfile(built, part)
    except OSError as error:
        raise PackageError(f"{out}: {error.strerror}; name a folder that can be written with --out") from None
    content = built.read_bytes()
    return Package(out / built.name, len(content), hashlib.sha256(content).hexdigest())
