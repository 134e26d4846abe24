"""A run: one federated training, as the operator asked for it in ``run.json``."""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from fedsilo import names
from fedsilo.config.defaults import DEADLINE_SECONDS, JOIN_SECONDS, ROUNDS
from fedsilo.errors import SpecError
from fedsilo.keys import RUN_PATTERN, RunKeys
from fedsilo.workload import registry as workload

RUN_JSON_BYTES = 2**20

WORKLOAD_PATTERN = "[a-z][a-z0-9_]{0,39}"

Name = Annotated[str, Field(pattern=f"^{names.NAME_PATTERN}$")]


def new_id(federation: str) -> str:
    """An id that sorts by time: ``heart-20261122-081500-3f``, in UTC."""
    return f"{federation}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(1)}"


class Run(BaseModel):
    """What ``run.json`` holds; written once, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True)

    id: Annotated[str, Field(pattern=f"^{RUN_PATTERN}$", alias="run")]
    federation: Name
    workload: Annotated[str, Field(pattern=f"^{WORKLOAD_PATTERN}$")]
    silos: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    hyperparameters: dict[str, bool | int | FiniteFloat | str]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    quorum: Annotated[int, Field(ge=1)]
    """How many silos must have answered for a round to close at its deadline."""
    deadline_seconds: Annotated[FiniteFloat, Field(gt=0, le=7 * 86400)]
    """How long a round may stay open. A silo that misses it is waited for again once it is back."""
    join_seconds: Annotated[FiniteFloat, Field(gt=0, le=7 * 86400)]
    """How long the aggregator waits for silos before round 0, and a silo for the aggregator at any time."""
    created: AwareDatetime

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        if self.quorum > len(self.silos):
            raise ValueError(f"quorum: {self.quorum} is more than the {len(self.silos)} silos of the run")
        if len(set(self.silos)) < len(self.silos):
            raise ValueError("silos: a silo is named twice")
        if names.AGGREGATOR in self.silos or names.EVERYONE in self.silos:
            raise ValueError(f"silos: {names.AGGREGATOR} and {names.EVERYONE} are no silos")
        return self

    @classmethod
    def parse(cls, text: str | bytes) -> "Run":
        """Read ``run.json``. Raises ``SpecError`` with a line for every problem."""
        return cls.checked(_json_object(text))

    @classmethod
    def checked(cls, values: dict[str, Any]) -> "Run":
        """Make a run of ``values``. Raises ``SpecError`` with a line for every problem, hyperparameters included."""
        try:
            run = cls.model_validate(values)
        except ValidationError as error:
            raise SpecError("\n".join(_line(problem) for problem in error.errors())) from error
        workload.hyperparameters(run.workload, run.hyperparameters)
        return run

    @property
    def parties(self) -> list[str]:
        """The parties of the run, the aggregator first: a party's place is its rank."""
        return [names.AGGREGATOR, *self.silos]

    def rank(self, party: str) -> int:
        """The party's place in ``parties``. Raises ``SpecError`` if the party is not in the run."""
        if party not in self.parties:
            raise SpecError(f"silos: {party} is not in run {self.id}, which has {', '.join(self.silos)}")
        return self.parties.index(party)

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.id)


def plan(
    federation: str,
    task: str,
    silos: Sequence[str],
    *,
    chosen: Mapping[str, str],
    rounds: int = ROUNDS,
    seed: int = 0,
    quorum: int | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    run_id: str | None = None,
) -> Run:
    """A run of the workload ``task`` from now, with ``chosen`` hyperparameters and the others' defaults.

    Raises ``SpecError`` with a line for every problem.
    """
    return Run.checked(
        {
            "run": run_id or new_id(federation),
            "federation": federation,
            "workload": task,
            "silos": list(silos),
            "rounds": rounds,
            "hyperparameters": workload.hyperparameters(task, chosen),
            "seed": seed,
            "quorum": majority(len(silos)) if quorum is None else quorum,
            "deadline_seconds": deadline_seconds,
            "join_seconds": max(JOIN_SECONDS, deadline_seconds),
            "created": datetime.now(UTC),
        }
    )


def majority(silos: int) -> int:
    """The default quorum: more than half of the silos."""
    return silos // 2 + 1


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
