"""The local federation when it can't start; ``tests/e2e`` shows that it works."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from fedsilo.errors import HubError
from fedsilo.local.federation import LocalFederation
from tests.support.federations import described


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("_environment")
def test_an_agent_that_ends_at_once_again_and_again_is_an_error_with_its_log(tmp_path: Path) -> None:
    os.environ["FEDSILO_LOG_LEVEL"] = "nosuch"
    federation = described("ending", ("north", "south"))
    with LocalFederation(federation, tmp_path) as local:
        with pytest.raises(HubError, match=r"^the agent of \w+ ends as soon as it is started; its log:\n") as caught:
            local.wait_until_ready()
        assert "nosuch" in str(caught.value).lower()


def test_a_proxy_is_not_asked_for_the_emulator() -> None:
    script = """
from fedsilo import aws
from fedsilo.local import emulator
with emulator.Emulator() as local:
    emulator.use(local.endpoint, local.access_key, "us-east-1")
    print(aws.s3("us-east-1", 1).list_buckets()["Buckets"])
"""
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "localhost"}
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | proxy, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
