"""The local AWS emulator: moto server on a free loopback port, in a process of its own.

It answers S3, SQS, SageMaker and the other services that a federation uses. It keeps everything in memory, so all of
it is gone when the process ends. It checks no permissions; other tests prove what IAM allows.
"""

import os
import select
import subprocess
import sys
from types import TracebackType

from fedsilo.errors import HubError

ACCOUNT = "123456789012"
"""The account that the emulator answers for by default, whatever the credentials are."""

START_SECONDS = 60.0
"""How long the emulator may take to start."""


def environment(endpoint: str, region: str) -> dict[str, str]:
    """The environment of a process using the AWS at ``endpoint`` and nothing else; its credentials are no secret."""
    return _inherited() | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_SECRET_ACCESS_KEY": "emulator",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",  # it takes precedence over the upper-case one
    }


def _inherited() -> dict[str, str]:
    """This process's environment without AWS's variables: a profile in it may not exist for the child."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def use(endpoint: str, region: str) -> None:
    """Make this process use the AWS at ``endpoint`` and nothing else."""
    used = environment(endpoint, region)
    os.environ.clear()
    os.environ.update(used)


class Emulator:
    """The local AWS emulator as a context manager.

    Attributes:
        endpoint: Its URL.
    """

    def __init__(self, account: str = ACCOUNT) -> None:
        """Start it.

        Args:
            account: The account that it answers for.

        Raises:
            HubError: It did not start within ``START_SECONDS``.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fedsilo.local.moto_server"],
            env=_inherited() | {"MOTO_ACCOUNT_ID": account},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  (PIPE)
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        port = self._process.stdout.readline().strip() if readable else ""
        if not port:
            self.close()
            raise HubError(
                f"the local AWS emulator did not start within {START_SECONDS:g} s; "
                f"run `{sys.executable} -m fedsilo.local.moto_server` to see why"
            )
        self.endpoint = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; safe to call twice."""
        with self._process:  # closes the pipes, and waits
            self._process.kill()

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
