"""The local federation of ``fedsilo up``: a supervisor process keeps it running until ``fedsilo down``.

Its folder is named after the federation's file and lies in ``FOLDER`` beside that file. Every other command looks
there, and uses the local federation in place of AWS.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsilo import runtime, signals
from fedsilo.agent.process import LocalProcess
from fedsilo.config.load import load_federation
from fedsilo.errors import FedsiloError, HubError
from fedsilo.files import write_atomically
from fedsilo.local import emulator
from fedsilo.local.federation import LAST_BYTES, READY_SECONDS, LocalFederation, end_processes

FOLDER = ".fedsilo"

CHECK_SECONDS = 1.0
"""How often the supervisor checks that the agents run."""


@dataclass(frozen=True)
class State:
    """``up.json``: which federation is up, and where."""

    endpoint: str
    access_key: str
    """The access key id of the emulator's clients."""
    region: str
    federation: str
    parties: list[str]
    sha256: str
    """The digest of the federation's file at the time of ``fedsilo up``."""


def read_state(file: Path) -> State | None:
    """Read what is up for a federation's file.

    Args:
        file: The federation's file.

    Returns:
        The state, or None when nothing is up or it is not ready yet.

    Raises:
        HubError: The supervisor has died, or another version of fedsilo wrote the state.
    """
    folder = folder_of(file)
    if not (folder / "up.json").exists():
        return None
    if not _supervisor(folder).alive:
        raise HubError(
            f"the local federation in {folder} has ended, for example because the machine was restarted; "
            "`fedsilo down` removes what is left of it, and `fedsilo up` starts a new one"
        )
    try:
        return State(**json.loads((folder / "up.json").read_text()))
    except (ValueError, TypeError) as error:
        raise HubError(f"another version of fedsilo wrote {folder}; run `fedsilo down`, then `fedsilo up`") from error


def connect(file: Path) -> State | None:
    """Make this process use the local federation if one is up, unless ``AWS_ENDPOINT_URL`` is set.

    Returns:
        The state of the local federation, or None when this process does not use one.

    Raises:
        HubError: The federation's file has changed since ``fedsilo up``.
    """
    if os.environ.get("AWS_ENDPOINT_URL"):
        return None
    state = read_state(file)
    if state:
        if state.sha256 != _digest(file):
            raise HubError(
                f"{file} has changed since `fedsilo up`; the local federation still runs as the file was then. "
                "Run `fedsilo down`, then `fedsilo up`, to use the file as it is now"
            )
        emulator.use(state.endpoint, state.access_key, state.region)
    return state


def bring_up(file: Path) -> State:
    """Start the local federation and return when every agent is ready. One that is up already stays as it is.

    Raises:
        SpecError: The federation's file is not valid.
        HubError: The local federation did not come up; nothing of it is left.
    """
    patience = emulator.START_SECONDS + 2 * READY_SECONDS + len(load_federation(file).parties)
    with _locked(file):
        if state := read_state(file):
            return connect(file) or state
        folder = folder_of(file)
        try:
            _take_down(folder)  # an earlier `fedsilo up` may have failed and left something
            return _start(file, folder, patience)
        except OSError as error:
            raise HubError(f"the local federation can't use the folder {folder}: {error.strerror}") from None
        except BaseException:
            _take_down(folder)
            raise


def _start(file: Path, folder: Path, patience: float) -> State:
    """Start the supervisor, and wait until it has written the state."""
    folder.mkdir(mode=0o700, parents=True)  # it holds the emulator's access key, and the trainers' logs
    supervisor = _supervisor(folder)
    supervisor.start([sys.executable, "-P", "-m", "fedsilo.local.supervisor", str(file.resolve())], os.environ)
    deadline = runtime.monotonic() + patience
    while not (state := read_state(file)):
        if not supervisor.alive or runtime.monotonic() > deadline:
            printed = supervisor.log(LAST_BYTES).strip() or "its log is empty"
            raise HubError(f"the local federation did not come up: {printed}")
        runtime.sleep(0.1)
    return state


def take_down(file: Path) -> bool:
    """End the local federation and remove its folder, with all its runs and models.

    Returns:
        Whether there was anything to end or to remove.
    """
    with _locked(file):
        return _take_down(folder_of(file))


def _take_down(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    for hidden in folder.glob(".*"):  # the supervisor, also an older version's, which had another name
        LocalProcess(hidden).end()
    end_processes(folder)
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # another file's federation is up in the same folder
        folder.parent.rmdir()
    return True


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock on the federation's file. Raises ``HubError`` while another ``up`` or ``down`` holds it."""
    with file.open("rb") as locked:
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubError(
                f"another `fedsilo up` or `fedsilo down` is running for {file}; try again when it has ended"
            ) from None
        yield


def main(file: Path) -> None:
    """Be the supervisor: start the local federation, and keep it running until SIGTERM."""
    signals.raise_once(SystemExit(0), signal.SIGTERM)
    federation, sha256 = load_federation(file), _digest(file)
    folder = folder_of(file)
    with LocalFederation(federation, folder) as local:
        local.wait_until_ready()
        region = federation.aggregator.region
        state = State(local.endpoint, local.access_key, region, federation.name, local.parties, sha256)
        write_atomically(folder / "up.json", json.dumps(asdict(state)))
        while True:
            runtime.sleep(CHECK_SECONDS)
            for party in local.restart_dead_agents():
                print(f"the agent of {party} ended and was started again", flush=True)  # noqa: T201
            local.trim_logs()


def folder_of(file: Path) -> Path:
    """The folder of the local federation that ``fedsilo up`` starts for the federation's file."""
    resolved = file.resolve()
    return resolved.parent / FOLDER / resolved.name


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _supervisor(folder: Path) -> LocalProcess:
    return LocalProcess(folder / ".supervisor")  # the other folders are parties, whose names begin with a letter


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FedsiloError as error:
        sys.exit(f"error: {error}")
