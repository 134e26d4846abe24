"""A party's parameters and metrics are in SageMaker by the documented names, and SageMaker never stops training."""

import json
from argparse import Namespace

import boto3
import pytest

from fedsilo.ledger.writer import Ledger
from fedsilo.names import AGGREGATOR
from fedsilo.training import tracking
from fedsilo.training.tracking import Tracker, parameters
from tests.support.faulty_proxy import FaultyProxy
from tests.support.hub import Hub, disclosure

ARGUMENTS = Namespace(
    device="cpu",
    silo="hungary",
    lr=0.01,
    batch_size=4,
    client_optimizer="adam",
    weight_decay=0.0,
    epochs=2,
    comm_round=3,
)


def track(hub: Hub, party: str, metrics: list[tuple[str, float, int]]) -> None:
    ledger = Ledger(hub.settings(party), hub.run)
    samples = None if party == AGGREGATOR else 185
    with Tracker(hub.settings(party), hub.run.id, ledger, parameters(ARGUMENTS, samples), disclosure()) as tracker:
        for name, value, step in metrics:
            tracker.log_metric(name, value, step)
    ledger.close()


def test_parameters_and_metrics_are_in_sagemaker_by_the_documented_names(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is resumed appends to what an earlier process has logged."""
    sagemaker = boto3.client("sagemaker")
    silo = [
        (name, value, step) for step, value in ((0, 0.5), (1, 0.25)) for name in ("Training:Loss", "Validation:AUC")
    ]
    with FaultyProxy(hub.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        track(hub, "hungary", [*silo, ("Validation:AUC", float("nan"), 1)])
        found = sagemaker.describe_trial_component(TrialComponentName=f"{hub.federation.name}-client-2-{hub.run.id}")
        track(hub, "hungary", [("Training:Loss", 0.125, 2)])
        track(hub, AGGREGATOR, [("Test:AUC", 0.75, 1), ("Test:Loss", 0.5, 1)])
    name, federation = hub.run.id, hub.federation.name
    assert {key: next(iter(value.values())) for key, value in found["Parameters"].items()} == {
        "train data size": 185,
        "device": "cpu",
        "center": "hungary",
        "learning-rate": 0.01,
        "batch-size": 4,
        "client-optimizer": "adam",
        "weight-decay": 0.0,
        "epochs": 2,
        "rounds": 3,
    }
    assert {metric["MetricName"] for metric in found["Metrics"]} == {"Training:Loss", "Validation:AUC"}
    of_server = sagemaker.describe_trial_component(TrialComponentName=f"{federation}-server-{name}")
    assert {metric["MetricName"] for metric in of_server["Metrics"]} == {"Test:AUC", "Test:Loss"}
    assert "train data size" not in of_server["Parameters"]
    for experiment in (f"{federation}-client-2", f"{federation}-server"):
        assert sagemaker.describe_experiment(ExperimentName=experiment)["ExperimentName"] == experiment
    # What was sent, because the emulator forgets a run's metrics when it is opened again, and says no steps.
    calls = [json.loads(body) for body in proxy.metrics]
    sent = sorted(
        (call["TrialComponentName"], each["MetricName"], each["Value"], each["Step"])
        for call in calls
        for each in call["MetricData"]
    )
    of_silo = [(f"{federation}-client-2-{name}", *each) for each in [*silo, ("Training:Loss", 0.125, 2)]]
    server = f"{federation}-server-{name}"
    assert sent == sorted([*of_silo, (server, "Test:AUC", 0.75, 1), (server, "Test:Loss", 0.5, 1)])


def test_the_sdk_is_told_not_to_report_to_aws(hub: Hub) -> None:
    from sagemaker.core.common_utils import resolve_value_from_config
    from sagemaker.core.config.config_schema import TELEMETRY_OPT_OUT_PATH

    ledger = Ledger(hub.settings("hungary"), hub.run)
    with Tracker(hub.settings("hungary"), hub.run.id, ledger, {}, disclosure()) as tracker:
        session = tracker._open_run()._experiment.sagemaker_session
    ledger.close()
    assert resolve_value_from_config(None, TELEMETRY_OPT_OUT_PATH, False, sagemaker_session=session) is True


def test_sagemaker_that_fails_is_counted_and_logged_and_stops_nothing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "ATTEMPTS", 1)
    with FaultyProxy(hub.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.fail_next(sagemaker=10**6)
        ledger = Ledger(hub.settings("hungary"), hub.run)
        with Tracker(hub.settings("hungary"), hub.run.id, ledger, parameters(ARGUMENTS, 185), disclosure()) as tracker:
            tracker.log_metric("Training:Loss", 0.5, 0)
        ledger.close()
    assert ledger._status.tracking_failures >= 1
    assert "tracking failed, the run continues" in caplog.text
    assert any('"Training:Loss"' in line for line in ledger._lines), "what was recorded is in the ledger too"


def test_parameters_that_a_workload_does_not_have_are_left_out() -> None:
    found = parameters(Namespace(device="cpu", silo="hungary", comm_round=3, lr=0.1), 5)
    assert found.keys() == {"train data size", "device", "center", "learning-rate", "rounds"}
