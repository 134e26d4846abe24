"""The federations of ``FILES``, each synthesized once for all tests of the stacks."""

import pytest

from tests.support.synthesis import FILES, Synthesized, synthesize


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize(FILES["example"], tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize(FILES["everything"], tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return synthesize(FILES["mlops"], tmp_path_factory.mktemp("mlops"))


@pytest.fixture(params=["example", "everything"])
def synthesized(request: pytest.FixtureRequest) -> Synthesized:
    """Each federation with fedsilo's own control plane."""
    federation: Synthesized = request.getfixturevalue(request.param)
    return federation


@pytest.fixture(params=FILES)
def whichever(request: pytest.FixtureRequest) -> Synthesized:
    """Each federation."""
    federation: Synthesized = request.getfixturevalue(request.param)
    return federation
