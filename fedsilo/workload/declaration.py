"""What a workload declares about itself in ``workload.yaml``: the schema.

The declaration is read without the workload's code, so the agent and the command can check a run against it. It is the
one place of a hyperparameter's default. What a workload does not declare is refused, or does not leave a silo.
"""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, model_validator

from fedsilo.states import Better, Role, SumKind

Value = bool | int | float | str
"""The value of a hyperparameter."""

Number = Annotated[int, Strict()] | Annotated[FiniteFloat, Strict()]

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
MetricName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_:./ -]{0,63}$")]
Named = Annotated[Mapping[Name, T], AfterValidator(MappingProxyType)]
"""Things by their names, which nobody can change: every caller gets the same declaration."""

MOST_ELEMENTS = 2**18
"""The most counts of a partition: 2 MiB as they travel, when none is zero."""

FEATURES = "features"
"""What a sum may be ``of``: the features of one sample."""


def _ordered(ends: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    least, most = ends
    if least is not None and most is not None and least > most:
        raise ValueError("should have a first end that is not above its second")
    return ends


def within(value: float, ends: tuple[float | None, float | None]) -> bool:
    """Whether the value is in the range, ends included; an end that is None is open. NaN is in no range."""
    least, most = ends
    return (-math.inf if least is None else least) <= value <= (math.inf if most is None else most)


Range = Annotated[
    tuple[Annotated[FiniteFloat, Strict()] | None, Annotated[FiniteFloat, Strict()] | None], AfterValidator(_ordered)
]
"""The least and the largest value; None is an open end."""

ClosedRange = Annotated[
    tuple[Annotated[FiniteFloat, Strict()], Annotated[FiniteFloat, Strict()]], AfterValidator(_ordered)
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hyperparameter(_Model):
    """One hyperparameter: its default, which values it may have, and who may choose one.

    A text has ``choices``. A number has ``choices``, or a range with two ends. A switch has neither.
    """

    default: Value
    """The value of a run that sets no other. Its type is the hyperparameter's type."""
    min: Number | None = None
    """The least value."""
    above: Number | None = None
    """A bound that every value is above, in place of ``min``."""
    max: Number | None = None
    """The largest value."""
    below: Number | None = None
    """A bound that every value is below, in place of ``max``."""
    choices: tuple[Value, ...] = ()
    """The values, if they are few."""
    unit: str = ""
    """The unit, such as ``samples``."""
    safe: bool = False
    """Whether an operator may choose any value of the range without an owner's consent. No combination of safe values
    may let an update tell more about a single sample than the defaults do. Default false: the value is the default,
    unless the policy of every party that takes part bounds the hyperparameter."""
    role: Role | None = None
    """What the hyperparameter is to the rules of a policy; None if no rule concerns it."""
    help: str = ""
    """What it does, in a sentence."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        numeric = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        ends = [self.min, self.above, self.max, self.below]
        if (self.min is not None and self.above is not None) or (self.max is not None and self.below is not None):
            raise ValueError("should have min or above, and max or below, and not both")
        if any(end is not None for end in ends) and (self.choices or not numeric):
            raise ValueError("should have either choices or the ends of a range, and a range only for a number")
        if numeric and not self.choices and not self._has_both_ends():
            raise ValueError("should have choices, or a range with two ends: min or above, and max or below")
        if isinstance(self.default, str) and not self.choices:
            raise ValueError("should have choices, because its default is a text")
        if self.role is not None and type(self.default) is not int:
            raise ValueError(f"should have a whole number as its default, because its role is {self.role}")
        odd = [each for each in self.choices if type(each) is not type(self.default)]
        if odd:
            raise ValueError(f"should have choices of the default's type, {self._type}; {odd[0]!r} is not")
        if not self._allows(self.default):
            raise ValueError(f"should have a default that is {self.allowed}; {self.default!r} is not")
        return self

    def _has_both_ends(self) -> bool:
        return (self.min is not None or self.above is not None) and (self.max is not None or self.below is not None)

    @property
    def _type(self) -> str:
        return type(self.default).__name__

    @property
    def allowed(self) -> str:
        """Which values it may have, in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        words = {"at least": self.min, "above": self.above, "at most": self.max, "below": self.below}
        return " and ".join(f"{word} {end}" for word, end in words.items() if end is not None) or "true or false"

    def read(self, given: Value) -> Value:
        """Convert a value to the type of this hyperparameter.

        Args:
            given: A value from run.json, or a text from the command line.

        Raises:
            ValueError: The value is not of the type, not finite, or not in the range. The message says what is wrong.
        """
        try:
            value = _convert(given, type(self.default))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"is not of type {self._type}") from None
        if not self._allows(value):
            raise ValueError(f"is not {self.allowed}")
        return value

    def _allows(self, value: Value) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool | str):
            return isinstance(value, bool)
        return (
            (self.min is None or value >= self.min)
            and (self.above is None or value > self.above)
            and (self.max is None or value <= self.max)
            and (self.below is None or value < self.below)
        )


