"""FedML's own agent in a party's cluster (``control_plane: mlops``), in the foreground and with a hidden API key.

FedML's daemons take the API key on their command line and pass it to the command line of a child. Every process of
the pod, including the trainer, can read it there, and so can anybody who may list the node's processes. This module
reads the key from Secrets Manager and passes it through a pipe to ``fedsilo.mlops.login``, which runs FedML's login in
its own process. It passes on what the login prints, with the key masked. When the login ends, this process ends too,
and Kubernetes starts the container again, after longer and longer pauses.
"""

import contextlib
import functools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from typing import IO, Annotated

import boto3

from fedsilo import aws, logs, names, runtime, signals
from fedsilo.config.environment import EMPTY_IS_DEFAULT, Settings
from fedsilo.errors import FedsiloError, SpecError
from fedsilo.redaction import MASK

END_SECONDS = 10.0
"""How long FedML's agent may take to end after SIGTERM; a pod may take 30 s."""

_KEY = re.compile(r"[\w.-]{8,256}")

log = logging.getLogger("fedsilo.mlops.agent")  # not __name__, because this module is run as a script


class PlatformAgentSettings(Settings):
    """The environment of FedML's agent."""

    mlops_secret: Annotated[str, EMPTY_IS_DEFAULT]
    """The name of the secret in Secrets Manager that holds the API key of FedML's platform."""


def main() -> int:
    """Run FedML's agent until it ends, which it does only when it fails or is told to end.

    Returns:
        The exit code.
    """
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
    log.error("FedML's agent ended with exit code %d; its output is above", code)
    return 1


def read_key(settings: PlatformAgentSettings) -> str:
    """Read the API key from Secrets Manager.

    Raises:
        SpecError: The secret's value can't be an API key.
        FedsiloError: AWS denied the call or did not answer, as ``aws.translate_errors`` raises it.
    """
    name = settings.mlops_secret
    role = names.agent_role(settings.federation, settings.party)
    with aws.translate_errors(role, f"read the secret {name}", "it is in this account and Region"):
        answer = boto3.client("secretsmanager", config=aws.config()).get_secret_value(SecretId=name)
    key = str(answer.get("SecretString", "")).strip()
    if not _KEY.fullmatch(key):
        raise SpecError(f"secret {name}: should hold only FedML's API key, as plain text without JSON or blanks")
    return key


def run(command: list[str], key: str) -> int:
    """Run the command until it ends, or until SIGTERM ends this process.

    Args:
        command: The command; it gets the key as the first line of its input.
        key: The key, which is masked in what the command prints.

    Returns:
        The exit code, negative for a signal. The processes that the command started have ended too.
    """
    child = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    signals.handle_once(lambda: _end(child), signal.SIGTERM)
    assert child.stdin is not None  # noqa: S101  (PIPE)
    assert child.stdout is not None  # noqa: S101  (PIPE)
    printed = functools.partial(_print_masked, child.stdout, key.encode())
    printer = runtime.start_thread("printer", printed)
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # the command may have ended before it read the key
        pipe.write(key.encode() + b"\n")
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)
    printer.join(END_SECONDS)
    return code


def _print_masked(source: IO[bytes], key: bytes) -> None:
    with source:
        for line in source:
            sys.stdout.buffer.write(line.replace(key, MASK.encode()))
            sys.stdout.buffer.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child.pid, signal.SIGTERM)
    timer = threading.Timer(END_SECONDS, _signal, (child.pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the group has ended already
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
