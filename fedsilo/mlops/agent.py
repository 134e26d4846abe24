"""FedML's own agent in a party's cluster (``control_plane: mlops``), in the foreground, with its key kept from view.

FedML's daemons take the API key on their command line and pass it on to a child's, where every process of the pod, the
trainer among them, and whoever may look at the node's processes can read it. Here it goes from Secrets Manager through
a pipe to ``fedsilo.mlops.login``, which runs FedML's login in its own process; what that prints passes through here,
with the key masked. When it ends, this does too, and Kubernetes starts the container again, ever more slowly.
"""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from typing import IO, Annotated

import boto3

from fedsilo import aws, logs, names, signals
from fedsilo.config.environment import EMPTY_IS_DEFAULT, Settings
from fedsilo.errors import FedsiloError, SpecError
from fedsilo.redaction import MASK

END_SECONDS = 10.0
"""How long FedML's agent gets to end after SIGTERM; a pod gets 30."""

_KEY = re.compile(r"[\w.-]{8,256}")

log = logging.getLogger("fedsilo.mlops.agent")  # not __name__: this module is run as a script


class PlatformAgentSettings(Settings):
    """What the environment of FedML's agent holds."""

    mlops_secret: Annotated[str, EMPTY_IS_DEFAULT]
    """The name of the secret in Secrets Manager that holds the API key of FedML's platform."""


def main() -> int:
    """Run FedML's agent until it ends, which it does not by itself; returns the exit code."""
    try:
        logs.set_up()
        settings = PlatformAgentSettings.from_environment()
        key = read_key(settings)
    except FedsiloError as error:
        log.error("%s", error)
        return 1
    role = "server" if settings.party == names.AGGREGATOR else "client"
    device = names.mlops_device(settings.federation, settings.party)
    log.info("logging in to FedML's platform as %s, device %s", role, device)
    code = run([sys.executable, "-W", "ignore", "-m", "fedsilo.mlops.login", role, device], key)
    log.error("FedML's agent ended with exit code %d; what it said stands above", code)
    return 1


def read_key(settings: PlatformAgentSettings) -> str:
    """The API key, from Secrets Manager.

    Raises ``SpecError`` where the secret's value can't be a key, and otherwise as ``aws.translate_errors``.
    """
    name = settings.mlops_secret
    role = names.agent_role(settings.federation, settings.party)
    with aws.translate_errors(role, f"read the secret {name}", "it is in this account and Region"):
        answer = boto3.client("secretsmanager", config=aws.config()).get_secret_value(SecretId=name)
    key = str(answer.get("SecretString", "")).strip()
    if not _KEY.fullmatch(key):
        raise SpecError(f"secret {name}: should hold FedML's API key alone, as plain text: no JSON, no blanks")
    return key


def run(command: list[str], key: str) -> int:
    """Run a command that reads the key as its first line of input, and pass on its output with the key masked.

    The command ends when this process is told to end, and so does everything that it started.

    Returns:
        The command's exit code, negative for a signal.
    """
    child = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    signals.handle_once(lambda: _end(child), signal.SIGTERM)
    assert child.stdin is not None  # noqa: S101  (PIPE)
    assert child.stdout is not None  # noqa: S101  (PIPE)
    printer = threading.Thread(target=_print_masked, args=(child.stdout, key.encode()), daemon=True)
    printer.start()
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # it may have ended without reading it
        pipe.write(key.encode() + b"\n")
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)
    printer.join(END_SECONDS)
    return code


def _print_masked(source: IO[bytes], key: bytes) -> None:
    for line in source:
        sys.stdout.buffer.write(line.replace(key, MASK.encode()))
        sys.stdout.buffer.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child.pid, signal.SIGTERM)
    timer = threading.Timer(END_SECONDS, _signal, (child.pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