class Metric(_Model):
    """One metric that a party may record."""

    better: Better
    """Which values are better."""
    range: Range
    """Which values are possible, ends included."""
    unit: str = ""
    """The unit; empty for a plain number."""


class Sum(_Model):
    """One of the named tensors that leave a silo as a sum over its samples."""

    kind: SumKind
    """What it adds up."""
    of: str | None = Field(default=None, pattern=f"^{FEATURES}$")
    """``features``: an element for each feature, in the order of the declaration."""
    range: ClosedRange | None = None
    """The least and the largest that a single sample adds to an element; of a ``sum`` that is not of the features."""
    shape: tuple[Annotated[int, Field(ge=1, le=MOST_ELEMENTS)], ...] = ()
    """How many counts a ``partition`` has, in each dimension."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        has = [name for name in ("of", "range", "shape") if getattr(self, name)]
        match self.kind:
            case SumKind.SUM if has not in (["of"], ["range"]):
                raise ValueError(f"should have either of: {FEATURES} or a range")
            case SumKind.SUM_OF_SQUARES if has != ["of"]:
                raise ValueError(f"should have of: {FEATURES}, and no range")
            case SumKind.PARTITION if has != ["shape"]:
                raise ValueError("should have a shape, and neither of nor range")
            case SumKind.PARTITION if math.prod(self.shape) > MOST_ELEMENTS:
                raise ValueError(f"should have a shape of at most {MOST_ELEMENTS} counts")
            case SumKind.COUNT if has:
                raise ValueError(f"should have no {has[0]}, because its kind is {self.kind}")
        return self


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


class Declaration(_Model):
    """What a workload declares about itself."""

    hyperparameters: Named[Hyperparameter]
    """What an operator may set. Required."""
    metrics: Annotated[Mapping[MetricName, Metric], AfterValidator(MappingProxyType)]
    """Every metric that a party may record. Required."""
    features: Named[ClosedRange] = Field(default_factory=_nothing)
    """The least and the largest value of each feature of a sample, in the order of the tensors. Required for sums of
    features."""
    statistics: Named[Sum] = Field(default_factory=_nothing)
    """What ``Trainer.statistics`` returns, over the training samples. Default: nothing."""
    evaluation: Named[Sum] = Field(default_factory=_nothing)
    """What ``Trainer.test`` returns, over the test samples. Default: nothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            *_problems("statistics", self.statistics, self.features),
            *_problems("evaluation", self.evaluation, self.features),
        ]
        if len(sized := [name for name, each in self.hyperparameters.items() if each.role]) > 1:
            problems.append(f"hyperparameters: {', '.join(sized)} have the same role; one hyperparameter may have it")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def with_role(self, role: Role) -> str | None:
        """The name of the hyperparameter that has the role; None if none has."""
        return next((name for name, each in self.hyperparameters.items() if each.role == role), None)


def _problems(section: str, sums: Mapping[str, Sum], features: Mapping[str, object]) -> Iterator[str]:
    kinds = [each.kind for each in sums.values()]
    if sums and kinds.count(SumKind.COUNT) != 1:
        yield f"{section}: should have one sum of kind count: how many samples the other sums are of"
    if SumKind.SUM_OF_SQUARES in kinds and not any(
        each.kind == SumKind.SUM and each.of is not None for each in sums.values()
    ):
        yield f"{section}: should have a sum of the features beside the sum of their squares"
    if not features and any(each.of is not None for each in sums.values()):
        yield f"{section}: has a sum of the features, and features is missing"


def _convert(value: Value, kind: type) -> Value:
    """Convert a value to a type. Raises ``TypeError``, ``ValueError`` or ``OverflowError`` if it is not of the type."""
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise ValueError(value)
        return str(value).lower() == "true"
    if isinstance(value, bool) and kind is not str:
        raise ValueError(value)
    if kind is int and isinstance(value, float):
        if value != int(value):
            raise ValueError(value)
        return int(value)
    converted = kind(value)
    if kind is float and not math.isfinite(converted):  # JSON has no NaN and no infinity
        raise ValueError(value)
    return cast(Value, converted)
