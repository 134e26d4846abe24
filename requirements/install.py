"""Installs what the project needs, step by step, into environments inside the checkout.

    python3.11 requirements/install.py demo       what `fedsilo demo` needs, into .venv
    python3.11 requirements/install.py dev        that, and what tests and the CDK app need, into .venv and node_modules
    python3.11 requirements/install.py mlops      FedML with its own pins, into .venvs/mlops
    python3.11 requirements/install.py checkov    checkov with its own pins, into .venvs/checkov

It may be interrupted at any point, even by SIGKILL, and run again. A step that is done leaves a stamp with a digest of
what it was made from, and is not run again until that changes. A step that was interrupted leaves a mark: the next
start repairs what the step left half done. No step has a time limit. Standard library only: nothing is installed yet.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
NOT_FOR_THIS_PYTHON = r"/torch/testing/_internal/py312_intrinsics\.py$"
"""Files that packages bring for a newer Python, which would make compiling fail."""
TICK = 10.0
"""Seconds between two lines that say that a step is still at work."""


class InstallError(Exception):
    """A step failed; the message says which and what to do."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of the checkout."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamps(self) -> Path:
        return self.folder / ".steps"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of every command: the tools that are installed here come first."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Step:
    """One step of an installation."""

    name: str
    """The name of its stamp."""
    title: str
    """What a person reads while it runs."""
    sources: tuple[Path, ...]
    """The files it is made from: when one of them changes, the step runs again."""
    run: Callable[[Environment, bool], None]
    """Does it. The flag says that it was begun before and not finished."""
    makes: str = ""
    """A path in the checkout without which the step is not done, whatever its stamp says."""
    repairable: bool = True
    """Whether it can mend what an interruption left half done. If not, the environment is made anew."""

    def digest(self) -> str:
        """What the step is made from, in short. A virtual environment holds absolute paths, so its own counts too."""
        content = hashlib.sha256(str(ROOT).encode())
        for source in self.sources:
            content.update(source.read_bytes())
        return content.hexdigest()

    def done(self, environment: Environment) -> bool:
        stamp = environment.stamps / self.name
        exists = environment.python.exists() and (ROOT / self.makes).exists()
        return exists and stamp.is_file() and stamp.read_text() == self.digest()

    def interrupted(self, environment: Environment) -> bool:
        return (environment.stamps / f"{self.name}.begun").exists()

    def perform(self, environment: Environment) -> None:
        begun, stamp = environment.stamps / f"{self.name}.begun", environment.stamps / self.name
        interrupted = self.interrupted(environment)
        stamp.unlink(missing_ok=True)
        if environment.stamps.is_dir():
            begun.touch()
        self.run(environment, interrupted)
        environment.stamps.mkdir(exist_ok=True)
        written = stamp.with_suffix(".new")
        written.write_text(self.digest())
        written.rename(stamp)
        begun.unlink(missing_ok=True)


# What the steps do. --------------------------------------------------------------------------------------------------


def make_environment(environment: Environment, interrupted: bool) -> None:
    """An empty environment with uv, which installs the rest. What was there before is removed."""
    if environment.folder.exists():
        shutil.rmtree(environment.folder)
    command(environment, sys.executable, "-m", "venv", environment.folder)
    pip(environment, "--no-deps", "--require-hashes", "--requirement", REQUIREMENTS / "install.txt")


def install_torch(file: str) -> Callable[[Environment, bool], None]:
    """PyTorch, from the package index that FEDSILO_TORCH_INDEX names, or else from pip's."""

    def install(environment: Environment, interrupted: bool) -> None:
        index = os.environ.get("FEDSILO_TORCH_INDEX")
        pip(environment, *(["--index-url", index] if index else []), "--requirement", REQUIREMENTS / file)

    return install


def install_packages(file: str) -> Callable[[Environment, bool], None]:
    """The pinned packages of a file, with their hashes."""

    def install(environment: Environment, interrupted: bool) -> None:
        again = ["--reinstall"] if interrupted else []
        uv(environment, "--no-deps", "--require-hashes", *again, "--requirements", REQUIREMENTS / file)

    return install


def install_fedsilo(environment: Environment, interrupted: bool) -> None:
    """The checkout itself: an edit needs no further installation."""
    uv(environment, "--no-deps", "--no-build-isolation", "--reinstall", "--editable", ROOT)


def compile_packages(environment: Environment, interrupted: bool) -> None:
    """Bytecode of all packages, so that the first start is as fast as the second."""
    packages = environment.folder / "lib"
    command(environment, environment.python, "-m", "compileall", "-q", "-j0", "-x", NOT_FOR_THIS_PYTHON, packages)


def install_node(environment: Environment, interrupted: bool) -> None:
    """The CDK command line, by the npm that a Python package brings."""
    command(environment, "npm", "ci", *([] if sys.stdout.isatty() else ["--silent"]), talks=True)


def pip(environment: Environment, *options: str | Path) -> None:
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command(environment, environment.python, "-m", "pip", "install", "--no-compile", *quiet, *options, talks=True)


def uv(environment: Environment, *options: str | Path) -> None:
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    outside = ["--directory", ROOT.anchor]  # uv would apply the overrides of the checkout's pyproject.toml
    command(environment, "uv", "pip", "install", *outside, "--python", environment.python, *quiet, *options, talks=True)


