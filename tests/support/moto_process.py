"""A moto server as a process of its own, on a free port of the loopback interface."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.support.waiting import until

_ROOT = Path(__file__).parents[2]


@contextmanager
def moto_process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Start a moto server and stop it at the end.

    Args:
        command: The program; it also gets the address, as moto's command line takes it.
        environment: Variables besides those of this process.
        log: The file for what the server prints.

    Yields:
        The server's port, once it answers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "-H", "127.0.0.1", "-p", str(port)],
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(port), lambda: f"moto to answer; its log:\n{log.read_text()}")
        yield port
    finally:
        server.kill()  # it has nothing to finish, and a busy machine may take long to end it gently
        server.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/moto-api/", timeout=1).ok
    except requests.ConnectionError:
        return False
