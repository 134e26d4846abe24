"""Who a party's process is, and where its hub is: the environment that a Job or the local launcher gives it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import PydanticUseDefault
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from fedsilo import names
from fedsilo.aws import HubAccess
from fedsilo.errors import SpecError

_PREFIX = "FEDSILO_"


def _matches(pattern: str) -> BeforeValidator:
    def check(value: object) -> object:
        if not re.fullmatch(pattern, str(value)):
            raise ValueError(f"does not match {pattern}")
        return value

    return BeforeValidator(check)


def _empty_is_default(value: object) -> object:
    if value == "":
        raise PydanticUseDefault
    return value


EMPTY_IS_DEFAULT = BeforeValidator(_empty_is_default)
"""Marks a field whose variable counts as not set if it is empty."""


class Settings(BaseSettings):
    """One party of one federation.

    The environment holds each field as ``FEDSILO_<FIELD>``. Only ``from_environment`` reads it: the constructor takes
    nothing but its arguments.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    federation: Annotated[str, _matches(names.NAME_PATTERN)]
    party: Annotated[str, _matches(names.NAME_PATTERN)]
    rank: Annotated[int, _matches("[0-9]{1,4}")]
    """0 at the aggregator; a silo's place in federation.yaml, from 1."""
    hub_account: Annotated[str, _matches("[0-9]{12}")]
    hub_region: Annotated[str, _matches("[a-z]{2}(-[a-z]+)+-[0-9]")]
    data: Annotated[str, _matches(r"packaged|s3://[a-z0-9.-]{3,63}/.*")] = "packaged"
    """``packaged``, or ``s3://bucket/prefix`` for the silo's own bucket."""
    store: Annotated[str, _matches(r"|/.+|s3://[a-z0-9.-]{3,63}/")] = ""
    """The silo's own store: the path of a folder, or ``s3://bucket/``. Empty at a party that has none; its trainer
    then begins an interrupted round again."""
    gpus: Annotated[int, _matches("[0-9]")] = 0
    """The GPUs that the trainers must have. 0: a trainer uses a GPU if there is one."""
    authentication_seconds: Annotated[float, Field(ge=0)] = 600.0
    """How long a trainer waits while AWS does not accept its credentials or its clock, before it ends and is started
    again: longer than a node's credentials agent takes to be replaced, and short enough to tell an operator soon."""

    tracking: Literal["experiments", "off"] = "experiments"
    """Where the party's part in a run is recorded besides the ledger: SageMaker Experiments, or nowhere."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The constructor's arguments alone."""
        return (init_settings,)

    @classmethod
    def from_environment(cls) -> Self:
        """The settings that this process's environment holds.

        Raises:
            SpecError: Variables are missing or malformed. The message has a line for each.
        """
        try:
            return cls(**EnvSettingsSource(cls)())
        except ValidationError as error:
            raise SpecError("\n".join(_line(problem) for problem in error.errors())) from None

    def to_environment(self) -> dict[str, str]:
        """The variables that ``from_environment`` reads."""
        return {f"{_PREFIX}{field.upper()}": str(value) for field, value in self.model_dump().items()}

    @property
    def role(self) -> str:
        """The IAM role behind the party's trainer, for messages about access."""
        return names.trainer_role(self.federation, self.party)

    def hub_access(self, who: str) -> HubAccess:
        """How ``who``, a role of this party, uses the federation's hub."""
        return HubAccess(who, self.federation, self.hub_account, self.hub_region)

    @property
    def bucket(self) -> str:
        """The mail bucket in the hub."""
        return names.mail_bucket(self.federation, self.hub_account, self.hub_region)


class SelfHostedSettings(Settings):
    """One party of a federation whose control plane is self-hosted: what its agent and its trainers share."""

    policy_file: Annotated[Path, EMPTY_IS_DEFAULT]
    """The file with the policy of the party's owner (``fedsilo.config.policy``)."""


def _line(problem: Any) -> str:
    """One of pydantic's errors as ``FEDSILO_<FIELD>: value what is wrong``."""
    variable = f"{_PREFIX}{problem['loc'][0].upper()}"
    if problem["type"] == "missing":
        return f"{variable} is not set; the party's workload stack or the local launcher sets it"
    error = problem.get("ctx", {}).get("error") or problem["msg"].removeprefix("Input ")
    return f"{variable}: {problem['input']!r} {error}"
