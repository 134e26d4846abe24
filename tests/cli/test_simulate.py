"""What ``fedsilo simulate`` refuses before it simulates anything."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedsilo.cli.main import app

SPEC = str(Path(__file__).parents[2] / "federation.yaml")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["mlp", "--partition", "half", "--silos", "4"], "--partition: 'half' is neither iid nor dirichlet:ALPHA"),
        (["mlp", "--partition", "iid"], "--silos: '' should be a number from 1 to 1000 with --partition"),
        (["mlp", "--partition", "iid", "--silos", "1001"], "--silos: '1001' should be a number from 1 to 1000"),
        (["heart_disease", "--partition", "iid", "--silos", "100"], "--silos: 486 training samples are enough for 48"),
        (["mlp", "--silos", "basel"], "--silos: 'basel' not in the federation"),
        (["mlp", "--fraction", "0"], "fraction: Input should be greater than 0"),
        (["cats"], "workload: 'cats' is not one of"),
    ],
)
def test_wrong_arguments_are_a_usage_error(arguments: list[str], problem: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", *arguments, "--federation", SPEC, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert problem in result.output
    assert not (tmp_path / "out").exists()
