"""One parameter beyond SageMaker's limits does not lose the others."""

import boto3
import pytest

from fedsilo.ledger.writer import Ledger
from fedsilo.training import tracking_limits
from fedsilo.training.tracking import Tracker
from tests.support.hub import Hub, disclosure

GOOD = {"learning-rate": 0.01, "center": "hungary", "epochs": 2}


@pytest.mark.parametrize(
    ("bad", "taken", "said"),
    [
        ({"x": "a" * 2501}, {"x": "a" * 2499 + "…"}, "parameter x is cut to 2,500 characters"),
        ({"x": "a" * 2500}, {"x": "a" * 2500}, ""),
        ({"n" * 300: 1}, {"n" * 255 + "…": 1}, "is cut to 256 characters"),
        ({"x": float("nan")}, {}, "parameter x is left out: it is no finite number"),
        ({"x": 10**400}, {}, "no finite number"),
        ({"x": True}, {"x": "True"}, ""),
        ({"x": "two\nlines"}, {"x": "two lines"}, ""),
        ({"": 1}, {}, "parameter '' is left out"),
    ],
)
def test_a_parameter_that_does_not_fit_is_cut_or_left_out_and_the_others_stay(
    bad: dict[str, tracking_limits.Parameter], taken: dict[str, tracking_limits.Parameter], said: str
) -> None:
    fitted, changes = tracking_limits.fit(bad | GOOD)
    assert fitted == taken | GOOD
    assert len(changes) == bool(said)
    assert said in "".join(changes)


def test_parameters_beyond_the_number_that_sagemaker_takes_are_left_out() -> None:
    fitted, changes = tracking_limits.fit({f"p{number}": number for number in range(301)})
    assert len(fitted) == 300
    assert changes == ["parameter p300 is left out: SageMaker takes 300"]


def test_a_long_parameter_reaches_sagemaker_with_the_rest(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(hub.settings("hungary"), hub.run)
    with Tracker(hub.settings("hungary"), hub.run.id, ledger, {"notes": "a" * 5000} | GOOD, disclosure()) as tracker:
        tracker.log_metric("Training:Loss", 0.5, 0)
    ledger.close()
    name = f"{hub.federation.name}-client-2-{hub.run.id}"
    found = boto3.client("sagemaker").describe_trial_component(TrialComponentName=name)
    assert found["Parameters"].keys() == {"notes", *GOOD}
    assert len(found["Parameters"]["notes"]["StringValue"]) == tracking_limits.TEXT_CHARACTERS
    assert [metric["MetricName"] for metric in found["Metrics"]] == ["Training:Loss"]
    assert caplog.text.count("SageMaker's limits: parameter notes is cut to 2,500 characters") == 1
    assert ledger._status.tracking_failures == 0
