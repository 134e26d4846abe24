"""The files behind the agent's probes."""

import os
import time
from pathlib import Path

import pytest

from fedsilo.agent import health
from fedsilo.agent.health import Probe


@pytest.mark.parametrize("probe", list(Probe))
def test_a_probe_passes_until_the_file_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: Probe
) -> None:
    monkeypatch.setenv("FEDSILO_FOLDER", str(tmp_path))
    assert health.problem(probe) == f"the agent has not touched {tmp_path / probe} yet; see its log"
    health.touch(tmp_path, probe)
    assert health.problem(probe) == ""
    old = time.time() - health.MAX_AGE_SECONDS[probe] - 100
    os.utime(tmp_path / probe, (old, old))
    assert health.problem(probe).startswith(f"the agent last touched {tmp_path / probe} ")
