"""An agent's health: files that the agent touches, and whose age Kubernetes' probes check. Nothing listens for that.

Imports next to nothing, because every probe starts a process of its own.
"""

import os
import tempfile
from enum import StrEnum
from pathlib import Path

from fedsilo import runtime


class Probe(StrEnum):
    """What a probe asks; also the name of the file."""

    ALIVE = "alive"
    """The agent's loop runs."""
    READY = "ready"
    """The agent's control queue has answered."""


MAX_AGE_SECONDS = {Probe.ALIVE: 900.0, Probe.READY: 180.0}
"""The longest time since the file was touched: more than the longest wait for a hub that does not answer, and more than
several long polls."""


def folder() -> Path:
    """The folder of an agent's probe files and, with the local launcher, of its trainers: ``FEDSILO_FOLDER``."""
    return Path(os.environ.get("FEDSILO_FOLDER") or Path(tempfile.gettempdir(), "fedsilo-agent"))


def touch(where: Path, probe: Probe) -> None:
    """Record that the probe's answer is yes now."""
    (where / probe).touch()


def problem(probe: Probe) -> str:
    """Why the agent on this machine fails the probe; empty if it passes."""
    path = folder() / probe
    try:
        age = runtime.now().timestamp() - path.stat().st_mtime
    except FileNotFoundError:
        return f"the agent has not touched {path} yet; see its log"
    return "" if age <= MAX_AGE_SECONDS[probe] else f"the agent last touched {path} {age:.0f} s ago; see its log"
