"""ROC AUC from samples and from histograms, and the evaluation of a binary classifier by sums.

A silo may not send its patients' scores, so it sends a histogram of the scores of each class. All silos count in the
same bins, so that the histograms can be added up. The AUC of a histogram is known up to the pairs that share a bin,
and it is given with that bound.

The bins follow the scores. A run begins with ``FIRST_QUANTILES``. After each evaluation the aggregator takes a few
quantiles of all silos' scores from the histogram, and hands them out with the next model. Half of the bins are of
equal content by these quantiles; the others grow with the distance from the median, for a model that has changed much.
"""

import math

import torch
from torch.nn import functional

from fedsilo.workload.base import Estimate, Sums

BINS = 2048
"""Bins of a histogram. On the example, the AUC is then known to 0.0013 or better after every round."""

MOST_QUANTILES = 33
"""The most quantiles that the aggregator hands out."""

SAMPLES_PER_QUANTILE = 10
"""The fewest samples between two quantiles that are handed out, so that none of them is a single patient's score."""

FIRST_QUANTILES = torch.linspace(-8, 8, MOST_QUANTILES, dtype=torch.float64)
"""The quantiles that stand for the scores before any are known. A logit of 8 is near certainty."""

MOST_LOGIT = 100.0
"""The loss counts logits that are farther from 0 as this one, so that it is at most 100 for a sample, as in PyTorch's
``BCELoss``, and finite for a model that has diverged."""

ROUNDING = 1e-6
"""The fraction of a loss by which it may differ for its rounding."""

_POWERS = 2.0 ** torch.arange(-30, 128, dtype=torch.float64)

_OCTAVES = torch.cat([-_POWERS.flip(0), torch.zeros(1, dtype=torch.float64), _POWERS])
"""Edges that are in all bins: 0, which parts the predictions, and one for each octave of float32, so that scores are
told apart to a factor of 2 wherever they are."""


def roc_auc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The exact ROC AUC: how likely a positive sample scores above a negative one, with a tie counting half.

    Computed by mid-ranks (Mann and Whitney, 1947).

    Args:
        scores: Floating point [n].
        labels: [n], positive if above 0.

    Returns:
        The AUC; NaN if a class is missing or a score is NaN.
    """
    positive = labels > 0
    positives = int(positive.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0 or bool(scores.isnan().any()):
        return math.nan
    _, place, count = torch.unique(scores, return_inverse=True, return_counts=True)
    mid_rank = count.cumsum(0).double() - (count - 1).double() / 2
    rank_sum = float(mid_rank[place[positive]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def bin_edges(quantiles: torch.Tensor | None) -> torch.Tensor:
    """The edges between the bins of a histogram, float64 [BINS - 1], ascending.

    Bin i holds the scores above edge i - 1, up to and including edge i.

    Args:
        quantiles: What ``score_quantiles`` gave after the evaluation before; None in the first one.
    """
    quantiles = FIRST_QUANTILES if quantiles is None else quantiles
    free = BINS - 1 - len(_OCTAVES)
    places = torch.linspace(0, 1, free // 2, dtype=torch.float64)
    by_rank = torch.quantile(quantiles, places)
    low, median, high = torch.quantile(quantiles, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    spread = (high - low).clamp_min(torch.finfo(torch.float32).tiny)
    distances = spread * torch.logspace(-8, 5, (free - free // 2) // 2, base=2.0, dtype=torch.float64)
    edges = torch.cat([_OCTAVES, by_rank, median - distances, median + distances])
    return functional.pad(edges.sort().values, (0, BINS - 1 - len(edges)), value=math.inf)


def score_histogram(scores: torch.Tensor, labels: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Count the samples of each class by their score.

    Args:
        scores: Floating point [n]. Samples whose score is NaN are in no bin.
        labels: [n], positive if above 0.
        edges: Those of ``bin_edges``.

    Returns:
        int64 [2, BINS]: how many negative (row 0) and positive (row 1) samples are in each bin.
    """
    known = ~scores.isnan()
    bins = torch.bucketize(scores[known].double(), edges)
    rows = (labels[known] > 0).long()
    return torch.bincount(rows * BINS + bins, minlength=2 * BINS).view(2, BINS)


