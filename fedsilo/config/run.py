"""A run: one federated training, as the operator asked for it in ``run.json``."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from fedsilo import names, runtime
from fedsilo.errors import SpecError
from fedsilo.keys import RUN_PATTERN, RunKeys
from fedsilo.workload import registry

RUN_JSON_BYTES = 2**20
"""The largest ``run.json`` that is read."""

MAX_ROUNDS = 100_000
"""The most rounds that a run may have."""

ROUNDS = 50
"""The default number of rounds. Models as small as the examples' stop improving well before the last of them."""

DEADLINE_SECONDS = 120.0
"""How long a round stays open by default. The examples take far less; a silo that has died delays the others once by
this time."""

JOIN_SECONDS = 600.0
"""How long silos may take to start. A cluster that had scaled to zero needs a node and an image of several GB."""

_WEEK_SECONDS = 7 * 24 * 3600

Seconds = Annotated[FiniteFloat, Field(gt=0, le=_WEEK_SECONDS)]

Name = Annotated[str, Field(pattern=f"^{names.NAME_PATTERN}$")]


def new_id(federation: str) -> str:
    """An id for a run that starts now, such as ``heart-20261122-081500-3f``. Ids sort by their time, which is UTC."""
    return f"{federation}-{runtime.now():%Y%m%d-%H%M%S}-{runtime.token(1)}"


@dataclass(frozen=True)
class RunIdentity:
    """Which ``run.json`` a request means: the party's agent checks this one, and its trainer takes this one."""

    run: str
    """The run's id."""
    sha256: str
    """The SHA-256 of the bytes of ``run.json``, in hexadecimal."""
    version: str = ""
    """S3's id of the object's version; empty in a bucket that keeps no versions, as in the local AWS emulator."""

    @classmethod
    def of(cls, run: str, body: bytes, version: str) -> "RunIdentity":
        """The identity of a ``run.json`` with this content."""
        return cls(run, hashlib.sha256(body).hexdigest(), version)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "RunIdentity":
        """The identity that ``to_environment`` put into an environment."""
        return cls(environment["FEDSILO_RUN"], environment["FEDSILO_RUN_SHA256"], environment["FEDSILO_RUN_VERSION"])

    def to_environment(self) -> dict[str, str]:
        """The variables from which ``fedsilo trainer`` reads the identity."""
        return {"FEDSILO_RUN": self.run, "FEDSILO_RUN_SHA256": self.sha256, "FEDSILO_RUN_VERSION": self.version}


class Run(BaseModel):
    """What ``run.json`` holds. It is written once and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True)

    id: Annotated[str, Field(pattern=f"^{RUN_PATTERN}$", alias="run")]
    federation: Name
    workload: Annotated[str, Field(pattern=f"^{registry.NAME_PATTERN}$")]
    silos: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    hyperparameters: dict[str, bool | int | FiniteFloat | str]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    quorum: Annotated[int, Field(ge=1)]
    """How many silos must have answered before a round may close at its deadline."""
    fraction: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    """The share of the silos that a round asks for an update. Each round draws its own, at least as many as the quorum;
    the final model goes to all."""
    require_silos: Annotated[int, Field(ge=1)] | None = None
    """How many silos must contribute to all rounds. The run fails as soon as fewer can. None: the quorum is enough."""
    deadline_seconds: Seconds
    """How long a round waits for a silo. A silo that misses the deadline takes part again once it is back."""
    deadlines: dict[Name, Seconds] = {}
    """The silos for which a round waits longer, as long as they are alive."""
    join_seconds: Seconds
    """How long the aggregator waits for silos before round 0, and how long a silo waits for the aggregator at any
    time."""
    created: AwareDatetime
    simulated: bool = False
    """Whether all parties are simulated in one process."""

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        if self.quorum > len(self.silos):
            raise ValueError(f"quorum: {self.quorum} is more than the {len(self.silos)} silos of the run")
        if (self.require_silos or 0) > len(self.silos):
            raise ValueError(f"require_silos: {self.require_silos} is more than the {len(self.silos)} silos of the run")
        if self.require_silos and self.fraction < 1:
            raise ValueError(
                f"require_silos: no silo takes part in all rounds when a fraction of {self.fraction:g} is asked"
            )
        if len(set(self.silos)) < len(self.silos):
            raise ValueError("silos: a silo is named twice")
        if names.AGGREGATOR in self.silos or names.EVERYONE in self.silos:
            raise ValueError(f"silos: {names.AGGREGATOR} and {names.EVERYONE} are reserved names")
        for silo, seconds in self.deadlines.items():
            if silo not in self.silos:
                raise ValueError(f"deadlines: {silo} is not in the run, which has {', '.join(self.silos)}")
            if seconds < self.deadline_seconds:
                raise ValueError(
                    f"deadlines: {seconds:g} s of {silo} is less than the {self.deadline_seconds:g} s of all silos"
                )
        return self

    @classmethod
    def parse(cls, text: str | bytes) -> "Run":
        """Read the text of ``run.json``.

        Raises:
            SpecError: The text is not a valid run. The message has a line for each problem.
        """
        return cls.checked(_json_object(text))

    @classmethod
    def checked(cls, values: dict[str, Any]) -> "Run":
        """Make a run of ``values``, and check its hyperparameters against its workload.

        Raises:
            SpecError: The values are not a valid run. The message has a line for each problem.
        """
        run = cls._validated(values)
        registry.hyperparameters(run.workload, run.hyperparameters)
        return run

    @classmethod
    def _validated(cls, values: dict[str, Any]) -> "Run":
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecError("\n".join(_line(problem) for problem in error.errors())) from error

    @property
    def parties(self) -> list[str]:
        """The parties of the run, the aggregator first: a party's place is its rank."""
        return [names.AGGREGATOR, *self.silos]

    def rank(self, party: str) -> int:
        """The party's place in ``parties``. Raises ``SpecError`` if the party is not in the run."""
        if party not in self.parties:
            raise SpecError(f"silos: {party} is not in run {self.id}, which has {', '.join(self.silos)}")
        return self.parties.index(party)

    def deadline_of(self, silo: str) -> float:
        """How long a round waits for the silo, in seconds."""
        return self.deadlines.get(silo, self.deadline_seconds)

    @property
    def longest_deadline(self) -> float:
        """How long a round may stay open, in seconds."""
        return max([self.deadline_seconds, *self.deadlines.values()])

    def sample_size(self, silos: int) -> int:
        """How many of so many silos a round asks: the fraction, rounded up, and at least the quorum."""
        return min(silos, max(self.quorum, fraction_of(self.fraction, silos)))

    @property
    def keys(self) -> RunKeys:
        """Where the run's objects are in the mail bucket."""
        return RunKeys(self.id)


