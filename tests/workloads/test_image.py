"""The images as far as they can be checked without building them, which takes minutes (tests/e2e/test_image.py)."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from stacks import manifests
from stacks.image import STOCK_FEDML

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "workloads" / "image" / "Dockerfile"


def pins(requirements: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / requirements).read_text(), re.MULTILINE))


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_base_is_pinned_by_digest_and_the_user_is_the_one_that_the_manifests_name() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert {base for base, _ in stages} == {"${BASE}", "build", "party"}
    assert [name for base, name in stages if base == "party"] == ["agent", "trainer"]
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == [f"{manifests._USER}:{manifests._USER}"]


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_build() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", DOCKERFILE.read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {source for source in copied if not source.startswith("workloads/")} | {"workloads"} == sent


@pytest.mark.parametrize(("image", "extra"), [("train", "train"), ("agent", "agent")])
def test_image_has_what_it_needs_by_name(image: str, extra: str) -> None:
    """Torch is installed before, from a line of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"][extra]]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in needed} - {"torch"}
    assert names <= pins(f"requirements/{image}.txt").keys()


@pytest.mark.parametrize("image", ["train", "agent"])
def test_image_has_the_versions_that_the_tests_ran_with_and_only_what_runs(image: str) -> None:
    packages, tested = pins(f"requirements/{image}.txt"), pins("requirements/dev.txt")
    assert packages.items() <= tested.items()
    assert not {"aws-cdk-lib", "moto", "torch", "ruff", "mypy", "pytest", "pluggy", "iniconfig"} & packages.keys()


def test_agents_image_has_nothing_of_what_trainers_learn_with() -> None:
    learning = {"fedml", "numpy", "pandas", "safetensors", "sagemaker-core", "scipy", "sympy"}
    assert not learning & pins("requirements/agent.txt").keys()


def test_image_for_fedmls_platform_has_all_of_fedml_and_records_with_the_same_sdk() -> None:
    stock, usual = pins("requirements/mlops.txt"), pins("requirements/train.txt")
    for package in ("fedml", "sagemaker-core"):
        assert stock[package] == usual[package]
    assert {"boto3", "pydantic", "pyyaml", "paho-mqtt", "uvicorn", "wandb"} <= stock.keys()
    assert int(stock["setuptools"].split(".")[0]) < 80
    assert not {"torch", "torchvision", "pytest", "pytest-mock"} & stock.keys()
    arguments = dict(re.findall(r"^ARG (TORCH|REQUIREMENTS)=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    assert arguments == {"TORCH": "requirements/torch.txt", "REQUIREMENTS": "requirements/train.txt"}
    assert all((ROOT / file).is_file() for file in STOCK_FEDML.values())
    assert STOCK_FEDML.keys() == arguments.keys()


@pytest.mark.parametrize("requirements", ["agent", "train", "mlops", "sbom"])
def test_what_is_installed_is_pinned_with_hashes_and_names_no_place(requirements: str) -> None:
    text = (ROOT / "requirements" / f"{requirements}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    assert all("==" in entry.split("\n")[0] and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
