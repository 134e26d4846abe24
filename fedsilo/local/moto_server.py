"""moto server as fedsilo runs it: ``fedsilo.local.emulator`` starts this module in a process of its own.

This module patches moto where moto is slow, or differs from AWS in a way that a federation would notice. The patches
reach into moto's internals, so they are made for one version of it: check each of them when moto is updated.
"""

import io
import socket
import sys
import threading
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import moto.backends
import moto.s3.models
import moto.sqs.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import make_server

from fedsilo import runtime

MOTO_VERSION = "5.2.5"
"""The version of moto that the patches below are made for, as pinned in pyproject.toml."""

if version("moto") != MOTO_VERSION:
    raise ImportError(
        f"moto {version('moto')} is installed, and the local AWS emulator needs moto {MOTO_VERSION}, whose "
        "internals it patches; `make setup` in a checkout installs it, or pip install 'fedsilo[local]'"
    )


class _RandomTag:
    """Stands in for a digest: a random value for each object."""

    def update(self, data: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return runtime.token(16)


class _InMemoryFile:
    """Stands in for a temporary file: it keeps an object's content in memory, without a copy.

    moto would write a large object to the disk, and copy it again for each GET.
    """

    def __init__(self, *_: object) -> None:
        self._content = b""

    def write(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        """All of the content. Only digests are made piece by piece, and ``_RandomTag`` needs no content."""
        return self._content if size < 0 else b""

    def seek(self, _: int) -> None:
        pass

    def truncate(self) -> None:
        self._content = b""

    def close(self) -> None:
        self._content = b""


def _end_abandoned_polls(queue_class: Any, caller: Any) -> None:
    """End the long poll of a client that has disconnected, as SQS does.

    moto would give the next message to the client that is gone, and hide it from all others.

    Args:
        queue_class: moto's class of queues.
        caller: Its attribute ``socket`` is the connection that the current thread answers.
    """
    wait = queue_class.wait_for_messages

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

    queue_class.wait_for_messages = wait_for_messages


def _lock_deletions(queue_class: Any) -> None:
    """Let nobody put a message into a queue while another one is deleted.

    moto would lose the new message: it replaces the list of messages by a copy without the deleted one.

    Args:
        queue_class: moto's class of queues.
    """
    delete = queue_class.delete_message

    def delete_message(queue: Any, receipt_handle: str) -> None:
        with queue._messages_lock:
            delete(queue, receipt_handle)

    queue_class.delete_message = delete_message


def _patch_moto(caller: Any) -> None:
    """Apply all patches. ``caller.socket`` is the connection that the current thread answers."""
    # moto would read the folder of its services again for each request.
    services = tuple(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: services
    # The MD5 for the ETag takes half of the time of a large PUT. On AWS, the ETag of an object that KMS encrypts is no
    # MD5 either.
    moto.s3.models.md5_hash = lambda *_: _RandomTag()
    moto.s3.models.tempfile = SimpleNamespace(SpooledTemporaryFile=_InMemoryFile)
    _end_abandoned_polls(moto.sqs.models.Queue, caller)
    _lock_deletions(moto.sqs.models.Queue)


class _Handler(MotoRequestHandler):  # type: ignore[misc]
    # HTTP/1.0 has no "100 Continue", for which clients would wait a second.
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; the second would wait 40 ms for the ACK of the first.
    disable_nagle_algorithm = True

    def log_request(self, *_: object) -> None:
        """Log nothing."""


def _application(caller: Any) -> Any:
    """The WSGI application: moto's, which gets each body in one piece."""
    backends = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        # werkzeug would read a large body in small pieces, which takes half of the time of the call.
        caller.socket = environ["werkzeug.socket"]
        if not environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        return backends(environ, start_response)

    return application


def serve() -> None:
    """Listen on a free loopback port, print the port, and serve until standard input closes.

    Standard input closes when the process that started this one ends.
    """
    caller = threading.local()
    _patch_moto(caller)
    server = make_server("127.0.0.1", 0, _application(caller), threaded=True, request_handler=_Handler)
    print(server.server_port, flush=True)  # noqa: T201
    runtime.start_thread("moto", server.serve_forever)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
