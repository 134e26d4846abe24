"""The silos' sums: whether they fit together, what they add up to, and the metrics that they give."""

from collections import Counter
from collections.abc import Mapping

import torch

from fedsilo.errors import MailError, RunError
from fedsilo.ledger.writer import Ledger
from fedsilo.states import Event
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.tracking import Tracker
from fedsilo.training.validation import check_bins, check_parameters, finite
from fedsilo.workload.base import BAD_SUMS_ERRORS, Estimate, Sums, metrics_of
from fedsilo.workload.disclosure import disclosed


class Evaluations:
    """Records how good each global model is, and chooses the bins in which the silos count their scores."""

    def __init__(self, aggregator: StreamingAggregator, ledger: Ledger, tracker: Tracker) -> None:
        self._aggregator, self._ledger, self._tracker = aggregator, ledger, tracker

    @property
    def bins(self) -> list[float] | None:
        """The bins of the open round's evaluation, which its broadcast hands out; None in the first round."""
        bins = self._aggregator.aggregator.bins
        return None if bins is None else bins.tolist()

    def resume(self, bins: object) -> None:
        """Take the bins that an earlier aggregator handed out. Raises ``MailError`` if they are none."""
        self._aggregator.aggregator.bins = check_bins(bins)

    def record(self, round_idx: int, evaluations: Mapping[str, Sums]) -> None:
        """Record the metrics of the model that opened a round: it is the result of that many rounds.

        With a hold-out set of the aggregator's own, the metrics of the global model are those on this set. Otherwise
        they come from the silos' sums, added up.

        Args:
            round_idx: The round, from 0. The first model has seen no training, so it has no metrics.
            evaluations: The sums by the names of the silos. A silo whose sums do not fit the others' is left out.
        """
        incompatible = find_incompatible(evaluations)
        for silo, reason in incompatible.items():
            self._ledger.event(Event.IGNORED, round_idx, f"{silo}: its evaluation is {reason}")
        accepted = {silo: sums for silo, sums in sorted(evaluations.items()) if silo not in incompatible}
        workload, streaming = self._aggregator.aggregator, self._aggregator
        if streaming.test_global is None:
            totals = total(accepted)
        else:
            totals = workload.test(streaming.test_global, streaming.device, streaming.args)
        if not totals:
            return
        if round_idx:
            self._record_metrics(round_idx, accepted, totals)
        workload.bins = workload.next_bins(totals)

    def _record_metrics(self, round_idx: int, accepted: Mapping[str, Sums], totals: Sums) -> None:
        for silo, sums in accepted.items():
            for name, found in self._known(round_idx, sums, silo).items():
                self._ledger.metric(name, found.value, round_idx, silo=silo, bound=found.bound)
        metrics = self._known(round_idx, totals, "all silos")
        for name, found in metrics.items():
            self._tracker.log_metric(name, found.value, round_idx, found.bound)
        self._ledger.status(
            metrics={name: found.value for name, found in metrics.items()},
            bounds={name: found.bound for name, found in metrics.items() if found.bound},
        )

    def _known(self, round_idx: int, sums: Sums, whose: str) -> dict[str, Estimate]:
        """The metrics of ``sums`` but for those whose bound is too large, which are named in an event."""
        metrics = metrics_of(self._aggregator.aggregator, sums)
        for name, found in metrics.items():
            if not found.known:
                self._ledger.event(Event.UNCERTAIN, round_idx, found.left_out(f"{name} of {whose}"))
        return {name: found for name, found in metrics.items() if found.known}


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
        raise RunError(f"the silos' statistics make no model ({disclosed(error)})") from error


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
