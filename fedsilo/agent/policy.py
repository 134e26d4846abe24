"""A party's policy applied to a run: what the run asks for and the party's owner does not allow.

The policy comes from a file that the party's owner deploys. Nothing in a run or a request widens it. A new rule is a
field of ``fedsilo.config.policy.Policy`` and a check here, or in the trainer if it concerns what leaves the party.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from fedsilo.config.policy import Bound, Hours, Policy
from fedsilo.config.run import Run
from fedsilo.states import Protection, Role
from fedsilo.workload import registry
from fedsilo.workload.declaration import Hyperparameter, Value

_MISSING = {
    Protection.PRIVATE: "differential privacy",
    Protection.SECURE: "secure aggregation",
}


def check(run: Run, policy: Policy, at: datetime) -> list[str]:
    """Check a run against a policy.

    A hyperparameter that the run leaves out counts with the workload's default. ``max_hours`` is not checked, because
    nobody knows how long a run takes: it is the deadline of the run's job. The trainer applies ``min_samples``,
    ``publish`` and ``max_metrics_per_round``.

    Args:
        run: What the operator asks for.
        policy: What the party's owner allows.
        at: When the run would start.

    Returns:
        Why the run may not start: each line names the rule, the run's value and the bound. Empty if it may.
    """
    return [
        *_check_size(run, policy),
        *_check_protection(policy),
        *_check_hours(policy, at),
        *_check_hyperparameters(run, policy),
    ]


def _check_size(run: Run, policy: Policy) -> Iterator[str]:
    if policy.workloads is not None and run.workload not in policy.workloads:
        yield f"policy.workloads: {run.workload} is not one of {', '.join(policy.workloads) or 'none'}"
    if run.rounds > policy.max_rounds:
        yield f"policy.max_rounds: {run.rounds} rounds are more than {policy.max_rounds}"
    if len(run.silos) < policy.min_silos:
        yield f"policy.min_silos: {len(run.silos)} silos are fewer than {policy.min_silos}"
    if run.quorum < policy.min_silos <= len(run.silos):
        yield f"policy.min_silos: a quorum of {run.quorum} silos is less than {policy.min_silos}"


def _check_protection(policy: Policy) -> Iterator[str]:
    for protection in policy.require:
        yield (
            f"policy.require: {protection}: this version of fedsilo has no {_MISSING[protection]}, so the party takes "
            f"part in no run; its owner may take {protection} out"
        )


def _check_hours(policy: Policy, at: datetime) -> Iterator[str]:
    if policy.hours and not _within(policy.hours, local := at.astimezone(ZoneInfo(policy.hours.time_zone))):
        hours = policy.hours
        yield f"policy.hours: {local:%H:%M} is not from {hours.start}:00 to {hours.end}:00 ({hours.time_zone})"


def _within(hours: Hours, at: datetime) -> bool:
    if hours.start < hours.end:
        return hours.start <= at.hour < hours.end
    return at.hour >= hours.start or at.hour < hours.end


def _check_hyperparameters(run: Run, policy: Policy) -> Iterator[str]:
    values = registry.hyperparameters(run.workload, run.hyperparameters)
    declaration = registry.declaration(run.workload)
    known = registry.all_hyperparameters(policy.workloads)
    for name in sorted(policy.hyperparameters.keys() - known):
        yield (
            f"policy.hyperparameters.{name}: unknown hyperparameter; the allowed workloads have "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    for name, value in values.items():
        declared, bound = declaration.hyperparameters[name], policy.hyperparameters.get(name)
        if bound is None and value != declared.default and not declared.safe:
            yield _unsafe(run.workload, name, value, declared)
        elif bound is not None and (allowed := _allowed(value, bound)):
            yield f"policy.hyperparameters.{name}: {value!r:.40} is not {allowed}"
    batch_size = declaration.with_role(Role.BATCH_SIZE)
    if batch_size and int(values[batch_size]) < policy.min_batch_size:
        yield f"policy.min_batch_size: {batch_size} {values[batch_size]} is less than {policy.min_batch_size}"


def _unsafe(workload: str, name: str, value: Value, declared: Hyperparameter) -> str:
    """Why the value is refused: neither the workload nor the policy leaves the hyperparameter to the operator."""
    if isinstance(value, int | float) and isinstance(declared.default, int | float) and not isinstance(value, bool):
        bound = f"{'max' if value > declared.default else 'min'}: {value}"
    else:
        bound = f"any_of: {json.dumps([declared.default, value])}"
    return (
        f"policy.hyperparameters.{name}: {value!r} is not the default, {declared.default!r}, and {workload} does not "
        f"leave {name} to operators; the party's owner may allow it: hyperparameters: {{{name}: {{{bound}}}}}"
    )


def _allowed(value: Value, bound: Bound) -> str:
    """What the value should be, in words; empty if the value is allowed."""
    if bound.any_of is not None and not any(_is_same(value, each) for each in bound.any_of):
        return f"one of {', '.join(map(str, bound.any_of))}"
    low = float("-inf") if bound.min is None else bound.min
    high = float("inf") if bound.max is None else bound.max
    bounded = bound.min is not None or bound.max is not None
    return f"between {low:g} and {high:g}" if bounded and not _is_between(value, low, high) else ""


def _is_same(value: Value, other: Value) -> bool:
    """Whether two values are equal and of one type: 1 is 1.0, and not True."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _is_between(value: Value, low: float, high: float) -> bool:
    """Whether the value is a number within the bounds. NaN, a text and True are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
