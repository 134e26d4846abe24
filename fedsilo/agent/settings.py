"""What an agent's environment holds: who the party is, where its policy is, what runs trainers, where to write."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedsilo.agent import health
from fedsilo.config.environment import EMPTY_IS_DEFAULT, Settings


class AgentSettings(Settings):
    """The settings of one party's agent."""

    policy_file: Annotated[Path, EMPTY_IS_DEFAULT]
    """The file with the policy of the party's owner."""
    launcher: Literal["kubernetes", "local"]
    """What runs the trainers."""
    folder: Annotated[Path, EMPTY_IS_DEFAULT] = Field(default_factory=health.folder)
    """Where the agent touches the files for its probes and, with the local launcher, keeps its trainers."""
