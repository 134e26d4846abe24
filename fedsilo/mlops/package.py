"""The client and the server package of a workload for FedML's hosted platform, built by FedML and checked by us.

FedML's build swallows errors when it copies (``fedml/api/modules/utils.py``), so nothing is handed out before every
file in the zip has been compared with its source.
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
"""Far longer than the two seconds that building takes."""

SAMPLE = "sample.sha256"
"""In a workload's folder: the SHA-256 and path of each file of its packaged sample, as ``sha256sum`` writes them."""

_CODE = {".py", ".yaml", ".md", ".sha256"}
_SECRET = re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_RANK = {"client": "${FEDSYS.CLIENT_INDEX}", "server": 0}

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Package:
    """A package that was built: where it is, its size in bytes and its SHA-256 in hexadecimal."""

    path: Path
    size: int
    sha256: str


def build(name: str, out: Path) -> list[Package]:
    """Both packages of the workload, in the folder ``out``, in place of those there.

    Raises ``SpecError`` for an unknown workload, and ``PackageError`` where something would be in a package that does
    not belong there, where FedML is not installed or its build does not give what it should, and where ``out`` can't
    be written.
    """
    config = configuration(name)
    source = files(name)
    if importlib.util.find_spec("fedml") is None:
        raise PackageError(
            "FedML is not installed here; `make setup` in a checkout does it, or pip install fedsilo[train]"
        )
    with tempfile.TemporaryDirectory(prefix="fedsilo-package-") as scratch:
        built = _run_build(source, config, Path(scratch))
        for kind, path in built.items():
            check(path, kind, source, config)
        return [_put(path, out) for path in built.values()]


def configuration(name: str) -> bytes:
    """FedML's configuration of the workload for its platform: over MQTT and S3, with the rounds among the settings."""
    sections: dict[str, dict[str, Any]] = registry.configuration(name)
    sections["common_args"]["config_version"] = "release"
    sections["train_args"]["comm_round"] = ROUNDS
    sections["comm_args"] = {"backend": "MQTT_S3"}
    sections["tracking_args"] = {"using_mlops": True, "enable_wandb": False}
    return yaml.safe_dump(sections, sort_keys=False).encode()


def files(name: str) -> Files:
    """What a package holds, by path: the entry point, all of fedsilo, and of the workloads the one that is named.

    Raises ``PackageError`` naming every file that is neither code nor of the workload's sample, and every secret.
    """
    ours = Path(__file__).parents[1]
    workloads = Path(str(importlib.resources.files(registry.PACKAGE)))
    found = {ENTRY: Path(__file__).with_name("entry.py").read_bytes()}
    found["workloads/__init__.py"] = (workloads / "__init__.py").read_bytes()
    found |= {f"fedsilo/{path.relative_to(ours)}": path.read_bytes() for path in sorted(ours.rglob("*.py"))}
    of_workload = {
        str(path.relative_to(workloads / name)): path.read_bytes()
        for path in sorted((workloads / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    found |= {f"workloads/{name}/{path}": content for path, content in of_workload.items()}
    problems = [f"workloads/{name}/{problem}" for problem in _strangers(of_workload)]
    problems += [f"{path}: holds what looks like a secret" for path, text in found.items() if _SECRET.search(text)]
    if problems:
        raise PackageError("\n".join(problems))
    return found


def check(path: Path, kind: str, source: Files, config: bytes) -> None:
    """Raise ``PackageError`` unless the zip holds ``source`` and ``config`` byte for byte, FedML's own, and no more."""
    top = f"{kind}-package"
    expected = {f"{top}/fedml/{name}": content for name, content in source.items()}
    expected[f"{top}/fedml/config/fedml_config.yaml"] = config
    expected |= {f"{top}/__init__.py": b"", f"{top}/conf/__init__.py": b""}
    wrong = []
    with zipfile.ZipFile(path) as package:
        held = {entry.filename: package.read(entry) for entry in package.infolist() if not entry.is_dir()}
    told = held.pop(f"{top}/conf/fedml.yaml", b"")
    wrong += [f"{name} is missing" for name in expected.keys() - held.keys()]
    wrong += [f"{name} does not belong there" for name in held.keys() - expected.keys()]
    wrong += [f"{name} is not as its source" for name in held.keys() & expected.keys() if held[name] != expected[name]]
    conf = yaml.safe_load(told) or {}
    started = {"entry_file": f"fedml/{ENTRY}", "conf_file": "config/fedml_config.yaml", "package_type": "default"}
    if conf.get("entry_config") != started or conf.get("dynamic_args", {}).get("rank") != _RANK[kind]:
        wrong.append(f"{top}/conf/fedml.yaml does not start fedml/{ENTRY} as {kind}")
    if wrong:
        raise PackageError("\n".join(f"{path.name}: {problem}" for problem in sorted(wrong)))


def _strangers(of_workload: Files) -> list[str]:
    """The workload's files that are neither code nor of its sample: data of somebody's must not leave in a package."""
    listed = dict(line.split("  ", 1)[::-1] for line in of_workload.get(SAMPLE, b"").decode().splitlines())
    data = {path: content for path, content in of_workload.items() if Path(path).suffix not in _CODE}
    return [
        f"{path}: not of the packaged sample that {SAMPLE} lists; keep data elsewhere (`data: s3`)"
        for path, content in data.items()
        if listed.get(path) != hashlib.sha256(content).hexdigest()
    ]


def _run_build(source: Files, config: bytes, scratch: Path) -> dict[str, Path]:
    """The packages that FedML builds of the files, by kind. Its home is in ``scratch``, where it leaves files."""
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
        raise PackageError(f"FedML's build had not ended after {BUILD_SECONDS:g} s") from None
    built = {kind: folders["out"] / "dist-packages" / f"{kind}-package.zip" for kind in KINDS}
    missing = [path.name for path in built.values() if not path.is_file()]
    if done.returncode or missing:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise PackageError(f"FedML's build made no {', '.join(missing) or 'packages'}; it said:\n{said}")
    return built


def _put(built: Path, out: Path) -> Package:
    """Move the package to ``out`` in one step, so that there is a whole one at any time."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / built.name) as part:
            shutil.copyfile(built, part)
    except OSError as error:
        raise PackageError(f"{out}: {error.strerror}; name a folder that can be written with --out") from None
    content = built.read_bytes()
    return Package(out / built.name, len(content), hashlib.sha256(content).hexdigest())
