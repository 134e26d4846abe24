"""The local AWS emulator: moto server on a free loopback port, in a process of its own.

It answers S3, SQS, SageMaker and the other services that a federation uses, for clients that sign with its access key.
It keeps large objects in a folder and everything else in memory, so all of it is gone when the process ends. It checks
no permissions; other tests prove what IAM allows.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import boto3

from fedsilo import runtime
from fedsilo.errors import HubError

ACCOUNT = "123456789012"
"""The account that the emulator answers for by default, whatever the credentials are."""

ACCESS_KEY_VARIABLE = "FEDSILO_EMULATOR_ACCESS_KEY"
"""The environment variable that tells the emulator's process the access key id."""

START_SECONDS = 60.0
"""How long the emulator may take to start."""


def environment(endpoint: str, access_key: str, region: str) -> dict[str, str]:
    """The environment of a process that uses the emulator at ``endpoint`` as AWS, and nothing else.

    Args:
        endpoint: The emulator's URL.
        access_key: Its access key id. The emulator checks no signature, so any secret does.
        region: The AWS Region.
    """
    return _inherited() | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": access_key,
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


def use(endpoint: str, access_key: str, region: str) -> None:
    """Make this process use the emulator at ``endpoint``; the arguments are those of ``environment``."""
    used = environment(endpoint, access_key, region)
    os.environ.clear()
    os.environ.update(used)
    boto3.setup_default_session()  # the one before keeps the credentials that it has seen first


class Emulator:
    """The local AWS emulator as a context manager.

    Attributes:
        endpoint: Its URL.
        access_key: The access key id with which its clients sign. Other users of this machine don't know it.
    """

    def __init__(self, account: str = ACCOUNT, folder: Path | None = None) -> None:
        """Start it.

        Args:
            account: The account that it answers for.
            folder: Where it makes the folder of its large objects, which is removed at the end. Default: the folder
                for temporary files.

        Raises:
            HubError: It did not start within ``START_SECONDS``.
            OSError: The folder can't be made.
        """
        self.access_key = runtime.token(16)
        self._objects = tempfile.mkdtemp(prefix="fedsilo-aws-", dir=folder)
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "fedsilo.local.moto_server", self._objects],
            env=_inherited() | {"MOTO_ACCOUNT_ID": account, ACCESS_KEY_VARIABLE: self.access_key},
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
                f"run `{ACCESS_KEY_VARIABLE}=none {sys.executable} -m fedsilo.local.moto_server .` to see why"
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
        shutil.rmtree(self._objects, ignore_errors=True)

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
