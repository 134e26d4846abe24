"""The packages of ``fedsilo package`` are complete, hold nothing else, and replace older ones in one step."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from fedsilo.errors import PackageError
from fedsilo.mlops import package

ROOT = Path(__file__).parents[2]
NAME = "heart_disease"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[package.Package]:
    return package.build(NAME, tmp_path_factory.mktemp("built"))


def changed(whole: Path, to: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy of the zip, with other content for some entries, or without them."""
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(to, "w") as after:
        contents: dict[str, bytes | None] = {name: before.read(name) for name in before.namelist()}
        for name, content in (contents | changes).items():
            if content is not None:
                after.writestr(name, content)
    return to


def fedsilo(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "fedsilo", "package", *arguments]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that are packaged, which a test may change."""
    for folder in ("fedsilo", "workloads"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_package_holds_entry_point_fedsilo_and_the_workload_with_its_sample(built: list[package.Package]) -> None:
    assert [each.path.name for each in built] == ["client-package.zip", "server-package.zip"]
    for each in built:
        content = each.path.read_bytes()
        assert (each.size, each.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        top = each.path.name.removesuffix(".zip")
        with zipfile.ZipFile(each.path) as archive:
            held = {name for name in archive.namelist() if not name.endswith("/")}
            configuration = yaml.safe_load(archive.read(f"{top}/fedml/config/fedml_config.yaml"))
        for file in (package.ENTRY, "fedsilo/mlops/trainer.py", f"workloads/{NAME}/hospitals/hungary.csv"):
            assert f"{top}/fedml/{file}" in held
        assert not [name for name in held if "__pycache__" in name or "workloads/mlp" in name or name.endswith(".pyc")]
        assert configuration["comm_args"] == {"backend": "MQTT_S3"}
        assert configuration["train_args"]["comm_round"] == 50
        assert configuration["train_args"]["lr"] == 0.001


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("fedml/workloads/heart_disease/model.py", None, "fedml/workloads/heart_disease/model.py is missing"),
        ("fedml/config/fedml_config.yaml", None, "fedml/config/fedml_config.yaml is missing"),
        ("fedml/fedsilo/mlops/trainer.py", b"pass", "fedml/fedsilo/mlops/trainer.py differs from its source"),
        ("fedml/patients.csv", b"63,1", "fedml/patients.csv does not belong there"),
        ("conf/fedml.yaml", None, "conf/fedml.yaml does not start fedml/mlops_entry.py as client"),
        ("conf/fedml.yaml", b"entry_config: {entry_file: fedml/other.py}", "does not start fedml/mlops_entry.py"),
    ],
)
def test_check_names_each_problem_of_a_package(
    built: list[package.Package], tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    odd = changed(built[0].path, tmp_path / "client-package.zip", {f"client-package/{name}": content})
    source, config = package.files(NAME), package.configuration(NAME)
    package.check(built[0].path, "client", source, config)
    with pytest.raises(PackageError, match=re.escape(said)):
        package.check(odd, "client", source, config)


def test_check_refuses_a_server_package_as_a_client_package(built: list[package.Package]) -> None:
    with pytest.raises(PackageError, match=r"client-package/__init__\.py is missing"):
        package.check(built[1].path, "client", package.files(NAME), package.configuration(NAME))


def test_data_outside_the_sample_and_secrets_are_refused(tree: Path) -> None:
    hospitals = tree / "workloads" / NAME / "hospitals"
    (hospitals / "mine.csv").write_text("63,1,1\n")
    (hospitals / "hungary.csv").write_text("28,1,2\n")
    (tree / "fedsilo" / "credentials.py").write_text(f'KEY = "{"AKIA" + "A" * 16}"\n')
    done = fedsilo(tree, "--workload", NAME, "--out", "made")
    assert done.returncode == 1
    told = f"workloads/{NAME}/hospitals/{{}}.csv: is not part of the sample that sample.sha256 lists"
    for line in (told.format("mine"), told.format("hungary"), "fedsilo/credentials.py: holds what looks like a secret"):
        assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tree / "made").exists()


def test_command_prints_the_packages_and_the_next_step(tree: Path) -> None:
    (tree / "made").mkdir()
    (tree / "made" / "client-package.zip").write_text("an old one")
    done = fedsilo(tree, "--workload", "mlp", "--out", "made")
    assert done.returncode == 0, done.stderr
    for kind in package.KINDS:
        content = (tree / "made" / f"{kind}-package.zip").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert f"made/{kind}-package.zip: {len(content):,} bytes, SHA-256 {digest}" in done.stdout
    assert "next: upload both" in done.stdout
    assert sorted(path.name for path in (tree / "made").iterdir()) == ["client-package.zip", "server-package.zip"]


def test_an_unknown_workload_and_a_folder_that_can_not_be_written_are_errors(tree: Path) -> None:
    unknown = fedsilo(tree, "--workload", "nope")
    assert (unknown.returncode, unknown.stderr) == (2, "error: workload: 'nope' is not one of heart_disease, mlp\n")
    (tree / "taken").write_text("a file")
    done = fedsilo(tree, "--workload", NAME, "--out", "taken")
    assert (done.returncode, done.stderr) == (
        1,
        "error: taken: File exists; name a folder that can be written with --out\n",
    )


def test_a_failed_build_leaves_the_old_packages_and_gives_the_reason(tree: Path) -> None:
    (tree / "fedsilo" / "mlops" / "build.py").write_text("raise SystemExit('no room')\n")
    (tree / "made").mkdir()
    (tree / "made" / "client-package.zip").write_text("an old one")
    done = fedsilo(tree, "--workload", NAME, "--out", "made")
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[0]
        == "error: FedML's build made no client-package.zip, server-package.zip; its last output was:"
    )
    assert done.stderr.splitlines()[-1] == "no room"
    assert (tree / "made" / "client-package.zip").read_text() == "an old one"


def test_without_fedml_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PackageError, match="FedML is not installed; run `make setup`"):
        package.build(NAME, tmp_path)


def test_a_file_that_fedmls_build_lost_is_noticed_before_a_package_is_handed_out(tree: Path) -> None:
    build = tree / "fedsilo" / "mlops" / "build.py"
    build.write_text(build.read_text().replace("__pycache__,*.pyc", "data.py"))
    done = fedsilo(tree, "--workload", NAME, "--out", "made")
    lost = f"client-package.zip: client-package/fedml/workloads/{NAME}/data.py is missing"
    assert (done.returncode, done.stderr) == (1, f"error: {lost}\n")
    assert not (tree / "made").exists()
