"""What the tests of the agent share: an agent in memory, a clock for it to go by, and a Kubernetes launcher."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsilo import runtime
from fedsilo.agent.kubernetes import KubernetesLauncher
from stacks import manifests
from tests.support.agent_harness import AgentHarness, Clock
from tests.support.fake_kubernetes import FakeKubernetes
from tests.support.kubernetes_launcher import CLEVELAND, connect


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with runtime.using(clock):
        yield clock


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> AgentHarness:
    return AgentHarness(tmp_path)


@pytest.fixture
def server() -> Iterator[FakeKubernetes]:
    """An API server with the trainer's template."""
    fake = FakeKubernetes()
    fake.put("cronjobs", manifests.trainer("registry/image@sha256:1", CLEVELAND))
    yield fake
    fake.close()


@pytest.fixture
def changes() -> threading.Semaphore:
    """Is released whenever the launcher reports a change."""
    return threading.Semaphore(0)


@pytest.fixture
def launcher(server: FakeKubernetes, changes: threading.Semaphore) -> KubernetesLauncher:
    return KubernetesLauncher(connect(server.url), changes.release)
