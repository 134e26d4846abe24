"""The AUC equals its definition, pair by pair, and that of histograms is close to the exact one."""

import math
from collections.abc import Callable

import pytest
import torch

from fedsilo.workload.metrics import BINS, binary_metrics, binary_sums, histogram_auc, roc_auc, score_histogram

NAN = math.nan


def auc_by_pairs(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The definition: the mean over all pairs of 1 if the positive scores above the negative, and 1/2 if equal."""
    difference = scores[labels > 0][:, None] - scores[labels == 0][None, :]
    return float(((difference > 0).double() + (difference == 0).double() / 2).mean())


def samples(draw: Callable[..., torch.Tensor], size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = draw(size, generator=generator)
    order = scores.argsort().argsort() / size
    labels = (torch.rand(size, generator=generator) < order).float()
    return scores, labels


SPREADS: dict[str, Callable[..., torch.Tensor]] = {
    "normal": torch.randn,
    "uniform": torch.rand,
    "untrained": lambda n, generator: torch.randn(n, generator=generator) * 1e-4,
    "concentrated away from zero": lambda n, generator: 3 + torch.randn(n, generator=generator) * 1e-3,
    "saturated": lambda n, generator: torch.randn(n, generator=generator) * 60,
    "heavy-tailed": lambda n, generator: torch.randn(n, generator=generator).exp() ** 3,
    "two groups": lambda n, generator: torch.randn(n, generator=generator) * 0.01 + torch.arange(n) % 2,
    "few values": lambda n, generator: torch.randint(5, (n,), generator=generator) / 7,
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [12, 254, 2000])
def test_the_auc_is_the_share_of_pairs_in_the_right_order(spread: str, size: int) -> None:
    scores, labels = samples(SPREADS[spread], size, seed=size)
    assert roc_auc(scores, labels) == pytest.approx(auc_by_pairs(scores, labels), abs=1e-12)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [254, 20_000])
@pytest.mark.parametrize("seed", range(5))
def test_auc_from_histograms_is_within_its_bound_and_within_0_005(spread: str, size: int, seed: int) -> None:
    scores, labels = samples(SPREADS[spread], size, seed)
    # As in a model, the reference is somewhere in the middle of the scores, not the middle of just these samples.
    quartiles = scores.quantile(torch.tensor([0.25, 0.5, 0.75]))
    reference = float(quartiles[1] + 0.3 * (quartiles[2] - quartiles[0]))
    halves = [score_histogram(scores[part], labels[part], reference) for part in (slice(99), slice(99, None))]
    auc, bound = histogram_auc(halves[0] + halves[1])
    exact = roc_auc(scores, labels)
    assert abs(auc - exact) <= bound + 1e-12
    assert abs(auc - exact) < 0.005


def test_the_bound_is_reached_when_all_scores_share_a_bin() -> None:
    scores, labels = torch.tensor([1.0, 1.0001]), torch.tensor([0.0, 1.0])
    assert histogram_auc(score_histogram(scores, labels, reference=-5.0)) == (0.5, 0.5)
    assert histogram_auc(score_histogram(scores, labels, reference=1.0)) == (1.0, 0.0)


def test_bins_follow_the_scores_order_from_end_to_end() -> None:
    side = torch.logspace(-30, 38, 300, base=2.0)
    scores = torch.cat([torch.tensor([-math.inf]), -side.flip(0), torch.zeros(1), side, torch.tensor([math.inf])])
    histogram = score_histogram(scores, torch.zeros(len(scores)), reference=0.0)
    bins = [int(score_histogram(score[None], torch.zeros(1), 0.0)[0].argmax()) for score in scores]
    assert bins == sorted(bins)
    assert (bins[0], bins[-1]) == (0, BINS - 1)
    assert histogram.shape == (2, BINS)
    assert histogram.dtype == torch.int64
    assert histogram.sum(1).tolist() == [len(scores), 0]


def test_metrics_from_sums_equal_metrics_from_samples() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(300, generator=generator)
    labels = (torch.rand(300, generator=generator) < 0.3).float()
    parts = [binary_sums(logits[part], labels[part], reference=0.1) for part in (slice(0, 17), slice(17, 300))]
    totals = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    assert {name: tensor.dtype for name, tensor in totals.items()} == {
        "loss_sum": torch.float64,
        "count": torch.int64,
        "correct": torch.int64,
        "histogram": torch.int64,
    }
    probability = logits.double().sigmoid()
    loss = -torch.where(labels > 0, probability, 1 - probability).log().mean()
    metrics = binary_metrics(totals)
    assert metrics["Test:Loss"] == pytest.approx(float(loss))
    assert metrics["Test:Accuracy"] == pytest.approx(float(((logits > 0) == (labels > 0)).double().mean()))
    assert metrics["Test:AUC"] == pytest.approx(auc_by_pairs(logits, labels), abs=0.005)


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([], [], {"Test:AUC": NAN, "Test:Loss": NAN, "Test:Accuracy": NAN}),
        ([0.0, 1.0], [1, 1], {"Test:AUC": NAN, "Test:Accuracy": 0.5}),
        ([-1.0, 1.0], [0, 0], {"Test:AUC": NAN, "Test:Accuracy": 0.5}),
        ([NAN, 1.0, -1.0], [0, 1, 0], {"Test:AUC": NAN, "Test:Loss": NAN}),
        ([math.inf, 1.0, -math.inf], [1, 1, 0], {"Test:AUC": 1.0, "Test:Accuracy": 1.0}),
    ],
)
def test_an_undefined_metric_is_nan(logits: list[float], labels: list[int], expected: dict[str, float]) -> None:
    scores = torch.tensor(logits, dtype=torch.float32)
    metrics = binary_metrics(binary_sums(scores, torch.tensor(labels, dtype=torch.float32), reference=0.0))
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    if math.isnan(expected["Test:AUC"]):
        assert math.isnan(roc_auc(scores, torch.tensor(labels)))
