"""Which agent this is: an id that belongs to the agent's folder, so that it outlives the process."""

import fcntl
import os
from pathlib import Path

from fedsilo import runtime
from fedsilo.errors import LauncherError

_ID_BYTES = 6


def claim(folder: Path) -> str:
    """Lock the folder until the process ends, and return the id of its agent.

    A pod's folder outlives its containers. An agent that finds it free is the only one of the folder, so it may go on
    where the last one was killed, without waiting for a lease to end.

    Raises:
        LauncherError: Another agent of this machine uses the folder.
    """
    file = os.open(folder / "instance", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise LauncherError(
            f"another agent uses the folder {folder}; end that one, or name another folder in FEDSILO_FOLDER"
        ) from None
    if known := os.read(file, 2 * _ID_BYTES).decode():
        return known
    instance = runtime.token(_ID_BYTES)
    os.write(file, instance.encode())
    return instance
