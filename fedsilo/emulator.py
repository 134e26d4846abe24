"""The embedded AWS: moto server on a free loopback port, in a process of its own.

It answers S3, SQS, SageMaker and the rest of what a federation uses, keeps everything in memory, and is gone with its
process. It checks no permissions; what IAM allows is proved elsewhere.
"""

import io
import os
import select
import socket
import subprocess
import sys
import uuid
from types import SimpleNamespace, TracebackType
from typing import Any

from fedsilo.errors import HubError

ACCOUNT = "123456789012"
"""The account that it answers for, whatever the credentials, unless told another."""

START_SECONDS = 60.0
"""How long it may take to start."""


def environment(endpoint: str, region: str) -> dict[str, str]:
    """What makes a process use the AWS at ``endpoint`` and nothing else; the credentials are no secret."""
    return _inherited() | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


def _inherited() -> dict[str, str]:
    """This process's environment without anything of AWS: a profile that is set there must not be looked for."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def use(endpoint: str, region: str) -> None:
    """Make this process use the AWS at ``endpoint`` and nothing else."""
    used = environment(endpoint, region)
    os.environ.clear()
    os.environ.update(used)


class Emulator:
    """The embedded AWS as a context manager. ``endpoint`` is its URL; ``close`` ends the process."""

    def __init__(self, account: str = ACCOUNT) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fedsilo.emulator"],
            env=_inherited() | {"MOTO_ACCOUNT_ID": account},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  (PIPE)
        said, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        port = self._process.stdout.readline().strip() if said else ""
        if not port:
            self.close()
            raise HubError(
                f"the embedded AWS did not start within {START_SECONDS:g} s; "
                f"run `{sys.executable} -m fedsilo.emulator` to see why"
            )
        self.endpoint = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _OpaqueTag:
    """In place of a digest: another value for each object, which says nothing of what is in it."""

    def update(self, data: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return uuid.uuid4().hex


class _Held:
    """An object's content as it came, in place of a file: moto would copy a large one to the disk, and for each get."""

    def __init__(self, *_: object) -> None:
        self._content = b""

    def write(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        """All of it. What asks for a ``size`` makes a digest of pieces, which ``_OpaqueTag`` does not need."""
        return self._content if size < 0 else b""

    def seek(self, _: int) -> None:
        pass

    def truncate(self) -> None:
        self._content = b""

    def close(self) -> None:
        self._content = b""


def _poll_for_the_living(queues: Any, caller: Any) -> None:
    """End the long poll of a client that is gone, as SQS does: moto would hand it, and hide, the next message.

    ``queues`` is moto's class of them; ``caller.socket`` is the connection that the current thread answers.
    """
    from werkzeug.exceptions import ClientDisconnected

    wait = queues.wait_for_messages

    def wait_for_messages(queue: Any, timeout: float) -> None:
        wait(queue, timeout)
        try:
            gone = caller.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            raise ClientDisconnected

    queues.wait_for_messages = wait_for_messages


def serve() -> None:
    """Bind, print the port on standard output, and serve until standard input closes: that is, until the owner ends."""
    import threading

    import moto.backends
    import moto.s3.models
    import moto.sqs.models
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    # What moto does anew for each request: look which services its folder holds.
    services = tuple(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: services
    # Half of the time of a large put goes into an MD5 as its ETag. On AWS, an object that KMS encrypts has none either.
    moto.s3.models.md5_hash = lambda *_: _OpaqueTag()
    moto.s3.models.tempfile = SimpleNamespace(SpooledTemporaryFile=_Held)

    _poll_for_the_living(moto.sqs.models.Queue, caller := threading.local())

    class Handler(MotoRequestHandler):  # type: ignore[misc]
        # Or clients wait a second for the "100 Continue" that HTTP/1.0 does not have.
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes; without this the second waits 40 ms for the ACK of the first.
        disable_nagle_algorithm = True

        def log_request(self, *_: object) -> None:
            pass

    backends = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        """Read a body at once: werkzeug would gather a large one in small pieces, in half the time of the call."""
        caller.socket = environ["werkzeug.socket"]
        if not environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        return backends(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)  # noqa: T201
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    serve()
