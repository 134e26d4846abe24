"""A party's policy applied to a run: what the run asks for and the party's owner does not allow.

The policy comes from a file that the party's owner deploys. Nothing in a run or a request widens it. A new rule is a
field of ``fedsilo.config.federation.Policy`` and a check here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from fedsilo.config.federation import Bound, Hours, Policy
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.workload import registry
from fedsilo.workload.declaration import Value


def load(path: Path) -> Policy:
    """Read the policy from a file of JSON or YAML.

    Raises:
        SpecError: The file can't be read, or is not a policy. The message has a line for every problem.
    """
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SpecError(f"the party's policy {path}: {error.strerror}; FEDSILO_POLICY_FILE names the file") from None
    except ValidationError as error:
        lines = (f"{path}: policy.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SpecError("\n".join(lines)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"the party's policy {path} is neither JSON nor YAML: {str(error).splitlines()[0]}") from None


def check(run: Run, policy: Policy, at: datetime) -> list[str]:
    """Check a run against a policy.

    A hyperparameter that the run leaves out counts with the workload's default. ``max_hours`` is not checked, because
    nobody knows how long a run takes: it is the deadline of the run's job.

    Args:
        run: What the operator asks for.
        policy: What the party's owner allows.
        at: When the run would start.

    Returns:
        Why the run may not start: each line names the rule, the run's value and the bound. Empty if it may.
    """
    return [*_check_size(run, policy), *_check_hours(policy, at), *_check_hyperparameters(run, policy)]


def _check_size(run: Run, policy: Policy) -> Iterator[str]:
    if policy.workloads is not None and run.workload not in policy.workloads:
        yield f"policy.workloads: {run.workload} is not one of {', '.join(policy.workloads) or 'none'}"
    if run.rounds > policy.max_rounds:
        yield f"policy.max_rounds: {run.rounds} rounds are more than {policy.max_rounds}"
    if len(run.silos) < policy.min_silos:
        yield f"policy.min_silos: {len(run.silos)} silos are fewer than {policy.min_silos}"
    if run.quorum < policy.min_silos <= len(run.silos):
        yield f"policy.min_silos: a quorum of {run.quorum} silos is less than {policy.min_silos}"
    if policy.require_privacy:
        yield (
            "policy.require_privacy: this version of fedsilo offers neither differential privacy nor secure "
            "aggregation, so the party takes part in no run; its owner may set require_privacy to false"
        )


def _check_hours(policy: Policy, at: datetime) -> Iterator[str]:
    if policy.hours and not _within(policy.hours, at):
        now = f"{at.astimezone(UTC):%H:%M}"
        yield f"policy.hours: {now} UTC is not from {policy.hours.start}:00 to {policy.hours.end}:00 UTC"


def _within(hours: Hours, at: datetime) -> bool:
    hour = at.astimezone(UTC).hour
    if hours.start < hours.end:
        return hours.start <= hour < hours.end
    return hour >= hours.start or hour < hours.end


def _check_hyperparameters(run: Run, policy: Policy) -> Iterator[str]:
    values = registry.hyperparameters(run.workload, run.hyperparameters)
    known = registry.all_hyperparameters(policy.workloads)
    for name, bound in policy.hyperparameters.items():
        if name not in known:
            yield (
                f"policy.hyperparameters.{name}: unknown hyperparameter; the allowed workloads have "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        if name in values and (allowed := _allowed(values[name], bound)):
            yield f"policy.hyperparameters.{name}: {values[name]!r:.40} is not {allowed}"


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
