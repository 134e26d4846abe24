"""A party's policy applied to a run: the list of what the run asks for and the party's owner does not allow.

The policy comes from a file that the party's owner deploys (``Policy``). Nothing of a run or a request widens it.
"""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from fedsilo.config.federation import Bound, Hours, Policy
from fedsilo.config.run import Run
from fedsilo.errors import SpecError
from fedsilo.workload import registry


def load(path: Path) -> Policy:
    """The policy in a file of JSON or YAML. Raises ``SpecError`` with every problem of the file, one a line."""
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
    """Why the run may not start at ``at``: each line names the rule, the run's value and the bound. Empty: it may.

    A hyperparameter that the run leaves out counts with the workload's default. How long the run takes is not known
    before; ``max_hours`` is the deadline of its job.
    """
    refusals = []
    if policy.workloads is not None and run.workload not in policy.workloads:
        refusals.append(f"policy.workloads: {run.workload} is not one of {', '.join(policy.workloads) or 'none'}")
    if run.rounds > policy.max_rounds:
        refusals.append(f"policy.max_rounds: {run.rounds} rounds are more than {policy.max_rounds}")
    if len(run.silos) < policy.min_silos:
        refusals.append(f"policy.min_silos: {len(run.silos)} silos are fewer than {policy.min_silos}")
    if run.quorum < policy.min_silos <= len(run.silos):
        refusals.append(f"policy.min_silos: a quorum of {run.quorum} silos is less than {policy.min_silos}")
    if policy.hours and not _within(policy.hours, at):
        now = f"{at.astimezone(UTC):%H:%M}"
        refusals.append(f"policy.hours: {now} UTC is not from {policy.hours.start}:00 to {policy.hours.end}:00 UTC")
    if policy.require_privacy:
        refusals.append(
            "policy.require_privacy: this version of fedsilo offers no privacy mechanism, neither differential privacy "
            "nor secure aggregation, so the party takes part in no run; its owner may set it to false"
        )
    values = registry.hyperparameters(run.workload, run.hyperparameters)
    known = registry.all_hyperparameters(policy.workloads)
    for name, bound in policy.hyperparameters.items():
        if name not in known:
            refusals.append(
                f"policy.hyperparameters.{name}: no workload that the policy allows has such one, so the bound would "
                f"bind nothing; they have {', '.join(sorted(known)) or 'none'}"
            )
        if name in values and (allowed := _outside(values[name], bound)):
            refusals.append(f"policy.hyperparameters.{name}: {values[name]!r:.40} is not {allowed}")
    return refusals


def _within(hours: Hours, at: datetime) -> bool:
    hour = at.astimezone(UTC).hour
    if hours.start < hours.end:
        return hours.start <= hour < hours.end
    return hour >= hours.start or hour < hours.end


def _outside(value: registry.Hyperparameter, bound: Bound) -> str:
    """What the value should be; empty where it is. Neither NaN nor text is inside of bounds, and True is not 1."""
    if bound.any_of is not None and not any(_kind(value) is _kind(each) and value == each for each in bound.any_of):
        return f"one of {', '.join(map(str, bound.any_of))}"
    if bound.min is None and bound.max is None:
        return ""
    low = float("-inf") if bound.min is None else bound.min
    high = float("inf") if bound.max is None else bound.max
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return ""
    return f"between {low:g} and {high:g}"


def _kind(value: registry.Hyperparameter) -> type:
    return float if type(value) is int else type(value)
