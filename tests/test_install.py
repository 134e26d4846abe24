"""requirements/install.py: which steps of an installation run, after it was finished, changed or interrupted."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.waiting import until

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "requirements" / "install.py"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "install", module)  # dataclasses look for their module there
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "REQUIREMENTS", tmp_path)  # what is locked: an installation may be at work meanwhile
    return module


class Installation:
    """An environment in a folder, made by two steps that only write down that they ran."""

    def __init__(self, install: ModuleType, folder: Path, repairable: bool = True) -> None:
        self.install = install
        self.environment = install.Environment(folder / "environment")
        self.source = folder / "packages.txt"
        self.source.write_text("one==1\n")
        self.ran: list[tuple[str, bool]] = []
        self.stopped = False
        self.steps = [
            install.Step("empty", "an empty environment", (), self.empty),
            install.Step("packages", "packages", (self.source,), self.packages, repairable=repairable),
        ]

    def __call__(self) -> list[tuple[str, bool]]:
        """The steps that a start runs, each with whether it was told of an interruption."""
        self.ran.clear()
        self.install.install(self.environment, self.steps)
        return self.ran

    def empty(self, environment: Any, interrupted: bool) -> None:
        self.ran.append(("empty", interrupted))
        shutil.rmtree(environment.folder, ignore_errors=True)
        environment.python.parent.mkdir(parents=True)
        environment.python.touch()

    def packages(self, environment: Any, interrupted: bool) -> None:
        self.ran.append(("packages", interrupted))
        if self.stopped:
            raise KeyboardInterrupt


@pytest.fixture
def installation(install: ModuleType, tmp_path: Path) -> Installation:
    return Installation(install, tmp_path)


def test_a_finished_installation_runs_no_step_again(installation: Installation) -> None:
    assert installation() == [("empty", False), ("packages", False)]
    assert installation() == []


def test_a_changed_file_runs_its_step_again_and_no_other(installation: Installation) -> None:
    installation()
    installation.source.write_text("one==2\n")
    assert installation() == [("packages", False)]
    assert installation() == []


def test_a_touched_file_runs_nothing(installation: Installation) -> None:
    installation()
    installation.source.touch()
    assert installation() == []


def test_an_interrupted_step_is_told_so_at_the_next_start(installation: Installation) -> None:
    installation.stopped = True
    with pytest.raises(KeyboardInterrupt):
        installation()
    installation.stopped = False
    assert installation() == [("packages", True)]
    assert installation() == []


def test_an_environment_is_made_anew_after_a_step_that_cannot_repair_itself(
    install: ModuleType, tmp_path: Path
) -> None:
    installation = Installation(install, tmp_path, repairable=False)
    installation.stopped = True
    with pytest.raises(KeyboardInterrupt):
        installation()
    installation.stopped = False
    assert installation() == [("empty", False), ("packages", False)]
    assert installation() == []


def test_an_environment_whose_python_is_gone_is_made_anew(installation: Installation) -> None:
    installation()
    installation.environment.python.unlink()
    assert installation() == [("empty", False), ("packages", False)]


def test_a_failed_command_is_named(install: ModuleType, installation: Installation) -> None:
    with pytest.raises(install.InstallError, match="exit code 1: false"):
        install.command(installation.environment, "false")


RACER = """
import importlib.util, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("install", sys.argv[1])
install = sys.modules["install"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)
folder = install.REQUIREMENTS = Path(sys.argv[2])
environment = install.Environment(folder / "environment")


def ran(step):
    with (folder / "ran").open("a") as ran:
        ran.write(f"{step} ")


def empty(environment, interrupted):
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    ran("empty")


def packages(environment, interrupted):
    ran("again" if interrupted else "packages")
    while not (folder / "go").exists():
        time.sleep(0.01)


steps = [install.Step("empty", "an environment", (), empty), install.Step("packages", "packages", (), packages)]
install.install(environment, steps)
"""


@pytest.mark.parametrize(("killed", "ran"), [(False, "empty packages "), (True, "empty packages again ")])
def test_a_second_installation_waits_for_the_first_and_goes_on_from_there(
    tmp_path: Path, killed: bool, ran: str
) -> None:
    command = [sys.executable, "-uc", RACER, str(SCRIPT), str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as first,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second,
    ):
        lines = second.stdout
        assert lines
        if "waiting" not in lines.readline():  # the second was the first
            first, second = second, first
        until(lambda: list(tmp_path.glob("ran")) and "packages" in (tmp_path / "ran").read_text(), "the step")
        if killed:
            first.kill()
        (tmp_path / "go").touch()
        assert second.wait(60) == 0
        assert first.wait(60) == (-9 if killed else 0)
    assert (tmp_path / "ran").read_text() == ran


@pytest.mark.parametrize("words", [[], ["everything"]])
def test_an_unknown_installation_is_a_usage_error(words: list[str]) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("demo|dev|mlops|checkov …\n")


def test_all_installations_begin_with_an_environment_and_have_steps_of_distinct_names(install: ModuleType) -> None:
    for _, steps in install.INSTALLATIONS.values():
        assert steps[0] is install.EMPTY
        assert len({step.name for step in steps}) == len(steps)


def test_the_images_skip_the_same_files_when_they_compile(install: ModuleType) -> None:
    finish = (ROOT / "workloads" / "image" / "finish").read_text()
    assert f"-x '{install.NOT_FOR_THIS_PYTHON}'" in finish