def plan(
    federation: str,
    workload: str,
    silos: Sequence[str],
    *,
    overrides: Mapping[str, str],
    rounds: int = ROUNDS,
    seed: int = 0,
    quorum: int | None = None,
    least_silos: int = 1,
    fraction: float = 1.0,
    require_silos: int | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    deadlines: Mapping[str, float] | None = None,
    run_id: str | None = None,
    simulated: bool = False,
) -> Run:
    """A run that is created now.

    Args:
        federation: The federation's name.
        workload: The name of the workload.
        silos: The silos that take part.
        overrides: Hyperparameters that differ from the workload's defaults.
        rounds: Rounds to train.
        seed: Seed of everything random.
        quorum: Silos that must answer a round; by default ``default_quorum`` of those that a round asks.
        least_silos: How many silos the policies of the parties ask for, as far as it is known.
        fraction: The share of the silos that a round asks for an update.
        require_silos: How many silos must contribute to all rounds; by default the quorum is enough.
        deadline_seconds: How long a round waits for a silo.
        deadlines: The silos for which a round waits longer, in seconds.
        run_id: The run's id; by default a new one.
        simulated: Whether all parties are simulated.

    Returns:
        The run, with a value for each hyperparameter of the workload.

    Raises:
        SpecError: The arguments do not make a valid run. The message has a line for each problem.
    """
    return Run._validated(
        {
            "run": run_id or new_id(federation),
            "federation": federation,
            "workload": workload,
            "silos": list(silos),
            "rounds": rounds,
            "hyperparameters": registry.hyperparameters(workload, overrides),
            "seed": seed,
            "quorum": default_quorum(len(silos), least_silos, fraction) if quorum is None else quorum,
            "fraction": fraction,
            "require_silos": require_silos,
            "deadline_seconds": deadline_seconds,
            "deadlines": dict(deadlines or {}),
            "join_seconds": max(JOIN_SECONDS, deadline_seconds),
            "created": runtime.now(),
            "simulated": simulated,
        }
    )


def default_quorum(silos: int, least_silos: int = 1, fraction: float = 1.0) -> int:
    """The default quorum of a run: more than half of the silos that a round asks, or as many as policies ask for.

    Args:
        silos: The number of silos in the run.
        least_silos: How many silos policies ask for. A policy that asks for more than the run has refuses the run.
        fraction: The share of the silos that a round asks.
    """
    return max(fraction_of(fraction, silos) // 2 + 1, min(least_silos, silos))


def fraction_of(fraction: float, silos: int) -> int:
    """The fraction of so many silos, rounded up: 0.1 of 30 is 3, whatever floats make of it. At least 1."""
    return max(1, math.ceil(fraction * silos - 1e-9))


def _json_object(text: str | bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"run.json is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise SpecError("run.json is not a JSON object")
    return values


def _line(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"]).removeprefix("Value error, ")
