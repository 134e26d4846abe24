"""The schema of a policy: what a party's owner allows a run to do to the party, each rule with its default and why.

The owner deploys it as a file. The agent checks each run against it (``fedsilo.agent.policy``), and the trainer lets
nothing leave the party that it does not allow. Nothing that an operator sends can widen it.
"""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fedsilo import yaml_files
from fedsilo.config.run import MAX_ROUNDS
from fedsilo.states import Protection, Publication
from fedsilo.workload.declaration import Value


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path, a folder, an unknown name
        raise ValueError("should be the IANA name of a time zone, such as Europe/Berlin") from None
    return name


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bound(_Model):
    """The values that one hyperparameter of a run may have, within the range that the workload declares."""

    min: float | None = None
    """The smallest value allowed. Default: none."""
    max: float | None = None
    """The largest value allowed. Default: none."""
    any_of: tuple[Value, ...] | None = None
    """The values allowed, as a list. Default: any."""

    @model_validator(mode="after")
    def _binds(self) -> "Bound":
        if self.min is None and self.max is None and self.any_of is None:
            raise ValueError("should have min, max or any_of")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("should have a min that is not above its max")
        return self


class Hours(_Model):
    """The hours of the day in which a run may start: from ``start`` up to, not including, ``end``."""

    start: int = Field(ge=0, le=23)
    """Hour. Required."""
    end: int = Field(ge=0, le=23)
    """Hour. It may be before ``start``: the hours then span midnight. Required."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """The IANA name of the time zone whose clock shows these hours. Its daylight saving time counts, so 20 to 6 stays
    the evening and the night. Default UTC."""

    @model_validator(mode="after")
    def _not_empty(self) -> "Hours":
        if self.start == self.end:
            raise ValueError("should have an end that is not its start (leave hours out for the whole day)")
        return self


class Policy(_Model):
    """What a party's owner allows. What neither the policy nor the workload's declaration allows is refused."""

    workloads: tuple[str, ...] | None = None
    """Names of workloads. Default: every workload in the party's image, which its owner chose and pinned."""
    hyperparameters: dict[str, Bound] = Field(default_factory=dict)
    """Bounds by name of the hyperparameter. A bound applies to each workload that has the hyperparameter. A name that
    no allowed workload has is a mistake: it is an error in this file and, in an image with other workloads, a reason to
    refuse every run. Default: none; an operator then chooses only hyperparameters that the workload declares safe, and
    each other one keeps its default."""
    max_rounds: int = Field(default=1000, ge=1, le=MAX_ROUNDS)
    """Rounds. Default 1000: far more than the examples need, and an end for a run that nobody watches."""
    max_hours: float = Field(default=24, gt=0, le=24 * 28)
    """Hours that a run may take; also the deadline of the trainer's Job. Default 24: at most a day of compute is
    lost."""
    min_silos: int = Field(default=2, ge=1)
    """Silos that have to take part, and to answer a round before it closes at its deadline. Default 2: with a single
    silo, the aggregate would be that silo's update. A federation of one silo has to say 1."""
    min_samples: int = Field(default=10, ge=1)
    """Training samples that a silo must have to take part. Default 10: the sum and the sum of squares of two patients
    are the two patients, and health statistics usually leave out counts below ten."""
    min_batch_size: int = Field(default=2, ge=1)
    """Samples of a step of training; it bounds the hyperparameter that the workload declares as its batch size.
    Default 2: with 1, the last step of a round is the step of one known sample."""
    hours: Hours | None = None
    """When a run may start. Default: any time."""
    publish: tuple[Publication, ...] = ()
    """What an operator may read of a silo beside its ledger: ``local_model``, the model that the silo trained last. It
    tells more about the silo's data than the global model does. Default: nothing."""
    max_metrics_per_round: int = Field(default=200, ge=0)
    """Metrics that leave a silo in a round. Each is a number that the silo computed of its data. Default 200: the
    examples record two an epoch, and have 100 epochs a round at most."""
    require: tuple[Protection, ...] = ()
    """How a run must protect the updates: ``private`` (differential privacy), ``secure`` (secure aggregation). This
    version has neither, so each refuses every run. Default: none; silos that trust the aggregator with their updates
    need none."""


def load(path: Path) -> Policy:
    """Read a policy from a file of YAML or JSON.

    Raises:
        SpecError: The file can't be read, or is not a policy. The message has a line for each problem.
    """
    raw = yaml_files.read(path, "FEDSILO_POLICY_FILE names the file of the party's policy")
    return yaml_files.validate(Policy, raw, str(path), "policy")
