"""FedML's API key is read from Secrets Manager, given to FedML's login, and visible to no other process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from fedsilo.errors import HubError, SpecError
from fedsilo.mlops import agent
from fedsilo.names import MLOPS_SECRET_VARIABLE
from fedsilo.redaction import MASK
from tests.support.waiting import until

KEY = "0123456789abcdef0123456789abcdef"
RUN = (
    "import sys; from fedsilo.mlops import agent; sys.exit(agent.run([sys.executable, '-c', sys.argv[1]], sys.argv[2]))"
)


def settings(secret: str) -> agent.PlatformAgentSettings:
    return agent.PlatformAgentSettings(
        federation="heart",
        party="cleveland",
        rank=1,
        hub_account="111111111111",
        hub_region="us-east-1",
        mlops_secret=secret,
    )


def with_secret(name: str, value: str) -> agent.PlatformAgentSettings:
    """Create the secret. Returns the settings that name it."""
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=value)
    return settings(name)


@pytest.mark.usefixtures("endpoint")
def test_key_is_the_secrets_value_without_a_final_line_feed() -> None:
    assert agent.read_key(with_secret("heart/fedml", f"{KEY}\n")) == KEY


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("name", "value"), [("json", f'{{"key": "{KEY}"}}'), ("two", f"{KEY}\n{KEY}"), ("short", "1234567")]
)
def test_a_value_that_can_not_be_a_key_is_refused_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(SpecError, match=f"secret {name}: should hold only FedML's API key") as caught:
        agent.read_key(with_secret(name, value))
    assert value not in str(caught.value)


@pytest.mark.usefixtures("endpoint")
def test_missing_secret_is_named() -> None:
    with pytest.raises(
        HubError, match="not found: heart-cleveland-agent could not read the secret nowhere; check that it is in"
    ):
        agent.read_key(settings("nowhere"))


def test_secret_comes_from_the_environment_and_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings("heart/fedml").to_environment().items():
        monkeypatch.setenv(name, value)
    assert os.environ[MLOPS_SECRET_VARIABLE] == "heart/fedml"
    assert agent.PlatformAgentSettings.from_environment() == settings("heart/fedml")
    monkeypatch.setenv(MLOPS_SECRET_VARIABLE, "")
    with pytest.raises(SpecError, match=f"{MLOPS_SECRET_VARIABLE} is not set"):
        agent.PlatformAgentSettings.from_environment()


def test_the_child_gets_the_key_as_input_and_its_output_is_masked() -> None:
    child = (
        "import os, sys; key = sys.stdin.readline().strip(); print('got', key, flush=True); "
        'print(f\'in json: {{"k": "{key}"}}\', file=sys.stderr, flush=True); '
        "print('in sight:', key in open('/proc/self/cmdline').read() + open('/proc/self/environ').read()); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", RUN, child, KEY], capture_output=True, text=True, timeout=30)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [f"got {MASK}", f'in json: {{"k": "{MASK}"}}', "in sight: False"]


def test_a_login_that_ends_before_it_reads_the_key_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        for _ in range(5):
            child = "import os, sys; os.close(0); print('broken'); sys.exit(9)"
            assert agent.run([sys.executable, "-c", child], "k" * 2**20) == 9
        signal.raise_signal(signal.SIGTERM)  # the child is gone
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfd.readouterr().out.splitlines() == ["broken"] * 5


@pytest.mark.parametrize("stubborn", [False, True])
def test_sigterm_ends_the_agent_and_the_processes_it_started(tmp_path: Path, stubborn: bool) -> None:
    ready = tmp_path / "pid"
    child = "import os, signal, time; "
    child += "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    child += f"open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    run = RUN.replace("sys.exit(", "agent.END_SECONDS = 0.5; sys.exit(")
    with subprocess.Popen([sys.executable, "-c", run, child, KEY]) as process:
        until(lambda: ready.exists() and ready.read_text(), "the child's pid")
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert not Path(f"/proc/{ready.read_text()}").exists()


def test_agent_without_settings_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("FEDERATION", "PARTY", "RANK"):
        monkeypatch.delenv(f"FEDSILO_{variable}", raising=False)
    assert agent.main() == 1
    assert "FEDSILO_PARTY is not set" in caplog.text
