"""``fedsilo demo``: invalid options are reported before anything is started."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsilo.cli import main
from fedsilo.files import held

FEDERATION = ("--federation", str(Path(__file__).parents[2] / "federation.yaml"))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """``main`` sets signal handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workload", "nosuch"], "workload: 'nosuch' is not one of heart_disease, mlp"),
        (["--workload", "[/red]"], "workload: '[/red]' is not one of heart_disease, mlp"),
        (["--workload", "[bold]"], "workload: '[bold]' is not one of heart_disease, mlp"),
        (
            ["--set", "momentum=0.9"],
            'unknown hyperparameter "momentum" of heart_disease; it has batch_size, client_optimizer, epochs, lr, mu, '
            "weight_decay",
        ),
        (["--set", "lr=fast"], "hyperparameters.lr: 'fast' is not of type float"),
        (["--set", "lr"], "--set: 'lr' is not KEY=VALUE"),
        (["--silos", "9"], "--silos: 9 is not between 1 and 4, the federation's number of silos"),
        (["--silos", "0"], "--silos: 0 is not between 1 and 4, the federation's number of silos"),
        (
            ["--silos", "²"],
            "--silos: '²' not in the federation; its silos are cleveland, hungary, switzerland, long-beach",
        ),
        (
            ["--silos", "cleveland,boston"],
            "--silos: 'boston' not in the federation; its silos are cleveland, hungary, switzerland, long-beach",
        ),
        (["--silos", "cleveland,cleveland"], "silos: a silo is named twice"),
        (["--silos", "2", "--quorum", "3"], "quorum: 3 is more than the 2 silos of the run"),
        (["--quorum", "0"], "quorum: Input should be greater than or equal to 1"),
        (["--rounds", "0"], "rounds: Input should be greater than or equal to 1"),
        (["--deadline", "nan"], "--deadline: 'nan' is not a time such as 90s, 15m or 3h"),
        (["--deadline", "0m"], "deadline_seconds: Input should be greater than 0"),
        (["--federation", "missing.yaml"], "missing.yaml: No such file or directory"),
    ],
)
def test_an_invalid_option_is_one_line_and_an_exit_code(
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["fedsilo", "demo", *FEDERATION, "--out", str(out), *options])
    with pytest.raises(SystemExit) as caught:
        main.main()
    printed = capsys.readouterr()
    assert caught.value.code == (1 if "missing.yaml" in message else 2)
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not out.exists(), "nothing was begun"


def test_several_invalid_options_are_reported_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--rounds", "0", "--seed", "-1", "--deadline", "0"]
    monkeypatch.setattr(sys, "argv", ["fedsilo", "demo", *FEDERATION, *options])
    with pytest.raises(SystemExit):
        main.main()
    lines = capsys.readouterr().err.removeprefix("error: ").splitlines()
    assert {line.split(":")[0] for line in lines} == {"rounds", "seed", "deadline_seconds"}


def test_a_second_demo_with_the_same_folder_names_the_first_and_touches_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "cleveland.log").write_text("of the first")
    monkeypatch.setattr(sys, "argv", ["fedsilo", "demo", *FEDERATION, "--out", str(tmp_path)])
    with held(tmp_path), pytest.raises(SystemExit) as caught:
        main.main()
    printed = capsys.readouterr()
    assert (caught.value.code, printed.out) == (2, "")
    said = f"error: --out: process {os.getpid()} is at work in {tmp_path}; wait for its end, or use another folder\n"
    assert printed.err == said
    assert (tmp_path / "logs" / "cleveland.log").read_text() == "of the first"
