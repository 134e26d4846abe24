"""An agent reads its settings from the environment."""

import tempfile
from pathlib import Path

import pytest

from fedsilo.agent.settings import AgentSettings
from fedsilo.config.environment import Settings
from fedsilo.errors import SpecError

WHO = Settings(federation="heart", party="cleveland", rank=1, hub_account="111111111111", hub_region="us-east-1")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = WHO.to_environment() | {"FEDSILO_POLICY_FILE": "/policy/policy.json", "FEDSILO_LAUNCHER": "local"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FEDSILO_FOLDER", raising=False)


def test_settings_of_the_party_and_of_the_agent_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSILO_FOLDER", "/work")
    assert AgentSettings.from_environment() == AgentSettings(
        **WHO.model_dump(), policy_file=Path("/policy/policy.json"), launcher="local", folder=Path("/work")
    )


@pytest.mark.parametrize("value", [None, ""])
def test_folder_is_a_temporary_one_by_default(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("FEDSILO_FOLDER", value)
    assert AgentSettings.from_environment().folder == Path(tempfile.gettempdir(), "fedsilo-agent")


def test_all_problems_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSILO_PARTY", "NO")
    monkeypatch.setenv("FEDSILO_POLICY_FILE", "")
    monkeypatch.setenv("FEDSILO_LAUNCHER", "docker")
    with pytest.raises(SpecError) as caught:
        AgentSettings.from_environment()
    party, policy_file, launcher = str(caught.value).splitlines()
    assert party.startswith("FEDSILO_PARTY: 'NO' does not match ")
    assert policy_file == "FEDSILO_POLICY_FILE is not set; the party's workload stack or the local launcher sets it"
    assert launcher == "FEDSILO_LAUNCHER: 'docker' should be 'kubernetes' or 'local'"
