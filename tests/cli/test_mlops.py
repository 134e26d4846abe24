"""The command with a federation whose runs FedML's hosted platform starts and shows."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedsilo.cli.main import app

FILE = Path(__file__).parents[1] / "stacks" / "mlops.yaml"


@pytest.mark.parametrize("command", [["run", "list"], ["run", "start", "heart_disease"], ["silo", "list"]])
def test_run_commands_point_to_fedmls_platform(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--federation", str(FILE)])
    assert done.exit_code == 2
    assert "control_plane is mlops: FedML's platform starts and shows runs (docs/mlops.md)" in done.stderr


@pytest.mark.usefixtures("endpoint")
def test_doctor_does_not_look_for_a_hub(tmp_path: Path) -> None:
    of_this_account = tmp_path / "federation.yaml"
    of_this_account.write_text(FILE.read_text().replace("111111111111", "123456789012"))
    done = CliRunner().invoke(app, ["doctor", "--federation", str(of_this_account)])
    assert done.exit_code == 0, done.output
    assert "FedML's platform shows whether they are there; see docs/mlops.md" in done.output
    assert "bucket" not in done.output
