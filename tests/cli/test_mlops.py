"""What the command says of a federation whose runs FedML's hosted platform starts and shows."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedsilo.admin import cost
from fedsilo.cli.main import app
from fedsilo.config.load import load_federation

FILE = Path(__file__).parents[1] / "stacks" / "mlops.yaml"
OWN = FILE.with_name("everything.yaml")


@pytest.mark.parametrize("command", [["run", "list"], ["run", "start", "heart_disease"], ["silo", "list"]])
def test_runs_are_fedmls_to_start_and_to_show(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--federation", str(FILE)])
    assert done.exit_code == 2
    assert "control_plane is mlops: FedML's platform starts and shows runs (docs/mlops.md)" in done.stderr


@pytest.mark.usefixtures("endpoint")
def test_doctor_looks_for_no_hub(tmp_path: Path) -> None:
    of_this_account = tmp_path / "federation.yaml"
    of_this_account.write_text(FILE.read_text().replace("111111111111", "123456789012"))
    done = CliRunner().invoke(app, ["doctor", "--federation", str(of_this_account)])
    assert done.exit_code == 0, done.output
    assert "FedML's platform shows whether they are there; see docs/mlops.md" in done.output
    assert "bucket" not in done.output


def test_agent_that_trains_in_its_own_pod_costs_a_trainer_all_month() -> None:
    (hosted, own) = (
        {line.party: line for line in cost.lines(load_federation(file), {}) if line.item.startswith("Trainer")}
        for file in (FILE, OWN)
    )
    assert hosted["far"].monthly == pytest.approx(own["other"].training_hour * cost.HOURS)
    assert (hosted["far"].training_hour, own["other"].monthly) == (0, 0)
