"""The silos' statistics: whether they can be true, and the first model that they make."""

from collections.abc import Iterable, Mapping

from fedsilo.errors import MailError, RunError
from fedsilo.training import sums
from fedsilo.training.aggregator import StreamingAggregator
from fedsilo.training.roster import Silo
from fedsilo.training.validation import check_parameters
from fedsilo.workload import modes
from fedsilo.workload.base import BAD_SUMS_ERRORS, Sums
from fedsilo.workload.disclosure import disclosed


def read_statistics(silos: Iterable[Silo], expected: sums.Expected) -> tuple[dict[str, Sums], dict[str, str]]:
    """Read the statistics of the silos that have joined.

    Args:
        silos: The silos; those without statistics have not joined.
        expected: What the statistics have to be.

    Returns:
        The statistics by the silos' names, and for each silo whose statistics can't be true, why.
    """
    statistics: dict[str, Sums] = {}
    reasons: dict[str, str] = {}
    for silo in silos:
        if silo.statistics is None:
            continue
        try:
            statistics[silo.name] = _read(silo, silo.statistics, expected)
        except MailError as error:
            reasons[silo.name] = f"its statistic {error}"
    return statistics, reasons


def _read(silo: Silo, sent: Sums, expected: sums.Expected) -> Sums:
    declaration = expected.declaration
    found = sums.read(sent, declaration.statistics, declaration)
    count = sums.samples(found, declaration.statistics)
    if declaration.statistics and count != silo.samples:
        raise MailError(f"is of {count} samples, and it declares {silo.samples}")
    if declaration.statistics and count < expected.least_samples:
        raise MailError(f"is of {count} samples; the aggregator's policy.min_samples is {expected.least_samples}")
    return found


def apply_statistics(statistics: Mapping[str, Sums], aggregator: StreamingAggregator) -> None:
    """Take the silos' statistics, added up, into the first model.

    Args:
        statistics: The sums by the names of the silos, of ``read_statistics``.
        aggregator: Holds the model and the workload.

    Raises:
        RunError: The workload can't use the values, or they make a model that is not finite.
    """
    totals = sums.total(statistics)
    try:
        if totals:
            with modes.unchanged(aggregator.aggregator.model):
                aggregator.aggregator.apply_statistics(totals)
    except BAD_SUMS_ERRORS as error:
        raise RunError(f"the workload can't use the sum of the silos' statistics: {disclosed(error)}") from error
    model = aggregator.get_global_model_params()
    try:
        check_parameters(model, model, "the first model")
    except MailError as error:
        raise RunError(f"the workload made no usable model of the silos' statistics: {error}") from error
