"""Trainers as local processes: what is left of one that is deleted."""

import sys
import time
from pathlib import Path

import pytest

from fedsilo.agent.local import LocalLauncher


def test_deleted_job_leaves_its_log_and_no_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, time; open(os.environ['TMPDIR'] + '/mail', 'w').write('x'); print('here', flush=True); "
    monkeypatch.setattr(LocalLauncher, "command", (sys.executable, "-c", f"{script}time.sleep(60)"))
    launcher = LocalLauncher(tmp_path)
    launcher.start("heart-1", 60.0)
    deadline = time.monotonic() + 20
    while "here" not in launcher.log("heart-1") and time.monotonic() < deadline:
        assert [job.state for job in launcher.jobs()] == ["RUNNING"]
        time.sleep(0.05)
    assert (tmp_path / "heart-1" / "tmp" / "mail").exists()
    launcher.delete("heart-1")
    assert launcher.jobs() == []
    assert not (tmp_path / "heart-1" / "tmp").exists()
    assert "here" in launcher.log("heart-1")