def score_quantiles(histogram: torch.Tensor, edges: torch.Tensor) -> torch.Tensor | None:
    """Quantiles of the scores in a histogram, by linear interpolation in its bins.

    Args:
        histogram: int64 [2, BINS], of ``score_histogram``.
        edges: The edges of its bins.

    Returns:
        float64 [n] with n at most ``MOST_QUANTILES``, ascending; None if there are too few samples for three
        quantiles.
    """
    content = histogram.sum(0).double()
    count = min(MOST_QUANTILES, int(content.sum()) // SAMPLES_PER_QUANTILE)
    if count < 3:
        return None
    finite = edges[edges.isfinite()]
    below = content.cumsum(0)[: len(finite)] / content.sum()
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    upper = torch.searchsorted(below, levels).clamp(1, len(finite) - 1)
    inside = (levels - below[upper - 1]) / (below[upper] - below[upper - 1])
    return torch.lerp(finite[upper - 1], finite[upper], inside.nan_to_num(0.5).clamp(0, 1))


def histogram_auc(histogram: torch.Tensor) -> Estimate:
    """The ROC AUC of a histogram of ``score_histogram``, int64 [2, BINS], with the bound of its error.

    Samples of one bin count as ties, so the error is at most half of the pairs that share a bin.

    Returns:
        The AUC; NaN with a bound of 0 if a class is missing.
    """
    negative, positive = histogram.double()
    pairs = float(negative.sum() * positive.sum())
    if pairs == 0:
        return Estimate(math.nan)
    tied = float(negative @ positive)
    below = negative.cumsum(0) - negative
    return Estimate((float(below @ positive) + tied / 2) / pairs, tied / 2 / pairs)


def binary_sums(logits: torch.Tensor, labels: torch.Tensor, quantiles: torch.Tensor | None) -> Sums:
    """What a silo sends about its test set.

    Args:
        logits: Floating point [n]; n may be 0.
        labels: 0 or 1, [n].
        quantiles: The trainer's ``bins``.

    Returns:
        ``count`` int64 []; ``loss_sum`` float64 [], the binary cross-entropy, at most ``MOST_LOGIT`` for a
        sample; ``histogram`` int64 [2, BINS] of the logits.
    """
    logits, labels = logits.cpu(), labels.cpu()
    bounded = logits.double().clamp(-MOST_LOGIT, MOST_LOGIT)
    return {
        "count": torch.tensor(len(labels)),
        "loss_sum": functional.binary_cross_entropy_with_logits(bounded, labels.double(), reduction="sum"),
        "histogram": score_histogram(logits, labels, bin_edges(quantiles)),
    }


def binary_metrics(totals: Sums, quantiles: torch.Tensor | None) -> dict[str, float | Estimate]:
    """Compute the metrics of a binary classifier.

    Args:
        totals: The ``binary_sums`` of one silo, or those of several added up.
        quantiles: The aggregator's ``bins``, with which the silos counted.

    Returns:
        ``Test:AUC`` with its bound, ``Test:Loss`` and ``Test:Accuracy``. All are NaN for an empty test set, and AUC
        and accuracy if a logit was NaN. The AUC is also NaN if a class is missing.
    """
    count, histogram = int(totals["count"]), totals["histogram"]
    loss = float(totals["loss_sum"]) / count if count else math.nan
    if not count or int(histogram.sum()) != count:
        return {"Test:AUC": math.nan, "Test:Loss": loss, "Test:Accuracy": math.nan}
    zero = int(torch.searchsorted(bin_edges(quantiles), 0.0))
    correct = int(histogram[0, : zero + 1].sum() + histogram[1, zero + 1 :].sum())
    return {"Test:AUC": histogram_auc(histogram), "Test:Loss": loss, "Test:Accuracy": correct / count}


def binary_contradiction(sums: Sums, quantiles: torch.Tensor | None) -> str | None:
    """Find out whether the loss of a silo's ``binary_sums`` can't be that of its histogram.

    The loss of each sample is between those at the edges of its bin.

    Args:
        sums: The sums of one silo.
        quantiles: The aggregator's ``bins``, with which the silo counted.
    """
    edges = bin_edges(quantiles).clamp(-MOST_LOGIT, MOST_LOGIT)
    lower = functional.pad(edges, (1, 0), value=-MOST_LOGIT)
    upper = functional.pad(edges, (0, 1), value=MOST_LOGIT)
    negative, positive = sums["histogram"].double()
    least = negative @ functional.softplus(lower) + positive @ functional.softplus(-upper)
    most = negative @ functional.softplus(upper) + positive @ functional.softplus(-lower)
    slack = ROUNDING * (1 + most)
    if least - slack <= sums["loss_sum"] <= most + slack:
        return None
    return "has a loss that its histogram can't have"


def binary_bins(totals: Sums, quantiles: torch.Tensor | None) -> torch.Tensor | None:
    """The bins of the next evaluation: the quantiles of the scores in the last one, or the same bins again.

    Args:
        totals: The ``binary_sums`` of all silos, added up.
        quantiles: The aggregator's ``bins``, with which the silos counted.
    """
    found = score_quantiles(totals["histogram"], bin_edges(quantiles))
    return quantiles if found is None else found
