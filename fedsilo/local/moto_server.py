"""moto server as fedsilo runs it: what ``fedsilo.local.emulator`` starts in a process of its own.

Where moto is slow or unlike AWS, and a federation would notice, it is changed here; look again when moto is updated.
"""

import io
import socket
import sys
import threading
import uuid
from types import SimpleNamespace
from typing import Any

import moto.backends
import moto.s3.models
import moto.sqs.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import make_server


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
