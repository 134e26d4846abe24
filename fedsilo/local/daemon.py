"""The embedded federation of ``fedsilo up``: kept by a process of its own until ``fedsilo down``.

It lives in a folder named after the federation's file, in ``FOLDER`` beside it. There every other command finds it, and
uses it in place of AWS.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsilo import signals
from fedsilo.agent.process import LocalProcess
from fedsilo.config import federation as spec
from fedsilo.errors import FedsiloError, HubError
from fedsilo.files import write_atomically
from fedsilo.local import emulator
from fedsilo.local.federation import LAST_BYTES, READY_SECONDS, Embedded, end_processes

FOLDER = ".fedsilo"

TEND_SECONDS = 1.0
"""How often the keeper looks whether the agents live."""


@dataclass(frozen=True)
class State:
    """``up.json``: what is up."""

    endpoint: str
    region: str
    federation: str
    parties: list[str]
    sha256: str
    """Of the federation's file, as it was brought up."""


def state(file: Path) -> State | None:
    """What is up for the federation that the file describes; None where nothing is, or not yet.

    Raises ``HubError`` where it has ended by itself.
    """
    folder = folder_of(file)
    if not (folder / "up.json").exists():
        return None
    if not _keeper(folder).alive:
        raise HubError(
            f"the embedded federation in {folder} has ended, as when the machine was restarted; `fedsilo down` clears "
            "it away, and `fedsilo up` starts a new one"
        )
    try:
        return State(**json.loads((folder / "up.json").read_text()))
    except (ValueError, TypeError) as error:
        raise HubError(f"{folder} is of another version of fedsilo: `fedsilo down`, then `fedsilo up`") from error


def connect(file: Path) -> State | None:
    """Make this process use what is up, unless its environment names an endpoint. Returns what it then uses.

    Raises ``HubError`` where the file has changed since it was brought up.
    """
    if os.environ.get("AWS_ENDPOINT_URL"):
        return None
    found = state(file)
    if found:
        if found.sha256 != _digest(file):
            raise HubError(
                f"{file} has changed since `fedsilo up`, which goes on as it was; `fedsilo down` ends it, and "
                "`fedsilo up` starts what the file says now"
            )
        emulator.use(found.endpoint, found.region)
    return found


def bring_up(file: Path) -> State:
    """Start it, and return when every agent is there; one that is up already stays as it is.

    Raises ``SpecError`` where the file is not valid, ``HubError`` where it does not come up; then nothing is left.
    """
    parties = len(spec.load(file).parties)
    with _alone(file):
        if found := state(file):
            return connect(file) or found
        folder = folder_of(file)
        keeper = _keeper(folder)
        deadline = time.monotonic() + emulator.START_SECONDS + 2 * READY_SECONDS + parties
        try:
            _take_down(folder)  # what an earlier one has left that did not come up
            keeper.start([sys.executable, "-P", "-m", "fedsilo.local.daemon", str(file.resolve())], os.environ)
            while not (found := state(file)):
                if not keeper.alive or time.monotonic() > deadline:
                    said = keeper.log(LAST_BYTES).strip() or "no word"
                    raise HubError(f"the embedded federation did not come up: {said}")
                time.sleep(0.1)
        except OSError as error:
            raise HubError(f"{folder} can't hold the embedded federation: {error.strerror}") from None
        except BaseException:
            _take_down(folder)
            raise
        return found


def take_down(file: Path) -> bool:
    """End it and remove its folder; its runs and models are gone. Returns whether there was anything."""
    with _alone(file):
        return _take_down(folder_of(file))


def _take_down(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    _keeper(folder).end()
    end_processes(folder)
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # another file's is up beside it
        folder.parent.rmdir()
    return True


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the federation's file locked. Raises ``HubError`` where another ``up`` or ``down`` does."""
    with file.open("rb") as locked:
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError(f"another `fedsilo up` or `fedsilo down` is at work on {file}; wait for it") from None
        yield


def main(file: Path) -> None:
    """Bring up the federation that the file describes, and keep it until SIGTERM: the keeper."""
    signals.raise_once(SystemExit(0), signal.SIGTERM)
    federation, sha256 = spec.load(file), _digest(file)
    folder = folder_of(file)
    with Embedded(federation, folder) as embedded:
        embedded.wait_until_ready()
        region = federation.aggregator.region
        up = State(embedded.endpoint, region, federation.name, embedded.parties, sha256)
        write_atomically(folder / "up.json", json.dumps(asdict(up)))
        while True:
            time.sleep(TEND_SECONDS)
            for party in embedded.tend():
                print(f"the agent of {party} had ended, and is started again", flush=True)  # noqa: T201


def folder_of(file: Path) -> Path:
    """Where what is up for the file is kept."""
    there = file.resolve()
    return there.parent / FOLDER / there.name


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _keeper(folder: Path) -> LocalProcess:
    return LocalProcess(folder / ".keeper")  # no party's name begins so


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FedsiloError as error:
        sys.exit(f"error: {error}")
