"""The agent's process, up to the point where it serves."""

import pytest

from fedsilo.agent import main
from fedsilo.errors import SpecError


def test_unknown_log_level_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSILO_LOG_LEVEL", "loud")
    with pytest.raises(SpecError, match="FEDSILO_LOG_LEVEL: 'loud'"):
        main.main()
