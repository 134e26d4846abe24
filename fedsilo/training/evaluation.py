"""The silos' evaluations of the global models: whether they can be true, and the metrics that they give."""

from collections.abc import Iterable

from fedsilo.errors import MailError
from fedsilo.ledger.writer import Ledger
from fedsilo.states import Event
from fedsilo.training import sums
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.disclosure import Disclosure
from fedsilo.training.roster import Silo
from fedsilo.training.tracking import Tracker
from fedsilo.training.validation import check_bins
from fedsilo.workload import modes
from fedsilo.workload.base import Estimate, Sums, metrics_of

MOST_TESTS = 10
"""Test samples that a silo may have for each training sample. With more, it would be the result of all silos."""


class Evaluations:
    """Records how good each global model is, and chooses the bins in which the silos count their scores."""

    def __init__(
        self, aggregator: StreamingAggregator, expected: sums.Expected, ledger: Ledger, tracker: Tracker
    ) -> None:
        self.expected = expected
        """What the silos' sums have to be."""
        self._aggregator = aggregator
        self._ledger, self._tracker = ledger, tracker
        self._disclosure = Disclosure(expected.declaration.metrics, None)

    @property
    def bins(self) -> list[float] | None:
        """The bins of the open round's evaluation, which its broadcast hands out; None in the first round."""
        bins = self._aggregator.aggregator.bins
        return None if bins is None else bins.tolist()

    def resume(self, bins: object) -> None:
        """Take the bins that an earlier aggregator handed out. Raises ``MailError`` if they are none."""
        self._aggregator.aggregator.bins = check_bins(bins)

    def record(self, round_idx: int, silos: Iterable[Silo]) -> None:
        """Record the metrics of the model that opened a round: it is the result of that many rounds.

        With a hold-out set of the aggregator's own, the metrics of the global model are those on this set. Otherwise
        they come from the silos' sums, added up. A silo whose sums can't be true is named and left out.

        Args:
            round_idx: The round, from 0. The first model has seen no training, so it has no metrics.
            silos: The silos with the evaluations that they sent.
        """
        accepted = self._accepted(round_idx, silos)
        workload, streaming = self._aggregator.aggregator, self._aggregator
        if streaming.test_global is None:
            totals = sums.total(accepted)
        else:
            with modes.evaluating(workload.model):
                totals = workload.test(streaming.test_global, streaming.device, streaming.args)
        if round_idx:
            self._record_metrics(round_idx, accepted, totals)
        if totals:
            workload.bins = workload.next_bins(totals)

    def _accepted(self, round_idx: int, silos: Iterable[Silo]) -> dict[str, Sums]:
        """The sums that can be true, by the silos' names, sorted."""
        accepted = {}
        for silo in sorted(silos, key=lambda silo: silo.name):
            if silo.evaluation is None:
                continue
            try:
                accepted[silo.name] = self._read(silo, silo.evaluation)
            except MailError as error:
                self._ledger.event(Event.IGNORED, round_idx, f"{silo.name}: its evaluation {error}")
        return accepted

    def _read(self, silo: Silo, sent: Sums) -> Sums:
        declaration = self.expected.declaration
        section = declaration.evaluation
        found = sums.read(sent, section, declaration)
        count = sums.samples(found, section)
        if silo.samples is not None and count > MOST_TESTS * silo.samples:
            raise MailError(f"is of {count} samples, more than {MOST_TESTS} times those that it trains on")
        if silo.tested not in (None, count):
            raise MailError(f"is of {count} samples, and its first one was of {silo.tested}")
        reason = self._aggregator.aggregator.contradiction(found)
        if reason is not None:
            raise MailError(reason)
        silo.tested = count
        return found

    def _record_metrics(self, round_idx: int, accepted: dict[str, Sums], totals: Sums) -> None:
        for silo, found in accepted.items():
            if sums.samples(found, self.expected.declaration.evaluation) < self.expected.least_samples:
                continue  # they would tell of single samples
            for name, metric in self._known(round_idx, found, silo).items():
                self._ledger.metric(name, metric.value, round_idx, silo=silo, bound=metric.bound)
        metrics = self._known(round_idx, totals, "all silos") if totals else {}
        for name, metric in metrics.items():
            self._tracker.log_metric(name, metric.value, round_idx, metric.bound)
        self._ledger.status(
            metrics={name: metric.value for name, metric in metrics.items()},
            bounds={name: metric.bound for name, metric in metrics.items() if metric.bound},
        )

    def _known(self, round_idx: int, added: Sums, whose: str) -> dict[str, Estimate]:
        """The metrics of sums but for those whose bound is too large, which are named in an event."""
        computed = metrics_of(self._aggregator.aggregator, added)
        metrics = {name: metric for name, metric in computed.items() if self._disclosure.allows(name, metric.value)}
        for name, metric in metrics.items():
            if not metric.known:
                self._ledger.event(Event.UNCERTAIN, round_idx, metric.left_out(f"{name} of {whose}"))
        return {name: metric for name, metric in metrics.items() if metric.known}
