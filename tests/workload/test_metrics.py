"""The AUC equals its definition, pair by pair, and that of histograms is close to the exact one."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch

from fedsilo.workload.base import Estimate
from fedsilo.workload.metrics import (
    BINS,
    bin_edges,
    binary_bins,
    binary_contradiction,
    binary_metrics,
    binary_sums,
    roc_auc,
    score_histogram,
)

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
    "two tight groups": lambda n, generator: torch.randn(n, generator=generator) * 1e-5 + torch.arange(n) % 2,
    "huge": lambda n, generator: 1e20 + torch.randn(n, generator=generator) * 1e16,
    "few values": lambda n, generator: torch.randint(5, (n,), generator=generator) / 7,
    "within a millionth": lambda n, generator: 3 + torch.randn(n, generator=generator) * 1e-6,
}
USUAL = ("normal", "saturated", "heavy-tailed")
"""Spreads that the first bins tell apart."""

TIED = ("few values", "within a millionth")
"""Spreads in which many scores are equal as float32. A histogram can't say that they are."""


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [12, 254, 2000])
def test_the_auc_is_the_share_of_pairs_in_the_right_order(spread: str, size: int) -> None:
    scores, labels = samples(SPREADS[spread], size, seed=size)
    assert roc_auc(scores, labels) == pytest.approx(auc_by_pairs(scores, labels), abs=1e-12)


def estimates(rounds: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[tuple[Estimate, float]]:
    """The AUC of each round as two silos' sums give it, and the exact one. The bins follow the scores."""
    found = []
    bins: torch.Tensor | None = None
    for scores, labels in rounds:
        halves = [binary_sums(scores[part], labels[part], bins) for part in (slice(99), slice(99, None))]
        totals = {name: halves[0][name] + halves[1][name] for name in halves[0]}
        auc = binary_metrics(totals, bins)["Test:AUC"]
        assert isinstance(auc, Estimate)
        found.append((auc, roc_auc(scores, labels)))
        bins = binary_bins(totals, bins)
    return found


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [254, 2000])
def test_the_auc_of_histograms_is_within_its_bound_and_the_bound_becomes_small(spread: str, size: int) -> None:
    found = estimates(samples(SPREADS[spread], size, seed) for seed in range(5))
    for auc, exact in found:
        assert abs(auc.value - exact) <= auc.bound + 1e-12
    if spread in TIED:
        assert not any(auc.known for auc, _ in found)
    else:
        assert all(auc.known for auc, _ in found[3:])
        assert spread not in USUAL or all(auc.bound < 0.005 for auc, _ in found)


def test_scores_that_change_from_round_to_round_are_told_apart() -> None:
    grown = [(scores * 4.0**k, labels) for k in range(8) for scores, labels in [samples(torch.randn, 254, k)]]
    moved = [(scores + k, labels) for k in range(8) for scores, labels in [samples(torch.randn, 254, k)]]
    for rounds in (grown, moved):
        assert all(auc.bound < 0.005 for auc, _ in estimates(rounds))


def test_scores_in_two_tight_groups_have_no_value_until_they_are_told_apart() -> None:
    """The first histogram can't tell the scores of a group apart: its AUC is far from the exact one, and left out."""
    labels = (torch.arange(254) % 8 > 0).float()
    group = 3.3 + torch.arange(254) // 127
    noise = torch.randn(5, 254, generator=torch.Generator().manual_seed(1))
    found = estimates((group + labels * 1e-4 + each * 1e-5, labels) for each in noise)
    (first, exact), (last, newest) = found[0], found[-1]
    assert abs(first.value - exact) > 0.1
    assert not first.known
    assert first.left_out("Test:AUC") == "Test:AUC is left out: it is known to ± 0.25 only; ± 0.01 is the most"
    assert last.known
    assert last.value == pytest.approx(newest, abs=0.005)


def test_quantiles_that_are_handed_out_have_ten_samples_between_them() -> None:
    scores, labels = samples(torch.randn, 100, 0)
    quantiles = binary_bins(binary_sums(scores, labels, None), None)
    assert quantiles is not None
    assert len(quantiles) == 10
    assert torch.bucketize(scores.double(), quantiles).bincount()[1:-1].min() >= 9
    exact = scores.double().quantile((torch.arange(10).double() + 0.5) / 10)
    torch.testing.assert_close(quantiles, exact, atol=0.1, rtol=0)
    few = binary_sums(scores[:29], labels[:29], quantiles)
    assert torch.equal(binary_bins(few, quantiles), quantiles), "too few samples to say where they are"  # type: ignore[arg-type]
    assert binary_bins(few, None) is None


