"""Which agent is of a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedsilo.agent import instance
from fedsilo.errors import LauncherError

CLAIM = "import sys, pathlib, fedsilo.agent.instance as i; print(i.claim(pathlib.Path(sys.argv[1])))"


def test_a_folder_has_one_agent_at_a_time_and_the_same_one_after_a_restart(tmp_path: Path) -> None:
    earlier = subprocess.run(
        [sys.executable, "-c", CLAIM, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert instance.claim(tmp_path) == earlier
    with pytest.raises(LauncherError, match=f"another agent uses the folder {tmp_path}; end that one, or name another"):
        instance.claim(tmp_path)
    (tmp_path / "other").mkdir()
    assert instance.claim(tmp_path / "other") != earlier
