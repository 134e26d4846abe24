"""ROC AUC from samples and from histograms, and the evaluation of a binary classifier by sums.

A silo may not send its patients' scores, so it sends sums over them. The AUC then comes from one histogram of the
scores per class. The model alone decides the bins, so the histograms of all silos can be added up.
"""

import math

import torch
from torch.nn import functional

from fedsilo.workload.base import Sums

BINS_PER_OCTAVE = 128
"""Bins between a distance from the reference score and twice that distance, so a bin is 0.5 % of its distance wide.
The AUC is then exact to 0.0003 if scores spread smoothly, and to 0.003 if they fall into two groups a hundred times
narrower than the gap between them."""

SMALLEST, LARGEST = -20, 8
"""Distances from 2**SMALLEST to 2**LARGEST are told apart on each side of the reference. Scores that are nearer or
farther are counted in the first or the last bin. A logit of 2**8 is certainty."""

BINS = 2 * (LARGEST - SMALLEST) * BINS_PER_OCTAVE


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


def score_histogram(scores: torch.Tensor, labels: torch.Tensor, reference: float) -> torch.Tensor:
    """Count the samples of each class by their score.

    The closer bins are to ``reference``, the finer they are. So scores that are close together are told apart,
    wherever they are.

    Args:
        scores: Floating point [n]. Samples whose score is NaN are in no bin.
        labels: [n], positive if above 0.
        reference: A score in the middle of the others, which every silo computes from the model alone.

    Returns:
        int64 [2, BINS]: how many negative (row 0) and positive (row 1) samples are in each bin.
    """
    distance = scores.double() - reference
    known = ~distance.isnan()
    distance = distance[known]
    steps = (distance.abs().log2() - SMALLEST) * BINS_PER_OCTAVE
    steps = steps.clamp(0, BINS // 2 - 1).long()
    bins = torch.where(distance < 0, BINS // 2 - 1 - steps, BINS // 2 + steps)
    rows = (labels[known] > 0).long()
    return torch.bincount(rows * BINS + bins, minlength=2 * BINS).view(2, BINS)


def histogram_auc(histogram: torch.Tensor) -> tuple[float, float]:
    """The ROC AUC of a histogram of ``score_histogram``, int64 [2, BINS], and a bound of its error.

    Samples of one bin count as ties, so the error is at most half of the pairs that share a bin.

    Returns:
        The AUC, and how far the exact AUC can be from it; both NaN if a class is missing.
    """
    negative, positive = histogram.double()
    pairs = float(negative.sum() * positive.sum())
    if pairs == 0:
        return math.nan, math.nan
    tied = float(negative @ positive)
    below = negative.cumsum(0) - negative
    return (float(below @ positive) + tied / 2) / pairs, tied / 2 / pairs


def binary_sums(logits: torch.Tensor, labels: torch.Tensor, reference: float) -> Sums:
    """What a silo sends about its test set.

    Args:
        logits: Floating point [n]; n may be 0.
        labels: 0 or 1, [n].
        reference: The logit that ``score_histogram`` takes as its reference.

    Returns:
        ``loss_sum`` float64 [], the binary cross-entropy; ``count`` and ``correct`` int64 []; ``histogram`` int64
        [2, BINS] of the logits.
    """
    logits, labels = logits.cpu(), labels.cpu()
    loss = functional.binary_cross_entropy_with_logits(logits.double(), labels.double(), reduction="sum")
    return {
        "loss_sum": loss,
        "count": torch.tensor(len(labels)),
        "correct": ((logits > 0) == (labels > 0)).sum(),
        "histogram": score_histogram(logits, labels, reference),
    }


def binary_metrics(totals: Sums) -> dict[str, float]:
    """Compute the metrics of a binary classifier.

    Args:
        totals: The ``binary_sums`` of one silo, or those of several added up.

    Returns:
        ``Test:AUC``, ``Test:Loss`` and ``Test:Accuracy``. All are NaN for an empty test set. The AUC is also NaN if
        a class is missing or a logit was NaN.
    """
    count = int(totals["count"])
    auc, _ = histogram_auc(totals["histogram"])
    complete = int(totals["histogram"].sum()) == count
    return {
        "Test:AUC": auc if complete else math.nan,
        "Test:Loss": float(totals["loss_sum"]) / count if count else math.nan,
        "Test:Accuracy": int(totals["correct"]) / count if count else math.nan,
    }