@pytest.mark.parametrize("quantiles", [None, torch.zeros(1).double(), torch.linspace(0, 1e-9, 5).double()])
def test_bins_follow_the_scores_order_from_end_to_end(quantiles: torch.Tensor | None) -> None:
    edges = bin_edges(quantiles)
    assert edges.shape == (BINS - 1,)
    assert edges.diff().nan_to_num().min() >= 0
    side = torch.logspace(-30, 38, 300, base=2.0)
    scores = torch.cat([torch.tensor([-math.inf]), -side.flip(0), torch.zeros(1), side, torch.tensor([math.inf])])
    histogram = score_histogram(scores, torch.zeros(len(scores)), edges)
    bins = [int(score_histogram(score[None], torch.zeros(1), edges)[0].argmax()) for score in scores]
    assert bins == sorted(bins)
    assert histogram.shape == (2, BINS)
    assert histogram.dtype == torch.int64
    assert histogram.sum(1).tolist() == [len(scores), 0]


@pytest.mark.parametrize("quantiles", [None, torch.linspace(0.1, 2.0, 33).double()])
def test_metrics_from_sums_equal_metrics_from_samples(quantiles: torch.Tensor | None) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(300, generator=generator)
    logits[7] = 0  # which predicts no disease
    labels = (torch.rand(300, generator=generator) < 0.3).float()
    parts = [binary_sums(logits[part], labels[part], quantiles) for part in (slice(0, 17), slice(17, 300))]
    totals = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    assert {name: tensor.dtype for name, tensor in totals.items()} == {
        "count": torch.int64,
        "loss_sum": torch.float64,
        "histogram": torch.int64,
    }
    probability = logits.double().sigmoid()
    loss = -torch.where(labels > 0, probability, 1 - probability).log().mean()
    metrics = binary_metrics(totals, quantiles)
    assert metrics["Test:Loss"] == pytest.approx(float(loss))
    assert metrics["Test:Accuracy"] == float(((logits > 0) == (labels > 0)).double().mean())
    assert isinstance(metrics["Test:AUC"], Estimate)
    assert metrics["Test:AUC"].value == pytest.approx(auc_by_pairs(logits, labels), abs=0.005)


def test_the_loss_of_a_model_that_has_diverged_is_finite() -> None:
    sums = binary_sums(torch.tensor([math.inf, -1e30, 5e4]), torch.tensor([1.0, 1.0, 0.0]), None)
    assert float(sums["loss_sum"]) == 200


@pytest.mark.parametrize("spread", ["normal", "saturated", "huge", "within a millionth"])
@pytest.mark.parametrize("quantiles", [None, torch.linspace(2.9, 3.1, 33).double()])
def test_a_loss_agrees_with_its_histogram_or_is_found(spread: str, quantiles: torch.Tensor | None) -> None:
    sums = binary_sums(*samples(SPREADS[spread], 254, 7), quantiles)
    assert binary_contradiction(sums, quantiles) is None
    for factor in (0.001, 0.5, 2, 1000):
        found = binary_contradiction(sums | {"loss_sum": sums["loss_sum"] * factor}, quantiles)
        assert found == "has a loss that its histogram can't have"


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([], [], {"Test:AUC": NAN, "Test:Loss": NAN, "Test:Accuracy": NAN}),
        ([0.0, 1.0], [1, 1], {"Test:AUC": NAN, "Test:Accuracy": 0.5}),
        ([-1.0, 1.0], [0, 0], {"Test:AUC": NAN, "Test:Accuracy": 0.5}),
        ([NAN, 1.0, -1.0], [0, 1, 0], {"Test:AUC": NAN, "Test:Loss": NAN, "Test:Accuracy": NAN}),
        ([math.inf, 1.0, -math.inf], [1, 1, 0], {"Test:AUC": 1.0, "Test:Accuracy": 1.0}),
    ],
)
def test_an_undefined_metric_is_nan(logits: list[float], labels: list[int], expected: dict[str, float]) -> None:
    scores = torch.tensor(logits, dtype=torch.float32)
    metrics = binary_metrics(binary_sums(scores, torch.tensor(labels, dtype=torch.float32), None), None)
    values = {name: found.value if isinstance(found, Estimate) else found for name, found in metrics.items()}
    assert {name: values[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    if math.isnan(expected["Test:AUC"]):
        assert math.isnan(roc_auc(scores, torch.tensor(labels)))
