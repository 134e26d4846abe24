"""What an agent's environment holds: who the party is, what runs trainers, where to write."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedsilo.agent import health
from fedsilo.config.environment import EMPTY_IS_DEFAULT, SelfHostedSettings


class AgentSettings(SelfHostedSettings):
    """The settings of one party's agent."""

    launcher: Literal["kubernetes", "local"]
    """What runs the trainers."""
    folder: Annotated[Path, EMPTY_IS_DEFAULT] = Field(default_factory=health.folder)
    """Where the agent touches the files for its probes and, with the local launcher, keeps its trainers."""
