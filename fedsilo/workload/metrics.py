"""ROC AUC, exact over samples and from histograms, and the evaluation of a binary classifier by sums.

A silo may not send its patients' scores, so it sends sums over them; AUC then comes from one histogram of the scores
per class. The bins are fixed by the model alone, so the histograms of all silos add up.
"""

import math

import torch
from torch.nn import functional

from fedsilo.workload.base import Sums

BINS_PER_OCTAVE = 128
"""Bins between a distance from the reference score and twice that distance, so a bin is 0.5 % of its distance wide.
Where scores spread smoothly the AUC is then exact to 0.0003; where they fall into two groups a hundred times narrower
than the gap between them, to 0.003."""

SMALLEST, LARGEST = -20, 8
"""Distances from 2**SMALLEST to 2**LARGEST are told apart, on each side of the reference; what lies nearer or farther
is counted in the first or last bin. A logit of 2**8 is certainty."""

BINS = 2 * (LARGEST - SMALLEST) * BINS_PER_OCTAVE


def roc_auc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The exact ROC AUC: how likely a positive sample scores above a negative one, a tie counting half.

    ``scores``: floating point [n]; ``labels``: [n], positive where above 0. NaN where a class is missing or a score
    is NaN. Mann and Whitney (1947), by mid-ranks.
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
    """How many negative (row 0) and positive (row 1) samples score in each of ``BINS`` bins: int64 [2, BINS].

    ``scores``: floating point [n]; ``labels``: [n], positive where above 0. The bins are the finer the closer they
    are to ``reference``, a score in the middle of the others that every silo computes from the model alone; so scores
    that lie close together are told apart wherever they lie. Samples whose score is NaN are in no bin.
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
    """The ROC AUC of ``score_histogram``'s [2, BINS], and how far the exact one may lie from it at most.

    Samples of one bin count as ties, so the error is at most half of the pairs that share a bin. NaN twice where a
    class is missing.
    """
    negative, positive = histogram.double()
    pairs = float(negative.sum() * positive.sum())
    if pairs == 0:
        return math.nan, math.nan
    tied = float(negative @ positive)
    below = negative.cumsum(0) - negative
    return (float(below @ positive) + tied / 2) / pairs, tied / 2 / pairs


def binary_sums(logits: torch.Tensor, labels: torch.Tensor, reference: float) -> Sums:
    """What a silo sends of its test set: ``loss_sum`` float64 [], ``count`` and ``correct`` int64 [], ``histogram``.

    ``logits``: floating point [n]; ``labels``: 0 or 1, [n]; n may be 0. ``reference``: as in ``score_histogram``,
    which makes ``histogram`` of the logits. The loss is the binary cross-entropy.
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
    """``Test:AUC``, ``Test:Loss`` and ``Test:Accuracy`` of ``binary_sums``, of one silo or added up.

    All are NaN for an empty test set; AUC is too where a class is missing or a logit was NaN.
    """
    count = int(totals["count"])
    auc, _ = histogram_auc(totals["histogram"])
    complete = int(totals["histogram"].sum()) == count
    return {
        "Test:AUC": auc if complete else math.nan,
        "Test:Loss": float(totals["loss_sum"]) / count if count else math.nan,
        "Test:Accuracy": int(totals["correct"]) / count if count else math.nan,
    }
