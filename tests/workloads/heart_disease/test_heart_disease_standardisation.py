"""Every silo standardises with the moments of all patients, though nobody has seen all patients."""

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable

import torch

from workloads import heart_disease

Arguments = Callable[..., Namespace]


def totals_of(arguments: Arguments, *silos: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    totals: dict[str, torch.Tensor] = {}
    features = []
    for silo in silos:
        args = arguments("heart_disease", silo=silo)
        train = heart_disease.load_silo(args).train
        sums = heart_disease.trainer(heart_disease.model(args), args).statistics(train)
        totals = {name: totals.get(name, torch.zeros((), dtype=sums[name].dtype)) + sums[name] for name in sums}
        features.append(train.features)
    return totals, torch.cat(features)


def test_the_moments_are_those_of_the_pooled_patients(arguments: Arguments) -> None:
    totals, pooled = totals_of(arguments, "cleveland", "hungary", "switzerland", "long-beach")
    args = arguments("heart_disease")
    model = heart_disease.model(args)
    heart_disease.aggregator(model, args).apply_statistics(totals)
    torch.testing.assert_close(model.mean, pooled.double().mean(0).float())
    torch.testing.assert_close(model.std, pooled.double().std(0, correction=0).float())
    standardised = model.standardise(pooled)
    torch.testing.assert_close(standardised.mean(0), torch.zeros(13), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0), torch.ones(13))
    raw = pooled[:5]
    torch.testing.assert_close(model(raw), model.linear(standardised[:5])[:, 0])


def test_a_feature_that_never_varies_is_only_centred(arguments: Arguments) -> None:
    args = arguments("heart_disease")
    model = heart_disease.model(args)
    features = (torch.arange(13) * 0.37).repeat(123, 1)  # in float64 sums, rounding makes some variances positive
    features[0, 2] = 0.2
    patients = heart_disease.data.Patients(features, torch.zeros(123))
    heart_disease.aggregator(model, args).apply_statistics(heart_disease.trainer(model, args).statistics(patients))
    varies = [False, False, True] + 10 * [False]
    assert (model.std != 1).tolist() == varies
    assert model(features).isfinite().all()


def test_aggregation_does_not_touch_the_standardisation(arguments: Arguments) -> None:
    args = arguments("heart_disease")
    model = heart_disease.model(args)
    aggregator = heart_disease.aggregator(model, args)
    aggregator.apply_statistics(totals_of(arguments, "cleveland", "hungary")[0])
    before = OrderedDict((name, tensor.clone()) for name, tensor in aggregator.get_model_params().items())
    aggregated = OrderedDict((name, tensor * 1.0001) for name, tensor in before.items())
    aggregator.set_model_params(aggregator.on_after_aggregation(aggregated))
    after = aggregator.get_model_params()
    assert torch.equal(after["mean"], before["mean"])
    assert torch.equal(after["std"], before["std"])
    assert not torch.equal(after["linear.weight"], before["linear.weight"])
