"""``fedsilo trainer``: what a Job's log says if the trainer can't take part in its run."""

import os
import subprocess
import sys
from pathlib import Path

from fedsilo.names import AGGREGATOR
from tests.support.hub import Hub


def test_a_trainer_without_settings_names_the_missing_variable() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FEDSILO_")}
    process = subprocess.run(
        [sys.executable, "-m", "fedsilo", "trainer", "run-1", "--sha256", "0" * 64],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 3
    assert "FEDSILO_PARTY is not set" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_trainer_of_an_unknown_run_names_the_run_file(hub: Hub, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("{}")
    process = subprocess.run(
        [sys.executable, "-m", "fedsilo", "trainer", "no-such-run", "--sha256", "0" * 64],
        env=os.environ | hub.settings(AGGREGATOR).to_environment() | {"FEDSILO_POLICY_FILE": str(policy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert f"could not read {hub.bucket}/runs/no-such-run/run.json" in process.stderr
    assert "run no-such-run was started in this federation" in process.stderr
    assert "Traceback" not in process.stderr