def command(environment: Environment, *words: str | Path, talks: bool = False) -> None:
    """Run a command of a step to its end; say every few seconds that it is at work, unless it does so on a terminal.

    Raises:
        InstallError: it ended with an error, and has said why.
    """
    started = time.monotonic()
    # The lock goes to the command: one that outlives a killed installation keeps the next from starting beside it.
    # In a process group of its own it does not get Ctrl-C, which would make it print a traceback.
    options: dict[str, Any] = {"cwd": ROOT, "env": environment.variables, "pass_fds": LOCKS, "process_group": 0}
    with subprocess.Popen(list(words), **options) as process:
        while True:
            try:
                code = process.wait(TICK)
                break
            except subprocess.TimeoutExpired:
                if not (talks and sys.stdout.isatty()):
                    print(f"      still at work after {time.monotonic() - started:.0f} s", flush=True)
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGTERM)
                raise
    if code:
        raise InstallError(f"this ended with exit code {code}: {shlex.join(map(str, words))}")


# What an installation is. --------------------------------------------------------------------------------------------

EMPTY = Step("environment", "an empty environment and uv (60 MB)", (REQUIREMENTS / "install.txt",), make_environment)
TORCH = Step(
    "torch",
    "PyTorch (a CPU build: 200 MB to download, 700 MB installed; a GPU build: several times that)",
    (REQUIREMENTS / "torch.txt",),
    install_torch("torch.txt"),
    repairable=False,  # pip takes a package that it left half installed for a whole one
)
DEMO = Step(
    "demo",
    "the packages of the demo (100 MB to download)",
    (REQUIREMENTS / "demo.txt",),
    install_packages("demo.txt"),
)
FEDSILO = Step("fedsilo", "fedsilo itself, from this checkout", (ROOT / "pyproject.toml",), install_fedsilo)
DEV = Step(
    "dev",
    "the packages of the tests and of the CDK app (150 MB to download)",
    (REQUIREMENTS / "dev.txt",),
    install_packages("dev.txt"),
)
NODE = Step(
    "node",
    "the CDK command line",
    (ROOT / "package-lock.json",),
    install_node,
    makes="node_modules/.package-lock.json",
)


def compiled(name: str, *files: str) -> Step:
    """The step that compiles what the files have brought."""
    sources = tuple(REQUIREMENTS / file for file in files)
    return Step(name, "bytecode of all packages (a minute or two of computing)", sources, compile_packages)


COMPILED = compiled("compiled", "torch.txt", "demo.txt")
INSTALLATIONS: dict[str, tuple[str, tuple[Step, ...]]] = {
    "demo": (".venv", (EMPTY, TORCH, DEMO, FEDSILO, COMPILED)),
    "dev": (".venv", (EMPTY, TORCH, DEMO, FEDSILO, COMPILED, DEV, NODE, compiled("compiled-dev", "dev.txt"))),
    "mlops": (
        ".venvs/mlops",
        (
            EMPTY,
            Step(
                "torch",
                "PyTorch and torchvision (200 MB to download)",
                (REQUIREMENTS / "torch.txt", REQUIREMENTS / "torch-mlops.txt"),
                install_torch("torch-mlops.txt"),
                repairable=False,
            ),
            Step("mlops", "FedML with its pins", (REQUIREMENTS / "mlops.txt",), install_packages("mlops.txt")),
            compiled("compiled", "torch.txt", "torch-mlops.txt", "mlops.txt"),
        ),
    ),
    "checkov": (
        ".venvs/checkov",
        (
            EMPTY,
            Step("checkov", "checkov", (REQUIREMENTS / "checkov.txt",), install_packages("checkov.txt")),
        ),
    ),
}

LOCKS: list[int] = []
"""The descriptor that holds the lock, while one is held."""


@contextmanager
def locked() -> Iterator[None]:
    """One installation at a time in a checkout. The kernel drops the lock with the last process that holds it."""
    descriptor = os.open(REQUIREMENTS, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another installation is at work in this checkout: waiting for its end", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        LOCKS.append(descriptor)
        yield
    finally:
        LOCKS.clear()
        os.close(descriptor)


def install(environment: Environment, steps: Sequence[Step]) -> None:
    """Run the steps of an installation that are not done.

    Raises:
        InstallError: a step failed.
    """
    if all(step.done(environment) for step in steps):
        return
    with locked():
        if any(step.interrupted(environment) and not step.repairable for step in steps):
            shutil.rmtree(environment.folder)
        for place, step in enumerate(steps, 1):
            if step.done(environment):
                continue
            print(f"[{place}/{len(steps)}] {step.title}", flush=True)
            started = time.monotonic()
            step.perform(environment)
            print(f"      done in {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"fedsilo needs Python 3.11, and this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")
    if len(sys.argv) < 2 or not set(sys.argv[1:]) <= INSTALLATIONS.keys():
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(INSTALLATIONS)} …")
    try:
        for folder, steps in map(INSTALLATIONS.__getitem__, sys.argv[1:]):
            install(Environment(ROOT / folder), steps)
    except InstallError as error:
        sys.exit(f"{error}\nWhat it said is above. When that is mended, run the same command again: it goes on here.")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
