"""The silos' sums: whether they fit together, what they add up to, and the metrics that they give."""

from collections import Counter
from collections.abc import Mapping

import torch

from fedsilo.errors import MailError, RunError
from fedsilo.ledger.writer import Ledger
from fedsilo.states import Event
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.tracking import Tracker
from fedsilo.training.validation import check_parameters, finite
from fedsilo.workload.base import BAD_SUMS_ERRORS, Sums, metrics_of


def record_evaluation(
    round_idx: int,
    evaluations: Mapping[str, Sums],
    aggregator: StreamingAggregator,
    ledger: Ledger,
    tracker: Tracker,
) -> None:
    """Record the metrics of the model that opened a round: it is the result of that many rounds.

    With a hold-out set of the aggregator's own, the metrics of the global model are those on this set. Otherwise they
    come from the silos' sums, added up.

    Args:
        round_idx: The round, from 0. The first model has seen no training, so it has no metrics.
        evaluations: The sums by the names of the silos. A silo whose sums do not fit the others' is left out.
        aggregator: Holds the model, the workload and the hold-out set.
        ledger: Takes the metrics of each silo and of the global model.
        tracker: Takes the metrics of the global model.
    """
    incompatible = find_incompatible(evaluations)
    for silo, reason in incompatible.items():
        ledger.event(Event.IGNORED, round_idx, f"{silo}: its evaluation is {reason}")
    accepted = {silo: sums for silo, sums in sorted(evaluations.items()) if silo not in incompatible}
    workload = aggregator.aggregator
    if aggregator.test_global is None:
        totals = total(accepted)
    else:
        totals = workload.test(aggregator.test_global, aggregator.device, aggregator.args)
    if not totals or not round_idx:
        return
    for silo, sums in accepted.items():
        for name, value in metrics_of(workload, sums).items():
            ledger.metric(name, value, round_idx, silo=silo)
    metrics = metrics_of(workload, totals)
    for name, value in metrics.items():
        tracker.log_metric(name, value, round_idx)
    ledger.status(metrics=metrics)


def apply_statistics(statistics: Mapping[str, Sums], aggregator: StreamingAggregator) -> None:
    """Take the silos' statistics, added up, into the first model.

    Args:
        statistics: The sums by the names of the silos, all of one form (``find_incompatible``).
        aggregator: Holds the model and the workload.

    Raises:
        RunError: The workload can't use the values, or they make a model that is not finite.
    """
    totals = total(statistics)
    try:
        if totals:
            aggregator.aggregator.apply_statistics(totals)
        model = aggregator.get_global_model_params()
        check_parameters(model, model, "the model")
    except (*BAD_SUMS_ERRORS, MailError) as error:
        raise RunError(f"the silos' statistics make no model ({type(error).__name__}: {error})") from error


def find_incompatible(sums: Mapping[str, Sums]) -> dict[str, str]:
    """Find the silos whose sums can't be added to those of most others.

    Args:
        sums: The sums by the names of the silos.

    Returns:
        The silos that were found, each with the reason.
    """
    forms = {silo: _form(tensors) for silo, tensors in sums.items()}
    usual = Counter(forms.values()).most_common(1)
    reasons = {silo: "not like that of the others" for silo, form in forms.items() if form != usual[0][0]}
    for silo in sums.keys() - reasons.keys():
        tensors = sums[silo].values()
        if any(tensor.dtype not in (torch.float64, torch.int64) for tensor in tensors):
            reasons[silo] = "neither float64 nor int64"  # of some dtypes, torch can't say whether they are finite
        elif not all(map(finite, tensors)):
            reasons[silo] = "not finite"
    return reasons


def total(sums: Mapping[str, Sums]) -> Sums:
    """Add the sums up over the silos, in the order of their names; empty without silos.

    Args:
        sums: The sums by the names of the silos, all of one form (``find_incompatible``).
    """
    if not sums:
        return {}
    added = [sums[silo] for silo in sorted(sums)]
    return {name: torch.stack([each[name] for each in added]).sum(0) for name in added[0]}


def _form(sums: Sums) -> tuple[tuple[str, torch.dtype, torch.Size], ...]:
    return tuple((name, tensor.dtype, tensor.shape) for name, tensor in sorted(sums.items()))
