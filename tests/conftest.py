"""What all tests share: the local AWS emulator, once a session, and the environment that leads to it."""

import os
from collections.abc import Iterator

import boto3
import hypothesis
import pytest

import fedsilo.fedml_shim  # noqa: F401  (before anything imports FedML)
from fedsilo.local import emulator

pytest_plugins = [
    "tests.support.hub",
    "tests.support.operator_harness",
    "tests.support.scripted_aws",
    "tests.support.threads",
]

# No time limit decides a test, because a busy machine is slow. The examples are the same in every run; to try others:
# `pytest --hypothesis-profile explore`.
_SETTINGS = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("explore", _SETTINGS)
hypothesis.settings.register_profile("repeat", _SETTINGS, derandomize=True)
hypothesis.settings.load_profile("repeat")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of an emulator that lives as long as the session; every test makes a federation of its own in it."""
    before = dict(os.environ)
    with emulator.Emulator() as aws:
        os.environ.update(emulator.environment(aws.endpoint, aws.access_key, "us-east-1"))
        boto3.DEFAULT_SESSION = None
        yield aws.endpoint
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def session_with_the_environments_credentials() -> None:
    """Forget boto3's session if it keeps credentials of an earlier test's emulator."""
    session = boto3.DEFAULT_SESSION
    kept = session.get_credentials() if session else None
    if kept and kept.access_key != os.environ.get("AWS_ACCESS_KEY_ID"):
        boto3.DEFAULT_SESSION = None
