"""An agent's signs of life: files that it touches and that Kubernetes' probes look at. Nothing has to listen for that.

Imports next to nothing, because a probe is a process of its own every few minutes.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


class Sign(StrEnum):
    """``alive``: the agent's loop turns. ``ready``: its control queue has answered."""

    ALIVE = "alive"
    READY = "ready"


OLDEST_SECONDS = {Sign.ALIVE: 900.0, Sign.READY: 180.0}
"""How old a sign may be: longer than the longest wait for a hub that does not answer, and than several long polls."""


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where an agent keeps its signs and, with the local launcher, its trainers: ``FEDSILO_FOLDER``."""
    return Path(environment.get("FEDSILO_FOLDER") or Path(tempfile.gettempdir(), "fedsilo-agent"))


def touch(where: Path, sign: Sign) -> None:
    """Leave the sign."""
    (where / sign).touch()


def probe(sign: Sign) -> str:
    """What is wrong with the sign of the agent on this machine, or an empty text."""
    path = folder() / sign
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return f"the agent has not left {path} yet; see its log"
    return "" if age <= OLDEST_SECONDS[sign] else f"the agent has last touched {path} {age:.0f} s ago; see its log"
