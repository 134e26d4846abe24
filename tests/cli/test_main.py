"""The ``fedsilo`` command itself: help, version, unknown commands and completion."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fedsilo import __version__
from fedsilo.cli.main import app
from tests.support.operator_harness import OperatorHarness

NOUNS = [["run"], ["model"], ["silo"], ["spec"]]

OF_A_FEDERATION = [
    ["doctor"], ["cost"], ["up"], ["down"], ["demo"],
    *(["run", verb] for verb in ("start", "list", "show", "watch", "logs", "abort", "report")),
    ["model", "download"], ["silo", "list"], ["spec", "check"],
]  # fmt: skip

COMMANDS = [[], ["completion"], ["package"], ["agent"], ["trainer"], *NOUNS, *OF_A_FEDERATION]


def named(command: list[str]) -> str:
    return " ".join(command) or "fedsilo"


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="fedsilo")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: fedsilo {' '.join(command)}".rstrip())
    sentences = [line.strip() for line in result.stdout.splitlines()[2:] if line.strip()]
    assert len(sentences[0]) > 15
    if command in OF_A_FEDERATION:
        assert "--federation FILE" in result.stdout
        assert "3 the run failed, was" in result.stdout


@pytest.mark.parametrize("command", [[], *NOUNS], ids=named)
def test_a_noun_without_a_verb_shows_its_verbs(command: list[str]) -> None:
    result = CliRunner().invoke(app, command, prog_name="fedsilo")
    assert result.exit_code == 2
    assert "Commands:" in result.output


HEAVY = {"boto3", "botocore", "fedml", "moto", "numpy", "pydantic", "rich", "sagemaker", "torch", "yaml"}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fedsilo", option]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in process.stderr.splitlines()}
    assert {"typer", "fedsilo"} <= imported, "the control"
    assert not imported & HEAVY


def test_the_summary_of_each_command_is_the_first_line_of_its_help() -> None:
    listed = CliRunner().invoke(app, ["--help"], prog_name="fedsilo").stdout.partition("Commands:\n")[2]
    summaries = {line.split()[0]: line.split(maxsplit=1)[1] for line in listed.splitlines()}
    assert "trainer" not in summaries, "it is hidden"
    for name, summary in summaries.items():
        assert not summary.endswith("..."), "it fits into a line"
        shown = CliRunner().invoke(app, [name, "--help"], prog_name="fedsilo").stdout
        assert shown.splitlines()[2].strip() == summary


def test_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"], prog_name="fedsilo")
    assert (result.exit_code, result.stdout) == (0, f"fedsilo {__version__}\n")


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["fly"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "list", "--fast"]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "list", "--limit", "0"]).exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(shell: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell], prog_name="fedsilo")
    assert result.exit_code == 0
    assert f"_FEDSILO_COMPLETE=complete_{shell}" in result.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fedsilo run ", {"start", "list", "show", "watch", "logs", "abort", "report"}),
        ("fedsilo run logs h", {"hungary"}),
        ("fedsilo run start heart", {"heart_disease"}),
    ],
)
def test_bash_completes(operator: OperatorHarness, line: str, expected: set[str]) -> None:
    environment = os.environ | {
        "_FEDSILO_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "FEDSILO_FEDERATION_FILE": str(operator.file),
    }
    done = subprocess.run([sys.executable, "-m", "fedsilo"], env=environment, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected, done.stderr
